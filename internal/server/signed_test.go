package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

const jwksPath = "/.well-known/jwks.json"

// newProvider starts an identity provider that knows the two organizations of a
// test server, and three people.
func newProvider(t *testing.T) *standin.App {
	t.Helper()
	app, err := standin.Start(context.WithoutCancel(t.Context()), standin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, slug := range []string{servertest.OrgSlug, "globex", "nowhere"} {
		app.AddOrg(standin.Org{ID: "external-" + slug, Slug: slug, Name: slug})
		app.AddUser(standin.User{ID: "owner-of-" + slug, Email: "owner@" + slug, Name: "Owner"})
		app.AddMember("owner-of-"+slug, "external-"+slug, "owner")
	}
	app.AddUser(standin.User{ID: "alone", Email: "alone@example.com", Name: "Alone"})
	return app
}

// guideChains are those of the self-hosted deployment, with an app as provider.
func guideChains(app *standin.App) servertest.Option {
	return func(cfg *config.Config) {
		cfg.Auth.BetterAuthJWT = config.JWT{JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: "flovyn-server"}
		cfg.Auth.BetterAuth.ValidationURL = app.ValidationURL()
		cfg.Auth.WorkerToken.Secret = "a secret of this test, and of no other"
		cfg.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key", "static_api_key"}
		cfg.Auth.Endpoints.GRPC.Authenticators = []string{"better_auth_api_key", "worker_token", "static_api_key"}
	}
}

// tokenOf signs somebody in, and gets a JWT as a browser does.
func tokenOf(t *testing.T, app *standin.App, user string) string {
	t.Helper()
	session, err := app.SignIn(user)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"Authorization": "Bearer " + session}
	token, _ := decode(t, request(t, overHTTP1(t), http.MethodGet, app.URL()+"/api/auth/token", header, "").body)["token"].(string)
	return token
}

// startWorkflow starts one in acme.
func startWorkflow(t *testing.T, url, credential string) reply {
	t.Helper()
	header := map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + credential}
	body := `{"orgId":"` + servertest.Org.String() + `","workflowKind":"order","queue":"q"}`
	return request(t, overHTTP1(t), http.MethodPost, url+"/flovyn.v1.WorkflowDispatch/StartWorkflow", header, body)
}

// The chains of the guide: signed tokens first, static keys last, and each
// credential finds whoever knows it.
func TestGuideChains(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app))
	claims := func(change func(claims map[string]any)) string {
		claims := map[string]any{
			"sub": "owner-of-acme", "iss": app.URL(), "aud": "flovyn-server", "exp": time.Now().Add(time.Minute).Unix(),
			"org": map[string]any{"id": "external-acme", "slug": "acme", "role": "owner"},
		}
		change(claims)
		token, err := app.Sign(claims, nil)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, test := range map[string]struct {
		url, credential string
		status          int
		body            string
	}{
		"a member's token":           {s.HTTP, tokenOf(t, app, "owner-of-acme"), 200, "workflowExecutionId"},
		"another organization's":     {s.HTTP, tokenOf(t, app, "owner-of-globex"), 403, "permission_denied"},
		"an unknown organization's":  {s.HTTP, tokenOf(t, app, "owner-of-nowhere"), 401, "Unknown organization: nowhere"},
		"of nobody's organization":   {s.HTTP, tokenOf(t, app, "alone"), 401, "JWT missing org claim"},
		"a token without a role":     {s.HTTP, claims(func(c map[string]any) { delete(c["org"].(map[string]any), "role") }), 403, "permission_denied"},
		"a token for another server": {s.HTTP, claims(func(c map[string]any) { c["aud"] = "other" }), 401, "missing or invalid credentials"},
		"a token of yesterday":       {s.HTTP, claims(func(c map[string]any) { c["exp"] = time.Now().Add(-24 * time.Hour).Unix() }), 401, "missing or invalid credentials"},
		"a broken token":             {s.HTTP, strings.TrimRight(tokenOf(t, app, "owner-of-acme"), "=") + "AA", 401, "missing or invalid credentials"},
		"a session's token":          {s.HTTP, "0123456789abcdefghijklmnopqrstuv", 401, "missing or invalid credentials"},
		"a static key":               {s.HTTP, servertest.AdminKey, 200, "workflowExecutionId"},
		"a user's API key":           {s.HTTP, app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: "owner-of-acme", OrgID: "external-acme"}), 200, "workflowExecutionId"},
		"a worker's API key":         {s.GRPC, app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "owner-of-acme", OrgID: "external-acme"}), 200, "workflowExecutionId"},
		"a token at the other door":  {s.GRPC, tokenOf(t, app, "owner-of-acme"), 401, "missing or invalid credentials"},
		"a static key there":         {s.GRPC, servertest.WorkerKey, 200, "workflowExecutionId"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := startWorkflow(t, test.url, test.credential)
			if got.status != test.status || !strings.Contains(got.body, test.body) {
				t.Errorf("%d %s, want %d %s", got.status, got.body, test.status, test.body)
			}
			challenged := got.header.Get("WWW-Authenticate") == `Bearer error="invalid_token"`
			if challenged != (test.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
		})
	}
	t.Cleanup(func() { // both doors and all these tokens needed the keys once
		if n := app.Requests(jwksPath); n != 1 {
			t.Errorf("the keys were fetched %d times", n)
		}
	})
}

// A provider that is down keeps a server neither from starting nor from knowing
// its own keys; its tokens are answered with 503, which clients try again.
func TestProviderIsDown(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	token := tokenOf(t, app, "owner-of-acme")
	app.Fail(jwksPath, standin.Down)
	s := servertest.New(t, guideChains(app))
	if got := startWorkflow(t, s.HTTP, servertest.AdminKey); got.status != 200 {
		t.Errorf("a static key: %d %s", got.status, got.body)
	}
	got := startWorkflow(t, s.HTTP, token)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "try again") || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
	if n := app.Requests(jwksPath); n != 1 {
		t.Errorf("the keys were asked for %d times at once", n)
	}
}

// Who verifies nothing believes anybody, and says so.
func TestSkippedVerification(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app), func(cfg *config.Config) {
		cfg.AllowInsecureDev()
		cfg.Auth.BetterAuthJWT.SkipVerification = true
	})
	token := tokenOf(t, app, "owner-of-acme")
	unsigned := token[:strings.LastIndex(token, ".")+1]
	if got := startWorkflow(t, s.HTTP, unsigned); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if n := app.Requests(jwksPath); n != 0 {
		t.Errorf("the keys were fetched %d times", n)
	}
}
