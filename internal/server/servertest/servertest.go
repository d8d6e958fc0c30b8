// Package servertest starts real servers for tests: the assembled program, on
// ports of its own and a database of its own, with keys of two organizations.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		s := servertest.New(t)
//		// s.HTTP and s.GRPC are base URLs; s.AdminKey and s.WorkerKey open them
//	}
package servertest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server"
)

// The two organizations of every test server, and their keys.
const (
	OrgSlug          = "acme"
	AdminKey         = "flovyn_sk_test_admin_of_acme"
	MemberKey        = "flovyn_sk_test_member_of_acme"
	WorkerKey        = "flovyn_wk_test_worker_of_acme"
	ForeignAdminKey  = "flovyn_sk_test_admin_of_globex"
	ForeignWorkerKey = "flovyn_wk_test_worker_of_globex"
)

// Org and ForeignOrg are the ids of the organizations.
var (
	Org        = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	ForeignOrg = flovyn.OrgID(uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8"))
)

// patience bounds starting and stopping.
const patience = time.Minute

// Server is a server that runs until its test ends.
type Server struct {
	*server.Server
	// HTTP and GRPC are the base URLs of the two doors.
	HTTP, GRPC string
	// DSN is the server's database.
	DSN string
}

// Option changes the configuration before the server starts.
type Option func(*config.Config)

// New starts a server on a database of its own.
func New(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return On(tb, pgtest.New(tb), options...)
}

// On starts a server on a database that it may share with others.
func On(tb testing.TB, dsn string, options ...Option) *Server {
	tb.Helper()
	cfg := Config(dsn)
	for _, option := range options {
		option(cfg)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	s, err := server.New(ctx, cfg, server.Options{Version: "test"})
	if err != nil {
		tb.Fatalf("servertest: assembling: %v", err)
	}
	if err := s.Start(ctx); err != nil {
		tb.Fatalf("servertest: starting: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			tb.Errorf("servertest: stopping: %v", err)
		}
	})
	http, grpc := s.Addrs()
	return &Server{Server: s, HTTP: "http://" + http, GRPC: "http://" + grpc, DSN: dsn}
}

// Config is the configuration of a test server.
func Config(dsn string) *config.Config {
	cfg := config.Default()
	cfg.Database = config.Database{URL: config.Secret(dsn), MaxConnections: 8}
	cfg.Server.Host, cfg.Server.HTTPPort, cfg.Server.GRPCPort = "127.0.0.1", 0, 0
	cfg.Orgs = []config.Org{
		{ID: Org, Name: "Acme", Slug: OrgSlug, Tier: "FREE"},
		{ID: ForeignOrg, Name: "Globex", Slug: "globex", Tier: "FREE"},
	}
	cfg.Auth.Endpoints.HTTP.Authenticators = []string{"static_api_key"}
	cfg.Auth.Endpoints.GRPC.Authenticators = []string{"static_api_key"}
	cfg.Auth.StaticAPIKey.Keys = []config.StaticKey{
		{Key: AdminKey, OrgID: Org, PrincipalType: caller.User, PrincipalID: "admin", Role: caller.Admin},
		{Key: MemberKey, OrgID: Org, PrincipalType: caller.User, PrincipalID: "member", Role: caller.Member},
		{Key: WorkerKey, OrgID: Org, PrincipalType: caller.Worker, PrincipalID: "worker"},
		{Key: ForeignAdminKey, OrgID: ForeignOrg, PrincipalType: caller.User, PrincipalID: "admin-of-globex", Role: caller.Admin},
		{Key: ForeignWorkerKey, OrgID: ForeignOrg, PrincipalType: caller.Worker, PrincipalID: "worker-of-globex"},
	}
	return cfg
}
