package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/token"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	acme   = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	globex = flovyn.OrgID(uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8"))
)

// clock is a time that passes when a test says so. It begins at the database's,
// so that what the database notes is in order with it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a database with two organizations and what acts on it.
type world struct {
	store     *postgres.Store
	clock     *clock
	published []flovyn.TokenID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, pgtest.New(t))
}

func newWorldOn(t *testing.T, dsn string) *world {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.UpsertOrganizations(t.Context(), []flovyn.Organization{
		{ID: acme, Slug: "acme", Name: "Acme", Tier: "FREE"}, {ID: globex, Slug: "globex", Name: "Globex", Tier: "FREE"},
	}); err != nil {
		t.Fatal(err)
	}
	now, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &world{store: store, clock: &clock{now: now}}
}

// server is one of the servers of a world.
func (w *world) server(t *testing.T, secret, previous string) *token.Tokens {
	t.Helper()
	tokens, err := token.New(token.Config{
		Store: w.store, Prefix: "fwt_", Secret: secret, PreviousSecret: previous, Log: slog.New(slog.DiscardHandler), Now: w.clock.Now,
		Publish: func(_ context.Context, _ flovyn.OrgID, id flovyn.TokenID) error {
			w.published = append(w.published, id)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	return tokens
}

func create(t *testing.T, tokens *token.Tokens, change func(*token.Request)) (flovyn.WorkerToken, string) {
	t.Helper()
	request := token.Request{Org: acme, Name: "farm", CreatedBy: "operator:test"}
	if change != nil {
		change(&request)
	}
	made, text, err := tokens.Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return made, text
}

func wantGood(t *testing.T, tokens *token.Tokens, text string, want flovyn.WorkerToken) {
	t.Helper()
	got, err := tokens.Verify(t.Context(), text)
	if err != nil || got.ID != want.ID || got.Org != want.Org {
		t.Errorf("got %s of %s, %v; want %s of %s", got.ID, got.Org, err, want.ID, want.Org)
	}
}

func wantRefused(t *testing.T, tokens *token.Tokens, text, why string) {
	t.Helper()
	got, err := tokens.Verify(t.Context(), text)
	if !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), why) || got.Org == acme {
		t.Errorf("got %+v, %v; want unauthenticated because %q", got, err, why)
	}
	if err != nil && (strings.Contains(fault.Message(err), why) || strings.Contains(err.Error(), text)) {
		t.Errorf("the client learns why, or the log learns the token: %v", err)
	}
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.server(t, "secret", "")
	made, text := create(t, here, func(r *token.Request) { r.Name, r.Description = " farm ", "builds" })
	if !regexp.MustCompile(`^fwt_[0-9A-Za-z]{44}$`).MatchString(text) || made.Prefix != text[:16] || made.Name != "farm" {
		t.Errorf("%q begins %q", text, made.Prefix)
	}
	wantGood(t, here, text, made)
	list, err := here.List(t.Context(), acme)
	if err != nil || len(list) != 1 || list[0].LastUsedAt == nil || list[0].Description != "builds" || list[0].CreatedBy != "operator:test" {
		t.Errorf("%+v, %v", list, err)
	}
	stored, err := json.Marshal(list)
	if err != nil || strings.Contains(string(stored), text[16:]) {
		t.Errorf("the token is stored: %s, %v", stored, err)
	}
	if foreign, err := here.List(t.Context(), globex); err != nil || len(foreign) != 0 {
		t.Errorf("%+v, %v", foreign, err)
	}
	if err := here.Revoke(t.Context(), globex, made.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another organization revoked it: %v", err)
	}
	wantGood(t, here, text, made)
	if err := here.Revoke(t.Context(), acme, made.ID); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, here, text, "revoked")
	if diff := cmp.Diff([]flovyn.TokenID{made.ID}, w.published); diff != "" {
		t.Error(diff)
	}
	list, _ = here.List(t.Context(), acme)
	if err := here.Revoke(t.Context(), acme, made.ID); err != nil {
		t.Error(err)
	}
	again, _ := here.List(t.Context(), acme)
	if !list[0].RevokedAt.Equal(*again[0].RevokedAt) {
		t.Error("the time of the revocation changed")
	}
}

