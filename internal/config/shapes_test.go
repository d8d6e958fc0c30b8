package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// cmp would be shown redacted secrets; compare what is behind them.
var deeply = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmp.Transformer("reveal", func(s Secret) string { return string(s) }),
}

// devIssuer is what the development set-up's scripts add to its self-hosted file,
// which has no issuer.
const devIssuer = "AUTH__BETTER_AUTH__JWT__ISSUER=http://localhost:3000"

func orgID(text string) flovyn.OrgID { return flovyn.OrgID(uuid.MustParse(text)) }

func load(t *testing.T, file string, environ ...string) *Config {
	t.Helper()
	cfg, err := Load(filepath.Join("testdata", file), environ)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Every file of the guide, of the development set-up and of the SDKs' tests
// makes sense and can be served as it stands.
func TestShapes(t *testing.T) {
	t.Parallel()
	acme := orgID("550e8400-e29b-41d4-a716-446655440000")
	test := orgID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
	docs := []string{"/_/health", "/api/docs", "/api/docs/openapi.json"}
	harness := func(c *Config) {
		c.Database.URL = "postgres://flovyn:flovyn@postgres:5432/flovyn"
		c.NATS = NATS{Enabled: true, URL: "nats://nats:4222"}
		c.Orgs = []Org{{ID: test, Name: "Test Org", Slug: "test-org", Tier: "FREE"}}
		c.Auth.StaticAPIKey.Keys = []StaticKey{
			{"flovyn_sk_test_0123456789abcdef", test, caller.User, "api:test", caller.Admin},
			{"flovyn_wk_test_0123456789abcdef", test, caller.Worker, "worker:test", ""},
		}
		c.Auth.Endpoints.HTTP.Authenticators = []string{"static_api_key"}
		c.Auth.Endpoints.GRPC.Authenticators = []string{"static_api_key"}
	}
	for file, test := range map[string]struct {
		environ []string
		want    func(*Config)
	}{
		"guide-selfhosted.toml": {
			want: func(c *Config) {
				c.Database.URL = "postgres://flovyn:password@localhost:5432/flovyn"
				c.Orgs = []Org{{ID: acme, Name: "Acme Corp", Slug: "acme", Tier: "FREE"}}
				c.Auth.BetterAuthJWT = JWT{
					JWKSURI: "https://app.acme.com/.well-known/jwks.json", Issuer: "https://app.acme.com", Audience: "flovyn-server",
				}
				c.Auth.BetterAuth.ValidationURL = "https://app.acme.com/api/auth/validate-key"
				c.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key", "static_api_key"}
				c.Auth.Endpoints.HTTP.ExcludePaths = docs
				c.Auth.Endpoints.GRPC.Authenticators = []string{"better_auth_api_key", "worker_token", "static_api_key"}
			},
		},
		"guide-saas.toml": {
			want: func(c *Config) {
				c.Database.URL = "postgres://flovyn:password@db.internal:5432/flovyn"
				c.Auth.BetterAuthJWT = JWT{
					JWKSURI: "https://app.flovyn.ai/.well-known/jwks.json", Issuer: "https://app.flovyn.ai", Audience: "flovyn-server",
				}
				c.Auth.BetterAuth.ValidationURL = "https://app.flovyn.ai/api/auth/validate-key"
				c.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key"}
				c.Auth.Endpoints.HTTP.ExcludePaths = docs
				c.Auth.Endpoints.GRPC.Authenticators = []string{"better_auth_api_key", "worker_token"}
			},
		},
		"dev-selfhosted.toml": {
			environ: []string{devIssuer},
			want: func(c *Config) {
				c.Database.URL = "postgres://flovyn:flovyn@localhost:5435/flovyn"
				c.NATS = NATS{Enabled: true, URL: "nats://localhost:4222"}
				c.OTel.Enabled, c.Metrics.Enabled = true, true
				c.Orgs = []Org{{ID: acme, Name: "Development", Slug: "dev", Tier: "FREE"}}
				c.Auth.JWT.SkipVerification = true
				c.Auth.BetterAuth.ValidationURL = "http://localhost:3000/api/auth/validate-key"
				c.Auth.BetterAuthJWT = JWT{
					JWKSURI: "http://localhost:3000/.well-known/jwks.json", Issuer: "http://localhost:3000", Audience: "flovyn-server",
				}
				c.Auth.StaticAPIKey.Keys = []StaticKey{
					{"flovyn_sk_dev_admin", acme, caller.User, "admin", caller.Owner},
					{"fwt_dev_worker", acme, caller.Worker, "worker:dev", ""},
				}
				chain := []string{"static_api_key", "better_auth_jwt", "better_auth_api_key"}
				c.Auth.Endpoints.HTTP.Authenticators, c.Auth.Endpoints.GRPC.Authenticators = chain, chain
				c.Auth.Endpoints.HTTP.ExcludePaths = docs
			},
		},
		"dev-saas.toml": {
			want: func(c *Config) {
				c.Database.URL = "postgres://flovyn:flovyn@localhost:5435/flovyn"
				c.NATS = NATS{Enabled: true, URL: "nats://localhost:4222"}
				c.Metrics.Enabled = true
				c.Auth.JWT.SkipVerification = true
				c.Auth.BetterAuth.ValidationURL = "http://localhost:3000/api/auth/validate-key"
				c.Auth.BetterAuthJWT = JWT{
					JWKSURI: "http://localhost:3000/.well-known/jwks.json", Issuer: "http://localhost:3000", Audience: "flovyn-server",
				}
				c.Auth.OrgResolver = OrgResolver{CacheTTL: 300 * time.Second, AutoCreate: true}
				chain := []string{"better_auth_jwt", "better_auth_api_key"}
				c.Auth.Endpoints.HTTP.Authenticators, c.Auth.Endpoints.GRPC.Authenticators = chain, chain
				c.Auth.Endpoints.HTTP.ExcludePaths = docs
			},
		},
		"sdk-harness-nested.toml": {want: harness},
		"sdk-harness-flat.toml":   {want: harness},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			want := Default()
			test.want(want)
			got := load(t, file, test.environ...)
			if diff := cmp.Diff(want, got, deeply); diff != "" {
				t.Error(diff)
			}
			if err := got.Buildable(); err != nil {
				t.Errorf("it cannot be served as it stands: %v", err)
			}
		})
	}
}

