package jwt

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/org"
	"github.com/flovyn/flovyn-server/internal/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const audience = "flovyn-server"

var acme = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))

// directory knows one organization, and has a database that can be down.
type directory struct{ down error }

func (d directory) ResolveToken(_ context.Context, t org.TokenOrg) (flovyn.OrgID, error) {
	switch {
	case d.down != nil:
		return flovyn.OrgID{}, d.down
	case t.Slug != "acme":
		return flovyn.OrgID{}, fault.New(fault.Unauthenticated, "Unknown organization: %s", t.Slug)
	}
	return acme, nil
}

func (d directory) ResolveKey(ctx context.Context, t org.TokenOrg) (flovyn.OrgID, error) {
	return d.ResolveToken(ctx, t)
}

// newApp starts an identity provider with a user who is an admin of acme.
func newApp(tb testing.TB, cfg standin.Config) (app *standin.App, session string) {
	tb.Helper()
	app, err := standin.Start(context.WithoutCancel(tb.Context()), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := app.Close(); err != nil {
			tb.Error(err)
		}
	})
	app.AddUser(standin.User{ID: "alice", Email: "alice@acme.com", Name: "Alice"})
	app.AddOrg(standin.Org{ID: "org-1", Slug: "acme", Name: "Acme"})
	app.AddMember("alice", "org-1", "admin")
	session, err = app.SignIn("alice")
	if err != nil {
		tb.Fatal(err)
	}
	return app, session
}

// newAuthenticator makes one that trusts an app, and does not start it.
func newAuthenticator(tb testing.TB, app *standin.App, change ...func(*Config)) *Authenticator {
	tb.Helper()
	cfg := Config{Name: BetterAuthName, JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: audience, Orgs: directory{}}
	for _, change := range change {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// start starts the parts of an authenticator until the test ends.
func start(tb testing.TB, a *Authenticator) {
	tb.Helper()
	for _, part := range a.Parts() {
		if err := part.Start(context.WithoutCancel(tb.Context())); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(part.Stop)
	}
}

// goodClaims are those that a token must have, for an hour.
func goodClaims(app *standin.App, now time.Time) map[string]any {
	return map[string]any{
		"sub": "alice", "iss": app.URL(), "aud": audience, "exp": now.Add(time.Hour).Unix(),
		"org": map[string]any{"id": "org-1", "slug": "acme", "name": "Acme", "role": "admin"},
	}
}

// changed returns claims with some replaced, or removed when nil.
func changed(claims, by map[string]any) map[string]any {
	claims = maps.Clone(claims)
	for name, value := range by {
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
	}
	return claims
}

func sign(tb testing.TB, app *standin.App, claims, header map[string]any) string {
	tb.Helper()
	token, err := app.Sign(claims, header)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// judge presents a token.
func judge(tb testing.TB, a *Authenticator, token string) authn.Result {
	tb.Helper()
	credential, err := authn.NewCredential(token)
	if err != nil {
		tb.Fatalf("%q could not be sent: %v", token, err)
	}
	return a.Authenticate(tb.Context(), credential)
}

var alice = caller.Caller{Kind: caller.User, ID: "alice", Org: acme, Role: caller.Admin}

// inProcess answers requests by a handler, without the network, so that a test
// can have a time of its own.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}