// What is wrong with a text never tells a stranger how far it is right.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.server(t, "secret", "")
	_, text := create(t, here, nil)
	last := "A"
	if strings.HasSuffix(text, last) {
		last = "B"
	}
	for name, test := range map[string]struct{ text, why string }{
		"another secret part": {text[:len(text)-1] + last, "no such"},
		"another prefix":      {"fwt_" + strings.Repeat("a", 44), "no such"},
		"its public part":     {text[:16], "not a worker token"},
		"too long":            {text + "a", "not a worker token"},
		"too short":           {text[:len(text)-1], "not a worker token"},
		"not letters":         {text[:len(text)-1] + "-", "not a worker token"},
		"another case":        {"FWT_" + text[4:], "not a worker token"},
		"the prefix alone":    {"fwt_", "not a worker token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, here, test.text, test.why)
		})
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.server(t, "secret", "")
	ends := w.clock.Now().Add(10 * time.Second)
	made, text := create(t, here, func(r *token.Request) { r.ExpiresAt = &ends })
	wantGood(t, here, text, made)
	w.clock.pass(10*time.Second - time.Millisecond)
	wantGood(t, here, text, made)
	w.clock.pass(time.Millisecond) // it is remembered for longer than it lives, and must not be believed
	wantRefused(t, here, text, "expired")
	for name, change := range map[string]func(*token.Request){
		"no name":   func(r *token.Request) { r.Name = " " },
		"long name": func(r *token.Request) { r.Name = strings.Repeat("x", 513) },
		"long text": func(r *token.Request) { r.Description = strings.Repeat("x", 5000) },
		"the past":  func(r *token.Request) { r.ExpiresAt = &ends },
	} {
		request := token.Request{Org: acme, Name: "n"}
		change(&request)
		if _, _, err := here.Create(t.Context(), request); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Another server believes a token that is revoked until it hears of it, or for
// half a minute.
func TestRevokedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, there, deaf := w.server(t, "secret", ""), w.server(t, "secret", ""), w.server(t, "secret", "")
	made, text := create(t, here, nil)
	other, otherText := create(t, here, nil)
	for _, server := range []*token.Tokens{here, there, deaf} {
		wantGood(t, server, text, made)
		wantGood(t, server, otherText, other)
	}
	if err := here.Revoke(t.Context(), acme, made.ID); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, here, text, "revoked")
	wantGood(t, there, text, made)
	there.Forget(made.ID) // the hint
	wantRefused(t, there, text, "revoked")
	wantGood(t, there, otherText, other)
	wantGood(t, deaf, text, made)
	w.clock.pass(30 * time.Second)
	wantRefused(t, deaf, text, "revoked")
	wantGood(t, deaf, otherText, other)
}

// A secret is changed without a token being refused, while some servers have
// the new one already and others have not.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.server(t, "old", "")
	made, text := create(t, before, nil)
	after := w.server(t, "new", "old")
	wantGood(t, after, text, made)
	fresh, freshText := create(t, after, nil)
	wantGood(t, after, freshText, fresh)
	wantGood(t, w.server(t, "old", ""), text, made) // not rolled out yet
	wantRefused(t, w.server(t, "new", ""), text, "no such")

	w.clock.pass(15 * time.Minute)
	wantGood(t, after, text, made) // puts it under the new secret
	wantGood(t, w.server(t, "new", ""), text, made)
	wantRefused(t, w.server(t, "old", ""), text, "no such")
	wantGood(t, w.server(t, "newer", "new"), text, made)
}

// The use of a token is noted once a minute, however often it is used.
func TestLastUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.server(t, "secret", "")
	made, text := create(t, here, nil)
	lastUse := func() time.Time {
		t.Helper()
		list, err := here.List(t.Context(), acme)
		if err != nil || list[0].LastUsedAt == nil {
			t.Fatal(list, err)
		}
		return *list[0].LastUsedAt
	}
	wantGood(t, here, text, made)
	first := lastUse()
	for range 5 {
		here.ForgetAll()
		wantGood(t, here, text, made)
	}
	if got := lastUse(); !got.Equal(first) {
		t.Errorf("noted again after %v", got.Sub(first))
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.server(t, "secret", "")
	made, text := create(t, here, nil)
	var work sync.WaitGroup
	for range 100 {
		work.Go(func() { wantGood(t, here, text, made) })
	}
	work.Wait()
}

func TestNewNeedsASecret(t *testing.T) {
	t.Parallel()
	if _, err := token.New(token.Config{Prefix: "fwt_"}); err == nil {
		t.Error("worker tokens without a secret")
	}
}

// A database that does not answer says nothing about a token.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t)
	w := newWorldOn(t, pgtest.NewOn(t, srv))
	here := w.server(t, "secret", "")
	made, text := create(t, here, nil)
	_, unseen := create(t, here, nil)
	wantGood(t, here, text, made)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := here.Verify(ctx, unseen); !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	if err := srv.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantGood(t, here, text, made)
	here.ForgetAll()
	if _, err := here.Verify(t.Context(), text); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v: %v", fault.KindOf(err), err)
	}
}