// With its secret in the environment, every file is complete.
func TestShapesWithSecret(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"guide-selfhosted.toml", "guide-saas.toml"} {
		cfg := load(t, file, "WORKER_TOKEN_SECRET=dev-secret-key-for-testing-only", "WORKER_TOKEN_SECRET_PREVIOUS=the-one-before-it")
		if err := cfg.Buildable(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if cfg.Auth.WorkerToken.Secret != "dev-secret-key-for-testing-only" || cfg.Auth.WorkerToken.PreviousSecret != "the-one-before-it" {
			t.Errorf("%s: the secrets are not those of the environment", file)
		}
		if !slices.ContainsFunc(cfg.Warnings(), func(w string) bool { return strings.Contains(w, "which everybody knows") }) {
			t.Errorf("%s: no warning about the secret that everybody knows: %q", file, cfg.Warnings())
		}
	}
}

// The setting of one authenticator must never become that of another.
func TestGenericJWTDoesNotLeak(t *testing.T) {
	t.Parallel()
	cfg := load(t, "dev-selfhosted.toml", devIssuer)
	if cfg.Auth.BetterAuthJWT.SkipVerification || !cfg.Auth.JWT.SkipVerification {
		t.Error("auth.jwt and auth.better_auth.jwt are mixed up")
	}
	if cfg.Auth.BetterAuthJWT.Issuer != "http://localhost:3000" {
		t.Errorf("issuer %q", cfg.Auth.BetterAuthJWT.Issuer)
	}
}

func TestWarningsOfShapes(t *testing.T) {
	t.Parallel()
	const noSecret = "worker_token is in a chain and there is no auth.worker_token.secret: every worker token is refused; " +
		"set WORKER_TOKEN_SECRET, or take it out of the chain"
	for file, want := range map[string][]string{
		"guide-saas.toml":         {noSecret},
		"sdk-harness-nested.toml": nil,
		"guide-selfhosted.toml": {
			"auth.endpoints.grpc.authenticators lists static_api_key, and there are no keys",
			"auth.endpoints.http.authenticators lists static_api_key, and there are no keys",
			noSecret,
		},
		"dev-selfhosted.toml": {
			"auth.jwt.skip_verification is true: whoever writes a token is believed",
			"auth.static_api_key.keys[1] is shorter than 16 characters and can be guessed",
		},
	} {
		if diff := cmp.Diff(want, load(t, file, devIssuer).Warnings()); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestSwitchedOffIsLoudAndBuildable(t *testing.T) {
	t.Parallel()
	cfg := load(t, "guide-selfhosted.toml", "AUTH__ENABLED=false")
	if err := cfg.Buildable(); err != nil {
		t.Error(err)
	}
	if warnings := cfg.Warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "auth.enabled is false") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestClosedDoorNeedsNoChain(t *testing.T) {
	t.Parallel()
	cfg := load(t, "guide-selfhosted.toml", "AUTH__ENDPOINTS__GRPC__ENABLED=false", "AUTH__ENDPOINTS__GRPC__AUTHENTICATORS=[]",
		"AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=static_api_key", "AUTH__ENDPOINTS__HTTP__AUTHORIZER=none")
	if err := cfg.Buildable(); err != nil {
		t.Error(err)
	}
	if got := cfg.Auth.Endpoints.HTTP.AuthorizerKind(); got != AuthorizerNoop {
		t.Errorf("authorizer %q", got)
	}
	if warnings := strings.Join(cfg.Warnings(), "\n"); !strings.Contains(warnings, "auth.endpoints.http.authorizer is none") ||
		strings.Contains(warnings, "grpc") {
		t.Errorf("warnings %q", warnings)
	}
}
