package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// initCluster makes the cluster unless it exists. The work is done beside its
// final place and then renamed, so that a cluster is there whole or not at all.
func (s *Server) initCluster(ctx context.Context) error {
	major, err := s.dir.clusterMajor()
	if err != nil {
		return err
	}
	if major != 0 && major != s.install.Major {
		return fmt.Errorf("the data directory %s was made by PostgreSQL %d and cannot be run by PostgreSQL %s", s.dir, major, s.install.Version)
	}
	if major != 0 {
		return nil
	}
	unfinished := s.dir.file("data.new")
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("removing an unfinished cluster: %w", err)
	}
	if s.cfg.CopyOf != "" {
		err = s.copyCluster(unfinished)
	} else {
		err = s.initdb(ctx, unfinished)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(unfinished, s.dir.data()); err != nil {
		return fmt.Errorf("putting the new cluster in place: %w", err)
	}
	return nil
}

// initdb runs PostgreSQL's program of that name. Local connections need no
// password because only the owner can reach the socket; all others do.
func (s *Server) initdb(ctx context.Context, dir string) error {
	s.cfg.Logger.InfoContext(ctx, "initializing a PostgreSQL cluster", "version", s.install.Version, "dir", string(s.dir))
	if _, err := s.dir.password(s.runAs); err != nil {
		return err
	}
	args := []string{
		"--pgdata", dir, "--username", superuser, "--encoding", "UTF8", "--locale", "C",
		"--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", s.dir.passwordFile(), "--no-instructions",
	}
	if !haveUnixSockets {
		args = append(args, "--auth-local", "scram-sha-256")
	}
	if s.cfg.Profile == Throwaway {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.install.BinDir, executable("initdb")), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = string(s.dir), environment(), s.runAs.attributes()
	cmd.WaitDelay = killAfter // a canceled initdb's own children hold its output open
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running initdb: %w:\n%s", err, out)
	}
	return nil
}

// copyCluster copies the cluster and its password from a stopped server.
func (s *Server) copyCluster(dir string) error {
	from := directory(s.cfg.CopyOf)
	if pid := from.postmasterPID(); pid != 0 {
		return fmt.Errorf("copying the cluster in %s: it is in use by process %d, or was not shut down", from, pid)
	}
	if err := s.copyFile(from.passwordFile(), s.dir.passwordFile(), 0o600); err != nil {
		return fmt.Errorf("copying the superuser's password: %w", err)
	}
	err := filepath.WalkDir(from.data(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from.data(), path)
		if err != nil {
			return err
		}
		return s.copyEntry(path, filepath.Join(dir, inside), entry)
	})
	if err != nil {
		return fmt.Errorf("copying the cluster in %s: %w", from, err)
	}
	return nil
}

func (s *Server) copyEntry(from, to string, entry fs.DirEntry) error {
	info, err := entry.Info()
	switch {
	case err != nil:
		return err
	case entry.IsDir():
		if err := os.Mkdir(to, info.Mode().Perm()); err != nil {
			return err
		}
		return s.runAs.own(to)
	case info.Mode().IsRegular():
		return s.copyFile(from, to, info.Mode().Perm())
	default:
		return fmt.Errorf("%s is neither a file nor a directory", from)
	}
}

func (s *Server) copyFile(from, to string, mode fs.FileMode) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return s.runAs.own(to)
}

// address is where the server listens: a socket directory, or a port with a
// password.
type address struct {
	socketDir string
	port      int
	password  string
}

func (a address) settings() map[string]string {
	set := map[string]string{"port": strconv.Itoa(a.port), "unix_socket_directories": a.socketDir, "listen_addresses": ""}
	if a.socketDir == "" {
		set["listen_addresses"] = "127.0.0.1"
	}
	return set
}

// chooseAddress picks the address for this run and all later ones.
func (s *Server) chooseAddress(ctx context.Context) (address, error) {
	if !s.cfg.TCP {
		dir, err := s.dir.socketDir(s.runAs)
		return address{socketDir: dir, port: 5432}, err // the port is but a part of the socket's name
	}
	password, err := s.dir.password(s.runAs)
	if err != nil {
		return address{}, err
	}
	port, err := freePort(ctx)
	return address{port: port, password: password}, err
}

// unlock removes the socket's lock file, which a killed postmaster leaves behind
// and which nobody else can have made in that directory.
func (a address) unlock() error {
	if a.socketDir == "" {
		return nil
	}
	err := os.Remove(filepath.Join(a.socketDir, fmt.Sprintf(".s.PGSQL.%d.lock", a.port)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a stale lock of the socket: %w", err)
	}
	return nil
}

// freePort asks the system for a port that is free at the moment.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:errcheck // a TCP listener's address is one of TCP
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	return port, nil
}
