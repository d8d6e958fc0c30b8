// Package devserver is the server behind `flovyn-server dev`: the whole product
// on one machine, without a decision to make first.
//
// It differs from production in what it is given, never in what it does: the
// same server is assembled from a configuration that this package writes instead
// of an operator. Authentication stays on and the policies are the built-in ones. A
// stand-in for a Flovyn App (package standin) runs beside it, on a port of its own
// and on the loopback address alone, so that tokens, API keys and the sign-in of
// devices can be tried without one. Two more keys stand in the source code for
// everybody to read. Hence the
// server listens on the loopback address, and says so loudly when told
// otherwise; and it answers only to the names of that address, lest a web page
// that had its own name resolve to it called with those keys.
//
// # Order
//
// The ports are bound first, because a taken port is the most likely mistake and
// the cheapest to find: nothing else has happened yet. Then the database: the one
// that is named, or a private one (package pgserver) whose data lies in the
// user's data directory and is there again at the next start. Then the server. It
// ends in the opposite order, and nothing of it stays behind.
package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// DefaultHost is the address to listen on unless told otherwise: only programs
// on this machine can reach it.
const DefaultHost = "127.0.0.1"

// The usual ports.
const (
	DefaultHTTPPort = 8000
	DefaultGRPCPort = 9090
	DefaultAppPort  = 8001
)

// Config says what differs from the usual. The zero value listens on free ports
// and keeps its data in the user's data directory.
type Config struct {
	// Host is the address to listen on; the default is DefaultHost.
	Host string
	// HTTPPort and GRPCPort are the ports. Zero picks a free one.
	HTTPPort, GRPCPort int
	// AppPort is the port of the stand-in identity provider, on the loopback
	// address. Zero picks a free one.
	AppPort int
	// AppAlgorithm signs its tokens: EdDSA, RS256 or ES256. The default is EdDSA.
	AppAlgorithm string
	// DatabaseURL is a database to use instead of a private one.
	DatabaseURL string
	// DataDir is where the private database keeps its data, made if absent. The
	// default is DefaultDataDir.
	DataDir string
	// Temporary puts the data into a temporary directory, which Stop removes.
	Temporary bool
	// NoDownload makes it an error that no PostgreSQL is installed, instead of
	// downloading it.
	NoDownload bool
	// Logger is told what becomes of the database and of the ports, and warned of
	// dangers; nil discards it.
	Logger *slog.Logger
	// ServerLogger is told what the server does, call by call; the default is
	// Logger.
	ServerLogger *slog.Logger
	// Version is the program's version, as health reports it.
	Version string
}

func (cfg *Config) fillDefaults() {
	cfg.Host = cmp.Or(cfg.Host, DefaultHost)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.ServerLogger = cmp.Or(cfg.ServerLogger, cfg.Logger)
}

// Check says which choices make no sense, by the flags that make them.
func (cfg *Config) Check() error {
	for _, p := range cfg.ports() {
		if p.port < 0 || p.port > maxPort {
			return fmt.Errorf("%s: want a number from 0 to %d; 0 picks a free port", p.flag, maxPort)
		}
	}
	switch {
	case !slices.Contains([]string{"", standin.EdDSA, standin.RS256, standin.ES256}, cfg.AppAlgorithm):
		return fmt.Errorf("--app-algorithm: want %s, %s or %s", standin.EdDSA, standin.RS256, standin.ES256)
	case cfg.DatabaseURL != "" && (cfg.DataDir != "" || cfg.Temporary):
		return errors.New("a named database keeps its own data: --database-url (or DATABASE_URL) excludes --data-dir and --temporary")
	case cfg.DataDir != "" && cfg.Temporary:
		return errors.New("the data is either temporary or in a named directory: --temporary excludes --data-dir")
	case cfg.DatabaseURL == "":
		return nil
	}
	if err := postgres.CheckURL(cfg.DatabaseURL); err != nil {
		return fmt.Errorf("--database-url (or DATABASE_URL): %w", err)
	}
	return nil
}

// Server is a running dev server.
type Server struct {
	app      *App
	database *database
	server   *server.Server
}

// Start runs a dev server and returns when it answers. An error says what to do
// about it, and then nothing has been left running.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg.fillDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	reserved, err := reserve(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer reserved.release()
	app, err := startApp(ctx, cfg)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, app.app.Close())
	}
	srv, err := serve(ctx, cfg, db, app, reserved)
	if err != nil {
		// The database goes even when ctx has ended, which is why we may be here.
		return nil, errors.Join(err, db.close(context.WithoutCancel(ctx)), app.app.Close())
	}
	if !loopback(cfg.Host) {
		cfg.Logger.WarnContext(ctx, "other machines can reach this server, and its keys are public knowledge: "+
			"whoever reaches it owns what is in it", "host", cfg.Host)
	}
	return &Server{app: app, database: db, server: srv}, nil
}

// serve assembles the server and starts it on the reserved ports.
func serve(ctx context.Context, cfg Config, db *database, app *App, reserved ports) (*server.Server, error) {
	srv, err := server.New(ctx, configure(cfg, db.url, app.app), server.Options{
		Log: cfg.ServerLogger, Version: cfg.Version, Hosts: hosts(cfg.Host),
	})
	if err != nil {
		return nil, fmt.Errorf("assembling the server: %w", err)
	}
	reserved.release()
	if err := srv.Start(ctx); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	return srv, nil
}

// Wait returns nil when ctx ends, and an error when the server or its private
// database ends before that. Stop is still to be called.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.server.Failed():
		return err
	case <-s.database.exited():
		return fmt.Errorf("the database has ended unexpectedly; its log is %s", s.database.log())
	}
}

// Stop ends the server and then the private database, and returns when no process
// of it is left. When ctx ends first, requests in flight are cut off.
func (s *Server) Stop(ctx context.Context) error {
	return errors.Join(s.server.Shutdown(ctx), s.database.close(ctx), s.app.app.Close())
}

// App is the stand-in identity provider.
func (s *Server) App() *App { return s.app }

// HTTPURL is the address of the HTTP port, for a program on this machine.
func (s *Server) HTTPURL() string {
	address, _ := s.server.Addrs()
	return reachable(address)
}

// GRPCURL is the address of the gRPC port, for a program on this machine.
func (s *Server) GRPCURL() string {
	_, address := s.server.Addrs()
	return reachable(address)
}

// Database describes the database to people, without a password.
func (s *Server) Database() string { return s.database.about }

// reachable turns the address of a listener into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		address = net.JoinHostPort(DefaultHost, port)
	}
	return "http://" + address
}
