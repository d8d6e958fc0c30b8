// Package pgserver runs a private PostgreSQL server from binaries that are
// already on the machine, or downloaded once. It serves `flovyn-server dev`, the
// tests and the benchmarks; a production server is given a database instead.
//
// A server lives in one directory:
//
//	data/       the cluster, as initdb made it
//	server.log  what PostgreSQL writes, start after start
//	password    the superuser's password, needed for TCP only
//	lock        held while a process of ours runs the server
//
// It is reached through a unix socket in that directory, which is closed to
// other users, so no port is taken and no password is needed. Where unix sockets
// do not exist it listens on the loopback address, with the random password.
//
// # Root
//
// PostgreSQL refuses to run as root, so a root caller has initdb and postgres run
// as the user postgres, else nobody. That user must be able to enter every parent
// of the directory, which rules out /root; DefaultDataDir answers with a
// directory that works.
//
// # Nothing is left behind
//
// Three things make sure that the server ends with its owner. Stop returns when
// the last process has gone: all of them inherit one pipe, and its end of file is
// the proof. On Linux the kernel interrupts the postmaster when the owner dies.
// And the next Start on the directory recognizes what a crash left there.
package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const superuser = "postgres"

// Profile chooses between safety and speed.
type Profile uint8

const (
	// Durable keeps PostgreSQL's own defaults: a commit survives a power cut.
	Durable Profile = iota
	// Throwaway never waits for the disk. The data survives neither a power cut
	// nor, for the last moments before it, a killed server.
	Throwaway
)

var throwaway = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"autovacuum":         "off",
	"wal_level":          "minimal",
	"max_wal_senders":    "0",
	"max_connections":    "200",
	"shared_buffers":     "64MB",
}

// Config says which server to run and where. The zero value is a durable server
// in the default place.
type Config struct {
	// DataDir is the server's directory, made if absent. The default is the
	// directory pg<major version> in DefaultDataDir.
	DataDir string
	// Profile is Durable unless the data is to be thrown away.
	Profile Profile
	// Settings are PostgreSQL parameters, which win over those of the profile.
	Settings map[string]string
	// BinDir is a directory that holds postgres and initdb. By default they are
	// searched for on PATH and in the usual places.
	BinDir string
	// NoDownload makes absent binaries an error instead of downloading them.
	NoDownload bool
	// CacheDir receives downloaded binaries; the default is DefaultCacheDir.
	CacheDir string
	// Repository is the Maven repository that binaries are downloaded from; the
	// default is Maven Central.
	Repository string
	// TCP listens on the loopback address with a random password instead of on a
	// unix socket. It is the default where unix sockets do not exist.
	TCP bool
	// CopyOf is the directory of a stopped server. A new cluster is copied from
	// it, which takes a tenth of the time that initdb takes.
	CopyOf string
	// Logger is told about downloads and initialization; the default is silence.
	Logger *slog.Logger
}

// Server is a running PostgreSQL server, or one that was stopped and may be
// started again with Restart.
type Server struct {
	cfg     Config
	dir     directory
	install Installation
	runAs   *account
	address address

	mu   sync.Mutex // guards proc, and orders starts and stops
	proc *process
}

// Start runs a server and returns when it accepts connections. An error says
// what to do about it, and includes the end of PostgreSQL's log if it did start.
// A *RunningError means that another server has the data directory.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Init makes the cluster without running it, for a later CopyOf.
func Init(ctx context.Context, cfg Config) error {
	s, err := prepare(ctx, cfg)
	if err != nil {
		return err
	}
	unlock, err := s.dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return s.initCluster(ctx)
}

func (cfg *Config) fillDefaults() {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.TCP = cfg.TCP || !haveUnixSockets
}

// prepare finds the binaries, the user and the directory; it starts nothing.
func prepare(ctx context.Context, cfg Config) (*Server, error) {
	cfg.fillDefaults()
	install, err := locate(ctx, cfg)
	if err != nil {
		return nil, err
	}
	path := cmp.Or(cfg.DataDir, filepath.Join(DefaultDataDir(), "pg"+strconv.Itoa(install.Major)))
	dir, runAs, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	if err := runAs.mayEnter(install.BinDir, "the PostgreSQL binaries"); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, dir: dir, install: install, runAs: runAs}, nil
}

// Version returns the version of the running binaries, such as "18.3".
func (s *Server) Version() string { return s.install.Version }

// Dir returns the server's directory.
func (s *Server) Dir() string { return string(s.dir) }

// DSN returns the connection URL of a database. It stays the same over Restart.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database}
	q := url.Values{"sslmode": {"disable"}}
	if s.address.socketDir != "" {
		u.User = url.User(superuser)
		q.Set("host", s.address.socketDir)
		q.Set("port", strconv.Itoa(s.address.port))
	} else {
		u.User = url.UserPassword(superuser, s.address.password)
		u.Host = fmt.Sprintf("127.0.0.1:%d", s.address.port)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// PID returns the process id of the postmaster, 0 when the server is stopped.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Exited returns a channel that is closed when the postmaster has exited, by
// itself or because it was stopped. It belongs to the present run of the server.
func (s *Server) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return s.proc.exited
}

// CreateDatabase makes a database unless it exists.
func (s *Server) CreateDatabase(ctx context.Context, name string) (err error) {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to create database %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	// Two creators at once meet in the unique index on the name.
	if errors.As(err, &pgErr) && (pgErr.Code == "42P04" || pgErr.Code == "23505") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	return nil
}

// settings returns the arguments for postgres.
func (s *Server) settings() []string {
	all := map[string]string{"logging_collector": "off", "log_destination": "stderr"}
	if s.cfg.Profile == Throwaway {
		maps.Copy(all, throwaway)
	}
	maps.Copy(all, s.cfg.Settings)
	maps.Copy(all, s.address.settings())
	args := []string{"-D", s.dir.data()}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}

// RunningError says that a live server already has the data directory.
type RunningError struct {
	// DataDir is the directory both want.
	DataDir string
	// PID is the other postmaster, or 0 while that is still being started.
	PID int
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another process is using the PostgreSQL data directory %s: stop it, or choose another data directory", e.DataDir)
	}
	return fmt.Sprintf("a PostgreSQL server (process %d) already runs on the data directory %s: stop it, or choose another data directory", e.PID, e.DataDir)
}

// environment is what initdb and postgres see: no secrets of the caller, and no
// PG* variables that would change what they do.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TZ", "SYSTEMROOT", "TEMP", "TMP"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
