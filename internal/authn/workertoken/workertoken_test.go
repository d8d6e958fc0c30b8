package workertoken_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/token"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t)
	store, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.NewOn(t, srv), MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	acme := flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	if err := store.UpsertOrganizations(t.Context(), []flovyn.Organization{{ID: acme, Slug: "acme", Name: "Acme", Tier: "FREE"}}); err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(token.Config{
		Store: store, Prefix: "fwt_", Secret: "secret", Log: slog.New(slog.DiscardHandler),
		Publish: func(context.Context, flovyn.OrgID, flovyn.TokenID) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	made, text, err := tokens.Create(t.Context(), token.Request{Org: acme, Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	a := workertoken.New(tokens)
	present := func(text string) authn.Result {
		t.Helper()
		credential, err := authn.NewCredential(text)
		if err != nil {
			t.Fatal(err)
		}
		return a.Authenticate(t.Context(), credential)
	}

	want := caller.Caller{Kind: caller.Worker, ID: "worker-token:" + made.ID.String(), Org: acme}
	if got := present(text); got.Outcome != authn.Accepted || got.Caller != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, foreign := range []string{"flovyn_wk_1", "fwt", "FWT_" + text[4:], "a.b.c"} {
		if got := present(foreign); got.Outcome != authn.NotMine {
			t.Errorf("%s: %+v", foreign, got)
		}
	}
	for _, bad := range []string{"fwt_", "fwt_short", "fwt_" + strings.Repeat("a", 44)} {
		if got := present(bad); got.Outcome != authn.Rejected || got.Cause == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if err := srv.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := present("fwt_" + strings.Repeat("b", 44)); got.Outcome != authn.Unavailable || got.Cause == nil {
		t.Errorf("without a database: %+v", got)
	}
}

// A server without a secret refuses worker tokens itself, and leaves everything
// else to others.
func TestClosed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]authn.Outcome{"fwt_0123456789": authn.Rejected, "flovyn_wk_0123": authn.NotMine} {
		credential, err := authn.NewCredential(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := (workertoken.Closed{Prefix: "fwt_"}).Authenticate(t.Context(), credential); got.Outcome != want {
			t.Errorf("%s: %v, want %v", text, got.Outcome, want)
		}
	}
}
