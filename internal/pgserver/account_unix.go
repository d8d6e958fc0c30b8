//go:build unix

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// haveUnixSockets says whether a socket in a closed directory can serve.
const haveUnixSockets = true

// account is the user that PostgreSQL runs as when the caller is root. It is nil
// for any other caller, who runs PostgreSQL as itself; the methods accept that.
type account struct {
	name     string
	uid, gid int
}

// unprivileged picks the user: the owner of an existing cluster, so that root
// can run what another user made, else postgres, else nobody.
func unprivileged(dataDir string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if uid, _, err := owner(dataDir); err == nil && uid != 0 {
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			return newAccount(u)
		}
		return nil, fmt.Errorf("%s belongs to the unknown user %d, and PostgreSQL does not run as an unknown user", dataDir, uid)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return newAccount(u)
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody: make one, or run as another user")
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("reading the id of user %s: %w", u.Username, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("reading the group of user %s: %w", u.Username, err)
	}
	return &account{name: u.Username, uid: uid, gid: gid}, nil
}

// own gives a file to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// mustOwnPrivately refuses a directory that another user could change.
func (a *account) mustOwnPrivately(dir string) error {
	want := os.Geteuid()
	if a != nil {
		want = a.uid
	}
	uid, mode, err := owner(dir)
	if err != nil {
		return err
	}
	if uid != want || !mode.IsDir() || mode.Perm() != 0o700 {
		return fmt.Errorf("%s belongs to user %d with mode %v, but has to be a directory of user %d that is closed to others: remove it", dir, uid, mode, want)
	}
	return nil
}

// mayEnter checks that the account can pass dir and all its parents, because
// PostgreSQL's own message for that does not name the directory at fault.
func (a *account) mayEnter(dir, what string) error {
	if a == nil {
		return nil
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for ; ; dir = filepath.Dir(dir) {
		open, err := a.canPass(dir)
		if err != nil {
			return err
		}
		if !open {
			return fmt.Errorf("PostgreSQL does not run as root but as user %s, who cannot enter %s to reach %s: choose a place outside of it, such as %s, or run as another user",
				a.name, dir, what, DefaultDataDir())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (a *account) canPass(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true, nil
	}
	switch mode := info.Mode().Perm(); {
	case int(st.Uid) == a.uid:
		return mode&0o100 != 0, nil
	case int(st.Gid) == a.gid:
		return mode&0o010 != 0, nil
	default:
		return mode&0o001 != 0, nil
	}
}

// owner returns the user id and mode of the file itself, links not followed.
func owner(path string) (uid int, mode os.FileMode, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("%s has no owner", path)
	}
	return int(st.Uid), info.Mode(), nil
}

// attributes makes a child run as the account, and in a process group of its
// own: an interrupt typed at the terminal is for our process to handle, which
// then stops PostgreSQL when everything that uses it has stopped.
func (a *account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// executable returns the file name of a program.
func executable(name string) string { return name }

// tryLock locks the file until it is closed, or reports that another open file
// has the lock.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// releaseLock unlocks before it closes: a child that was forked this moment, for
// whatever purpose, has the file open until it runs its program.
func releaseLock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // closing does it if this fails
	_ = f.Close()
}

// exists reports whether a process with this id runs as a user whose processes
// ours may signal; PostgreSQL itself draws the line there.
func exists(pid int) bool { return syscall.Kill(pid, 0) == nil }

// signal asks the postmaster to end in the given way.
func (s *Server) signal(p *process, how shutdown) error {
	sig := map[shutdown]os.Signal{fast: syscall.SIGINT, immediate: syscall.SIGQUIT, kill: syscall.SIGKILL}[how]
	return p.cmd.Process.Signal(sig)
}
