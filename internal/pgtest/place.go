package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/flovyn/flovyn-server/internal/pgserver"
)

// place is a directory for one server. It is in a directory that all test
// processes of a user share, with the blank cluster that their servers copy:
//
//	lock             taken for a moment, to make and sweep places
//	blank-15.18/     the blank cluster of a version
//	run-123456/      a place
//	run-123456/owner locked while the process that uses the place lives
type place struct {
	base, dir string
	owner     *os.File
}

// memoryDir is the file system in memory that Linux systems have.
const memoryDir = "/dev/shm"

// baseDir is in memory where that is possible: a database is some 300 files, and
// to make and drop one for every test keeps a file system busier than the tests.
func baseDir() string {
	parent := os.TempDir()
	if os.Getenv("TMPDIR") == "" && roomInMemory(memoryDir) {
		parent = memoryDir
	}
	return filepath.Join(parent, fmt.Sprintf("flovyn-pgtest-%d", os.Getuid()))
}

// newPlace makes a place, and removes those whose owners are dead.
func newPlace() (*place, error) {
	p := &place{base: baseDir()}
	err := p.alone(func() (err error) {
		if err := sweep(p.base); err != nil {
			return err
		}
		if p.dir, err = os.MkdirTemp(p.base, "run-"); err != nil {
			return err
		}
		// Root's servers run as another user, who has to get through.
		if err := os.Chmod(p.dir, 0o755); err != nil {
			return err
		}
		p.owner, err = lock(filepath.Join(p.dir, "owner"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making a directory for a server: %w", err)
	}
	return p, nil
}

// alone runs f while no other process does the same.
func (p *place) alone(f func() error) error {
	if err := os.Mkdir(p.base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Not following links, lest somebody else's link leads us astray.
	info, err := os.Lstat(p.base)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", p.base)
	}
	if err := os.Chmod(p.base, 0o755); err != nil { // fails for another user's directory
		return err
	}
	held, err := lock(filepath.Join(p.base, "lock"))
	if err != nil {
		return err
	}
	defer held.Close()
	return f()
}

// sweep removes the places of dead processes. Should a server still run in one,
// as is possible outside Linux, it stops when it misses its files.
func sweep(base string) error {
	places, err := filepath.Glob(filepath.Join(base, "run-*"))
	if err != nil {
		return err
	}
	for _, dir := range places {
		if inUse(filepath.Join(dir, "owner")) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing the remains of a dead process: %w", err)
		}
	}
	return nil
}

// remove gives the place back; its server has to be stopped.
func (p *place) remove() error {
	return errors.Join(os.RemoveAll(p.dir), p.owner.Close())
}

// start runs a server in the place.
func (p *place) start(ctx context.Context, cfg pgserver.Config) (*pgserver.Server, error) {
	install, err := pgserver.Locate(ctx, cfg)
	if err != nil {
		return nil, err
	}
	cfg.BinDir = install.BinDir
	cfg.DataDir = filepath.Join(p.dir, "pg")
	if cfg.CopyOf, err = p.blank(ctx, install); err != nil {
		return nil, err
	}
	return pgserver.Start(ctx, cfg)
}

// blank returns a cluster without data, making it if this is the first time.
func (p *place) blank(ctx context.Context, install pgserver.Installation) (string, error) {
	dir := filepath.Join(p.base, "blank-"+strings.ReplaceAll(install.Version, string(filepath.Separator), "-"))
	err := p.alone(func() error {
		// Both files: a cleaner of old temporary files may have been at work.
		if isFile(filepath.Join(dir, "data", "PG_VERSION")) && isFile(filepath.Join(dir, "data", "global", "pg_control")) {
			return nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		fresh := filepath.Join(p.dir, "blank")
		if err := pgserver.Init(ctx, pgserver.Config{DataDir: fresh, BinDir: install.BinDir, Profile: pgserver.Throwaway}); err != nil {
			return err
		}
		return os.Rename(fresh, dir)
	})
	if err != nil {
		return "", fmt.Errorf("making a blank cluster: %w", err)
	}
	return dir, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
