package devserver

import (
	"net"
	"slices"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/authn/jwt"
	"github.com/flovyn/flovyn-server/internal/authn/statickey"
	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// The dev organization and its keys. They are public knowledge: SDK examples and
// their documentation name them.
const (
	// OrgSlug is the organization's name in URLs.
	OrgSlug = "dev"
	// UserKey is the key of the user admin, an OWNER.
	UserKey = "flovyn_sk_dev_admin"
	// WorkerKey is the key of workers.
	WorkerKey = "fwt_dev_worker"

	// workerTokenSecret keys the digests of worker tokens. It is the same at every
	// start, because the database may be.
	workerTokenSecret = "dev-secret-key-for-testing-only"
)

// OrgID is the dev organization's id.
var OrgID = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))

// configure writes the configuration that an operator would have written.
func configure(cfg Config, databaseURL string, app *standin.App) *config.Config {
	c := config.Default()
	c.Database.URL = config.Secret(databaseURL)
	c.Server.Host, c.Server.HTTPPort, c.Server.GRPCPort = cfg.Host, cfg.HTTPPort, cfg.GRPCPort
	// Pages that a developer serves from this machine, from whatever port.
	c.Server.CORSOrigins = []string{"http://localhost", "http://localhost:*", "http://127.0.0.1", "http://127.0.0.1:*"}
	c.Orgs = []config.Org{{ID: OrgID, Slug: OrgSlug, Name: "Dev", Tier: "FREE"}}
	c.Auth.StaticAPIKey.Keys = []config.StaticKey{
		{Key: UserKey, OrgID: OrgID, PrincipalType: caller.User, PrincipalID: "admin", Role: caller.Owner},
		{Key: WorkerKey, OrgID: OrgID, PrincipalType: caller.Worker, PrincipalID: "worker:dev"},
	}
	c.Auth.BetterAuthJWT = config.JWT{JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: "flovyn-server"}
	c.Auth.BetterAuth.ValidationURL = app.ValidationURL()
	c.Auth.WorkerToken.Secret = workerTokenSecret
	chain := []string{jwt.BetterAuthName, apikey.Name, workertoken.Name, statickey.Name}
	c.Auth.Endpoints.HTTP.Authenticators, c.Auth.Endpoints.GRPC.Authenticators = chain, chain
	return c
}

// hosts are the names by which clients may call the server, given the address it
// listens on. One that listens everywhere can have any.
func hosts(listen string) []string {
	if ip := net.ParseIP(listen); ip != nil && ip.IsUnspecified() {
		return nil
	}
	known := []string{"localhost", "127.0.0.1", "::1"}
	if !slices.Contains(known, listen) {
		known = append(known, listen)
	}
	return known
}

// loopback reports whether only this machine can reach an address to listen on.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
