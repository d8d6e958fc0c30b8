package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
	"github.com/flovyn/flovyn-server/internal/token"
	"github.com/flovyn/flovyn-server/internal/wake"
)

const validationPath = "/api/auth/validate-key"

// operatorTokens are worker tokens as an operator manages them: on the database
// of a server, by a program of its own.
func operatorTokens(t *testing.T, dsn string) *token.Tokens {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	cfg := servertest.Config(dsn)
	guideChains(new(standin.App))(cfg)
	tokens, err := token.New(token.Config{
		Store: store, Prefix: cfg.Auth.WorkerToken.Prefix, Secret: string(cfg.Auth.WorkerToken.Secret), Log: slog.New(slog.DiscardHandler),
		Publish: func(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) error {
			return wake.Announce(ctx, store, wake.HintToken, wake.Key{Org: org, Queue: id.String()})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	return tokens
}

func workerToken(t *testing.T, tokens *token.Tokens, org flovyn.OrgID) (flovyn.TokenID, string) {
	t.Helper()
	made, text, err := tokens.Create(t.Context(), token.Request{Org: org, Name: "test", CreatedBy: "operator:test"})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, text
}

// In every order of every configuration, each credential finds whoever knows it,
// and only keys of the provider's are sent there.
func TestIssuedCredentialsInEveryOrder(t *testing.T) {
	t.Parallel()
	const looksLikeToken = "fwt_dev_worker"
	for name, order := range map[string][]string{
		"guide, grpc, self-hosted":  {"better_auth_api_key", "worker_token", "static_api_key"},
		"guide, http, self-hosted":  {"better_auth_jwt", "better_auth_api_key", "static_api_key", "worker_token"},
		"development, with a token": {"static_api_key", "better_auth_jwt", "better_auth_api_key", "worker_token"},
		"the other way round":       {"worker_token", "static_api_key", "better_auth_api_key", "better_auth_jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newProvider(t)
			s := servertest.New(t, guideChains(app), func(cfg *config.Config) {
				cfg.Auth.Endpoints.GRPC.Authenticators = order
				cfg.Auth.StaticAPIKey.Keys = append(cfg.Auth.StaticAPIKey.Keys, config.StaticKey{
					Key: looksLikeToken, OrgID: servertest.Org, PrincipalType: caller.Worker, PrincipalID: "worker:dev",
				})
			})
			tokens := operatorTokens(t, s.DSN)
			_, ours := workerToken(t, tokens, servertest.Org)
			_, foreign := workerToken(t, tokens, servertest.ForeignOrg)
			key := func(prefix, org string) string {
				return app.AddKey(standin.Key{Prefix: prefix, UserID: "owner-of-" + org, OrgID: "external-" + org})
			}
			for _, test := range []struct {
				name, credential string
				status           int
			}{
				{"a worker token", ours, 200},
				{"another organization's worker token", foreign, 403},
				{"an unknown worker token", ours[:len(ours)-4] + "0000", 401},
				{"no worker token of ours", "fwt_whatever", 401},
				{"a static key that looks like one", looksLikeToken, 200},
				{"a static key", servertest.WorkerKey, 200},
				{"a worker's API key", key("flovyn_wk_", "acme"), 200},
				{"a user's API key", key("flovyn_sk_", "acme"), 200},
				{"another organization's API key", key("flovyn_sk_", "globex"), 403},
				{"an unknown organization's API key", key("flovyn_sk_", "nowhere"), 401},
				{"an unknown API key", "flovyn_sk_unknown", 401},
				{"a placeholder", "fct_placeholder-6d1c5c2e", 401},
			} {
				if got := startWorkflow(t, s.GRPC, test.credential); got.status != test.status {
					t.Errorf("%s: %d %s, want %d", test.name, got.status, got.body, test.status)
				}
			}
			if n := app.Requests(validationPath); n != 5 {
				t.Errorf("the provider was asked %d times about 5 keys of its own", n)
			}
		})
	}
}

// Worker tokens are for the doors that have them in their chain.
func TestWorkerTokenAtTheOtherDoor(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, guideChains(newProvider(t)))
	_, text := workerToken(t, operatorTokens(t, s.DSN), servertest.Org)
	if got := startWorkflow(t, s.GRPC, text); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := startWorkflow(t, s.HTTP, text); got.status != 401 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// A token that an operator revokes is refused by every server as soon as it
// hears of it: long before it would look again by itself.
func TestRevocationReachesEveryServer(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	dsn := pgtest.New(t)
	servers := []*servertest.Server{servertest.On(t, dsn, guideChains(app)), servertest.On(t, dsn, guideChains(app))}
	tokens := operatorTokens(t, dsn)
	id, text := workerToken(t, tokens, servertest.Org)
	_, other := workerToken(t, tokens, servertest.Org)
	for _, s := range servers {
		if got := startWorkflow(t, s.GRPC, text); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if err := tokens.Revoke(t.Context(), servertest.Org, id); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		for begin := time.Now(); startWorkflow(t, s.GRPC, text).status == 200; {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("server %d has not heard of it", i)
			}
		}
		if got := startWorkflow(t, s.GRPC, other); got.status != 200 {
			t.Errorf("another token: %d %s", got.status, got.body)
		}
	}
}

// While the provider cannot judge its keys, clients are told to try again; what
// needs no provider goes on.
func TestProviderCannotJudgeKeys(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]standin.Fault{
		"down": standin.Down, "slow": standin.Slow, "limited": standin.TooManyRequests, "broken": standin.Broken,
		"a page": standin.NotJSON, "huge": standin.Huge, "redirecting": standin.Redirect("https://example.com/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newProvider(t)
			app.Fail(validationPath, fault)
			s := servertest.New(t, guideChains(app), func(cfg *config.Config) { cfg.Auth.BetterAuth.Timeout = time.Second })
			_, text := workerToken(t, operatorTokens(t, s.DSN), servertest.Org)
			key := app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "owner-of-acme", OrgID: "external-acme"})
			var work sync.WaitGroup
			for range 20 {
				work.Go(func() {
					got := startWorkflow(t, s.GRPC, key)
					if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "try again") || got.header.Get("WWW-Authenticate") != "" {
						t.Errorf("%d %s %v", got.status, got.body, got.header)
					}
				})
			}
			work.Wait()
			for _, credential := range []string{text, servertest.WorkerKey} {
				if got := startWorkflow(t, s.GRPC, credential); got.status != 200 {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
			app.Fail(validationPath, nil)
			if got := startWorkflow(t, s.GRPC, key); got.status != 200 {
				t.Errorf("after the outage: %d %s", got.status, got.body)
			}
		})
	}
}

