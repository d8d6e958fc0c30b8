package pgserver

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// DefaultDataDir is where servers keep their data unless told otherwise: the
// user's data directory, or for root a place that an unprivileged user can enter.
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/flovyn"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "flovyn")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "flovyn")
	}
	switch runtime.GOOS {
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "flovyn")
	case "windows":
		return filepath.Join(home, "AppData", "Local", "flovyn")
	default:
		return filepath.Join(home, ".local", "share", "flovyn")
	}
}

// DefaultCacheDir is where downloaded binaries are kept.
func DefaultCacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/flovyn"
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "flovyn")
}

// directory is the absolute path of a server's directory.
type directory string

func (d directory) file(name string) string { return filepath.Join(string(d), name) }
func (d directory) data() string            { return d.file("data") }
func (d directory) log() string             { return d.file("server.log") }
func (d directory) passwordFile() string    { return d.file("password") }
func (d directory) lockFile() string        { return d.file("lock") }

// clusterMajor returns the major version of the cluster, 0 if there is none yet.
func (d directory) clusterMajor() (int, error) {
	b, err := os.ReadFile(filepath.Join(d.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the version of the cluster: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("reading the version of the cluster in %s: %w", d, err)
	}
	return major, nil
}

// openDirectory makes the directory if it is absent, and returns it with the
// user that PostgreSQL has to run as.
func openDirectory(path string) (directory, *account, error) {
	fail := func(err error) (directory, *account, error) {
		return "", nil, fmt.Errorf("preparing the data directory: %w", err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fail(err)
	}
	if err := makeParents(path); err != nil {
		return fail(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return fail(err)
	}
	d := directory(path)
	if err := d.mayUse(); err != nil {
		return fail(err)
	}
	runAs, err := unprivileged(d.data())
	if err != nil {
		return fail(err)
	}
	if err := runAs.mayEnter(filepath.Dir(path), "the data directory "+path); err != nil {
		return fail(err)
	}
	if err := d.claim(runAs); err != nil {
		return fail(err)
	}
	return d, runAs, nil
}

// mayUse refuses a directory with somebody else's files in it, since the next
// step is to take it over.
func (d directory) mayUse() error {
	if _, err := os.Stat(d.file("PG_VERSION")); err == nil {
		return fmt.Errorf("%s is itself a PostgreSQL cluster: name an empty directory, or run that cluster and give its URL", d)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	if _, err := os.Stat(d.lockFile()); err != nil && len(entries) > 0 {
		return fmt.Errorf("%s is neither empty nor a data directory of ours: name another directory", d)
	}
	return nil
}

// claim marks the directory as ours and gives it to the user PostgreSQL runs as.
func (d directory) claim(runAs *account) error {
	f, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := runAs.own(string(d)); err != nil {
		return err
	}
	return os.Chmod(string(d), 0o700)
}

// lock takes the directory for this process, without waiting.
func (d directory) lock() (unlock func(), err error) {
	f, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	locked, err := tryLock(f)
	if locked {
		// The death of the process gives the lock back, too.
		return func() { releaseLock(f) }, nil
	}
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("locking the data directory %s: %w", d, err)
	}
	return nil, &RunningError{DataDir: string(d), PID: d.postmasterPID()}
}

// password returns the superuser's password, making one for a new cluster.
func (d directory) password(runAs *account) (string, error) {
	b, err := os.ReadFile(d.passwordFile())
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the superuser's password: %w", err)
	}
	secret := rand.Text()
	if err := os.WriteFile(d.passwordFile(), []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("writing the superuser's password: %w", err)
	}
	return secret, runAs.own(d.passwordFile())
}

// A unix socket's path may have 107 bytes on Linux and 103 on macOS.
const maxSocketPath = 103

// socketDir returns a directory for the socket: the server's own, or when that
// path is too long one in the temporary directory, with a name derived from it,
// so that a restart finds the same one and nothing piles up.
func (d directory) socketDir(runAs *account) (string, error) {
	const socketName = "/.s.PGSQL.5432"
	if len(d)+len(socketName) <= maxSocketPath {
		return string(d), nil
	}
	name := fmt.Sprintf("flovyn-pg-%x", sha256.Sum256([]byte(d)))[:26]
	dir := filepath.Join(os.TempDir(), name)
	if len(dir)+len(socketName) > maxSocketPath {
		dir = filepath.Join("/tmp", name)
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := runAs.own(dir); err != nil {
			return "", err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("making a directory for the socket: %w", err)
	}
	// The temporary directory is everybody's: another user may have been first.
	if err := runAs.mustOwnPrivately(dir); err != nil {
		return "", fmt.Errorf("using the directory for the socket: %w", err)
	}
	return dir, nil
}

// makeParents makes the missing parents of path, open for others to pass, also
// when root's umask says otherwise: the unprivileged user has to pass them.
func makeParents(path string) error {
	parent := filepath.Dir(path)
	if isDir(parent) || parent == path {
		return nil
	}
	if err := makeParents(parent); err != nil {
		return err
	}
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(parent, 0o755)
}
