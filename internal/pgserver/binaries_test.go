package pgserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake makes a directory of programs that claim to be of a version.
func fake(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18 15",
		"postgres (PostgreSQL) 18.3\n":                           "18.3 18",
		"postgres (PostgreSQL) 19beta1\n":                        "19beta1 19",
		"postgres (PostgreSQL) 9.6.24\n":                         "9.6.24 9",
		"mysqld 8\n":                                             "",
		"":                                                       "",
	} {
		version, major, err := parseVersion(line)
		got := fmt.Sprint(version, " ", major)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q gives %q, want %q", line, got, want)
		}
	}
}

func TestSearchKeepsOrderAndNotesTheOld(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, v := range []string{"9.6", "14.2", "15.1", "16.1", "17.1"} {
		fake(t, filepath.Join(base, v, "bin"), v)
	}
	if err := os.Remove(filepath.Join(base, "17.1", "bin", "initdb")); err != nil {
		t.Fatal(err)
	}
	dirs := []string{filepath.Join(base, "absent")}
	for _, v := range []string{"14.2", "15.1", "17.1", "9.6", "16.1"} {
		dirs = append(dirs, filepath.Join(base, v, "bin"))
	}
	found, tooOld := search(t.Context(), dirs)
	versions := func(installs []Installation) string {
		var vs []string
		for _, in := range installs {
			vs = append(vs, in.Version)
		}
		return strings.Join(vs, " ")
	}
	if versions(found) != "15.1 16.1" || versions(tooOld) != "14.2 9.6" {
		t.Errorf("found %q, too old %q", versions(found), versions(tooOld))
	}
	if msg := errNoBinaries(tooOld).Error(); !strings.Contains(msg, "14.2") || !strings.Contains(msg, "install") {
		t.Errorf("the message names neither the old version nor the remedy: %s", msg)
	}
}

// TestPathComesFirst changes PATH, so it cannot run in parallel.
func TestPathComesFirst(t *testing.T) {
	base := t.TempDir()
	real := fake(t, filepath.Join(base, "cellar", "bin"), "16.4")
	links := filepath.Join(base, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	// As distributions do: a link to postgres on PATH, and initdb only beside the
	// link's target.
	if err := os.Symlink(filepath.Join(real, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", links+":/usr/bin:/bin")
	fake(t, filepath.Join(base, "pg", "9", "bin"), "17.0")
	fake(t, filepath.Join(base, "pg", "18", "bin"), "18.0")
	dirs := candidates([]string{filepath.Join(base, "pg", "*", "bin")})
	want := []string{real, links, filepath.Join(base, "pg", "18", "bin"), filepath.Join(base, "pg", "9", "bin")}
	if filepath.Base(base) != "001" {
		t.Fatalf("the numbers in %s would decide the order", base)
	}
	if !slices.Equal(dirs[:2], want[:2]) {
		t.Errorf("candidates begin %v, want %v", dirs[:2], want[:2])
	}
	found, _ := search(t.Context(), dirs)
	if len(found) == 0 || found[0].Version != "16.4" {
		t.Errorf("found %v, want the one on PATH first", found)
	}
}

func TestNewestOfTheUsualPlacesComesFirst(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/usr/lib/postgresql/9.6/bin":                             9,
		"/usr/lib/postgresql/17/bin":                              17,
		"/opt/homebrew/opt/postgresql@16/bin":                     16,
		"/Applications/Postgres.app/Contents/Versions/latest/bin": 0,
	} {
		if got := numberIn(path); got != want {
			t.Errorf("%s has number %d, want %d", path, got, want)
		}
	}
}

func TestNamedBinaries(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	for name, tt := range map[string]struct{ dir, want string }{
		"too old": {fake(t, t.TempDir(), "14.9"), "too old: version 15 or newer"},
		"absent":  {t.TempDir(), "no such file"},
	} {
		cfg.BinDir = tt.dir
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