// A slug that somebody else registers at the provider opens nothing here, by
// token or by key; a new organization is created where that is allowed.
func TestOrganizationsOfTheProvider(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app), func(cfg *config.Config) { cfg.Auth.OrgResolver.AutoCreate = true })
	if got := startWorkflow(t, s.HTTP, tokenOf(t, app, "owner-of-acme")); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	app.AddOrg(standin.Org{ID: "external-acme", Slug: "acme-renamed", Name: "Acme"})
	app.AddOrg(standin.Org{ID: "external-thief", Slug: "acme", Name: "Acme"})
	app.AddUser(standin.User{ID: "thief", Email: "thief@example.com", Name: "Thief"})
	app.AddMember("thief", "external-thief", "owner")
	for name, user := range map[string]string{"the thief": "thief", "the renamed": "owner-of-acme"} {
		if got := startWorkflow(t, s.HTTP, tokenOf(t, app, user)); got.status != 401 || !strings.Contains(got.body, "Unknown organization: acme") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	// Created and authorized in an organization of its own, which is not acme.
	if got := startWorkflow(t, s.HTTP, tokenOf(t, app, "owner-of-nowhere")); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
	own := fmt.Sprintf(`{"orgId":%q,"workflowKind":"order","queue":"q"}`, orgID(t, s.DSN, "nowhere"))
	header := map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + tokenOf(t, app, "owner-of-nowhere")}
	if got := request(t, overHTTP1(t), http.MethodPost, s.HTTP+"/flovyn.v1.WorkflowDispatch/StartWorkflow", header, own); got.status != 200 {
		t.Errorf("in the new organization: %d %s", got.status, got.body)
	}
}

// What an operator changes about an organization is known to every server soon,
// although each remembers the organization for minutes.
func TestUnbindingReachesEveryServer(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	dsn := pgtest.New(t)
	servers := []*servertest.Server{servertest.On(t, dsn, guideChains(app)), servertest.On(t, dsn, guideChains(app))}
	for _, s := range servers {
		if got := startWorkflow(t, s.HTTP, tokenOf(t, app, "owner-of-acme")); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	app.AddOrg(standin.Org{ID: "external-acme", Slug: "acme-old", Name: "Acme"})
	app.AddOrg(standin.Org{ID: "external-new", Slug: "acme", Name: "Acme"})
	app.AddUser(standin.User{ID: "owner-anew", Email: "anew@example.com", Name: "Owner"})
	app.AddMember("owner-anew", "external-new", "owner")
	anew := tokenOf(t, app, "owner-anew")
	if got := startWorkflow(t, servers[0].HTTP, anew); got.status != 401 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	id, err := store.UnbindOrganization(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := wake.Announce(t.Context(), store, wake.HintOrg, wake.Key{Org: id}); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		for begin := time.Now(); startWorkflow(t, s.HTTP, anew).status != 200; {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("server %d has not heard of it", i)
			}
		}
	}
}

func orgID(t *testing.T, dsn, slug string) flovyn.OrgID {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	found, err := store.OrganizationBySlug(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	return found.ID
}
