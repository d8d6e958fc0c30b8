package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// A Store is the folder with the two files.
type Store struct{ dir string }

// NewStore returns the store below a home directory.
func NewStore(home string) *Store { return &Store{dir: filepath.Join(home, ".flovyn")} }

// Path is where the credentials are.
func (s *Store) Path() string { return filepath.Join(s.dir, "credentials") }

func (s *Store) sessions() string { return filepath.Join(s.dir, "sessions") }

// Load returns a profile and its session. A profile that is not there is NotFound.
func (s *Store) Load(name string) (Profile, Session, error) {
	if err := CheckName(name); err != nil {
		return Profile{}, Session{}, err
	}
	credentials, err := s.read(s.Path())
	if err != nil {
		return Profile{}, Session{}, err
	}
	values, ok := credentials.table(name)
	if !ok {
		return Profile{}, Session{}, s.missing(name, credentials.names())
	}
	p, err := fromValues(name, values)
	if err != nil {
		return p, Session{}, s.malformed(s.Path(), fmt.Errorf("%s: %w", header(name), err))
	}
	session, err := s.session(name)
	return p, session, err
}

func (s *Store) session(name string) (Session, error) {
	sessions, err := s.read(s.sessions())
	if err != nil {
		return Session{}, err
	}
	values, _ := sessions.table(name)
	session, err := sessionFromValues(values)
	if err != nil {
		return session, s.malformed(s.sessions(), fmt.Errorf("%s: %w", header(name), err))
	}
	return session, nil
}

func (s *Store) missing(name string, names []string) error {
	known := "there is none yet"
	if len(names) > 0 {
		known = "there are: " + strings.Join(names, ", ")
	}
	return fault.New(fault.NotFound, "no profile %q in %s; %s", name, s.Path(), known)
}

func (s *Store) malformed(path string, err error) error {
	return fault.New(fault.Invalid, "%s cannot be read: %v; mend it, or move it away and log in again", path, err)
}

// Save writes a profile and its session; an empty session takes away the one that
// was there.
func (s *Store) Save(p Profile, session Session) error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	return s.locked(func() error {
		if err := s.change(s.sessions(), p.Name, sessionKeys, session.pairs()); err != nil {
			return err
		}
		return s.change(s.Path(), p.Name, credentialKeys, p.pairs())
	})
}

// Renew writes a newer token of a profile, if the profile still has the session
// from which it came.
func (s *Store) Renew(p Profile, session Session) error {
	return s.locked(func() error {
		now, err := s.session(p.Name)
		if err != nil || now.Token != session.Token {
			return err
		}
		return s.change(s.Path(), p.Name, credentialKeys, p.pairs())
	})
}

// Delete takes a profile away. What this program does not know stays.
func (s *Store) Delete(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return s.locked(func() error {
		if err := s.change(s.Path(), name, credentialKeys, nil); err != nil {
			return err
		}
		return s.change(s.sessions(), name, sessionKeys, nil)
	})
}

// Names returns the profiles there are.
func (s *Store) Names() ([]string, error) {
	d, err := s.read(s.Path())
	if err != nil {
		return nil, err
	}
	return d.names(), nil
}

// locked does something while no other process changes the files.
func (s *Store) locked(do func() error) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of the credentials: %w", err)
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(s.dir, ".lock")).Lock()
	if err != nil {
		return fmt.Errorf("locking the credentials: %w", err)
	}
	defer unlock()
	return do()
}

// change changes one profile in one file. A file that would be empty is not made.
func (s *Store) change(path, name string, known []string, pairs []pair) error {
	d, err := s.read(path)
	if err != nil {
		return err
	}
	before := d.text
	if err := d.set(name, known, pairs); err != nil {
		return fault.New(fault.Precondition, "%s: %v", path, err)
	}
	if d.text == before {
		return nil
	}
	return write(path, d.text)
}

// read reads a file, which may be absent. It refuses one that others can read: a
// token in it is no secret any more.
func (s *Store) read(path string) (*document, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parse(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the credentials: %w", err)
	}
	if err := private(path, info, "600"); err != nil {
		return nil, err
	}
	if dir, err := os.Stat(s.dir); err == nil {
		if err := private(s.dir, dir, "700"); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the credentials: %w", err)
	}
	d, err := parse(text)
	if err != nil {
		return nil, s.malformed(path, err)
	}
	return d, nil
}

// private refuses what the group or the world can open. Windows has no such bits;
// there the user's folder is closed to others.
func private(path string, info fs.FileInfo, mode string) error {
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return fault.New(fault.Precondition, "%s can be opened by other users (mode %04o), and holds secrets; close it with: chmod %s %s",
		path, info.Mode().Perm(), mode, path)
}

// write replaces a file at once: a reader sees the old one or the new one, and an
// interruption leaves the old one.
func write(path, text string) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("writing the credentials: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
			err = fmt.Errorf("writing the credentials: %w", err)
		}
	}()
	if _, err = temporary.WriteString(text); err != nil {
		_ = temporary.Close()
		return err
	}
	if err = temporary.Sync(); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
