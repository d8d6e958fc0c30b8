//go:build unix

package pgserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMayEnter needs no privileges: it asks about an invented user.
func TestMayEnter(t *testing.T) {
	t.Parallel()
	base := filepath.Dir(place(t))
	closed, inner := filepath.Join(base, "closed"), filepath.Join(base, "closed", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := &account{name: "stranger", uid: 54321, gid: 54321}
	err := stranger.mayEnter(inner, "the data directory")
	if err == nil {
		t.Fatal("a stranger may enter a closed directory")
	}
	for _, want := range []string{"stranger", closed + " ", "the data directory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q: %v", want, err)
		}
	}
	self := &account{name: "self", uid: os.Geteuid(), gid: os.Getegid()}
	if err := self.mayEnter(inner, "the data directory"); err != nil {
		t.Errorf("the owner may not enter: %v", err)
	}
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := stranger.mayEnter(inner, "the data directory"); err != nil {
		t.Errorf("a stranger may not enter an open directory: %v", err)
	}
	if err := (*account)(nil).mayEnter("/nonexistent", "anything"); err != nil {
		t.Errorf("without a change of user: %v", err)
	}
}

// TestProcessesRunAs checks who runs PostgreSQL and owns its files: never root.
func TestProcessesRunAs(t *testing.T) {
	t.Parallel()
	s := start(t, config(place(t)))
	want := os.Geteuid()
	if s.runAs != nil {
		want = s.runAs.uid
	}
	for _, path := range []string{s.Dir(), s.dir.data(), s.dir.passwordFile(), filepath.Join(s.dir.data(), "postmaster.pid")} {
		uid, mode, err := owner(path)
		if err != nil {
			t.Fatal(err)
		}
		if uid != want || uid == 0 || mode.Perm()&0o007 != 0 {
			t.Errorf("%s belongs to user %d with mode %v, want user %d and nothing for others", path, uid, mode, want)
		}
	}
}

// TestRootIsToldOfAClosedParent names the directory that an unprivileged user
// cannot pass. The owner of everything can pass, whoever it is.
func TestRootIsToldOfAClosedParent(t *testing.T) {
	t.Parallel()
	base := filepath.Dir(place(t))
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), config(filepath.Join(base, "pg")))
	if os.Geteuid() != 0 {
		if err != nil {
			t.Fatal(err)
		}
		stop(t, s)
		return
	}
	if err == nil || !strings.Contains(err.Error(), "cannot enter "+base) || !strings.Contains(err.Error(), DefaultDataDir()) {
		t.Errorf("got %v, want the closed directory %s and a better place", err, base)
	}
}
