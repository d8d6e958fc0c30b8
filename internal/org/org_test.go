package org_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/org"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const issuer = "https://app.acme.com"

var (
	acme   = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	globex = flovyn.OrgID(uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8"))
)

func open(t *testing.T, dsn string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// text is a log that tests read.
type text struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// world is a resolver with what surrounds it.
type world struct {
	*org.Resolver
	store     *postgres.Store
	log       *text
	mu        sync.Mutex
	published []flovyn.OrgID
	now       time.Time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func resolver(t *testing.T, store *postgres.Store, change func(*org.Config)) *world {
	t.Helper()
	w := &world{store: store, log: &text{}, now: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)}
	cfg := org.Config{
		Store: store, TTL: 5 * time.Minute, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Publish: func(id flovyn.OrgID) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.published = append(w.published, id)
		},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}
	if change != nil {
		change(&cfg)
	}
	w.Resolver = org.New(cfg)
	t.Cleanup(w.Close)
	return w
}

// seeded is a store with two organizations.
func seeded(t *testing.T) *postgres.Store {
	t.Helper()
	store := open(t, pgtest.New(t))
	if err := store.UpsertOrganizations(t.Context(), []flovyn.Organization{
		{ID: acme, Slug: "acme", Name: "Acme", Tier: "FREE"}, {ID: globex, Slug: "globex", Name: "Globex", Tier: "FREE"},
	}); err != nil {
		t.Fatal(err)
	}
	return store
}

func autoCreate(c *org.Config) { c.AutoCreate = true }

func token(slug, external string) org.TokenOrg {
	return org.TokenOrg{Issuer: issuer, ExternalID: external, Slug: slug, Name: "Name of " + slug}
}

func wantUnknown(t *testing.T, err error, slug string) {
	t.Helper()
	if !fault.Is(err, fault.Unauthenticated) || fault.Message(err) != "Unknown organization: "+slug {
		t.Errorf("got %v: %v; want unauthenticated, Unknown organization: %s", fault.KindOf(err), err, slug)
	}
}

func wantOrg(t *testing.T, want flovyn.OrgID) func(flovyn.OrgID, error) {
	t.Helper()
	return func(got flovyn.OrgID, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), nil)
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme"))
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
	wantOrg(t, globex)(w.ResolveToken(t.Context(), org.TokenOrg{Issuer: issuer, Slug: "globex"})) // no id at the issuer
	_, err := w.ResolveSlug(t.Context(), "initech")
	wantUnknown(t, err, "initech")
	_, err = w.ResolveToken(t.Context(), token("initech", "ext-2"))
	wantUnknown(t, err, "initech")
}

// What can be no slug is refused before anybody is asked, and not repeated.
func TestResolveRefusesWhatIsNoSlug(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), autoCreate)
	for _, slug := range []string{"", "Acme", "acme ", "ac", "аcme", "ａｃｍｅ", "acme\x00", "../acme", "api", strings.Repeat("a", 64)} {
		_, err := w.ResolveToken(t.Context(), token(slug, "ext-1"))
		wantUnknown(t, err, "not a valid slug")
		_, err = w.ResolveSlug(t.Context(), slug)
		wantUnknown(t, err, "not a valid slug")
	}
	for _, external := range []string{"a\x00b", "\xff", "a\nb", strings.Repeat("a", 513)} {
		_, err := w.ResolveToken(t.Context(), token("acme", external))
		wantUnknown(t, err, "acme")
	}
}

// A slug that somebody else registered after it was given up opens nothing.
func TestTakeover(t *testing.T) {
	t.Parallel()
	store := seeded(t)
	w := resolver(t, store, autoCreate)
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
	for _, step := range []struct {
		name   string
		change func(*world)
	}{ // in this order: the other server writes a log of its own
		{"remembered", func(*world) {}},
		{"forgotten", (*world).forget},
		{"on another server", func(w *world) { w.Resolver = resolver(t, store, autoCreate).Resolver }},
	} {
		step.change(w)
		_, err := w.ResolveToken(t.Context(), token("acme", "ext-thief"))
		t.Log(step.name)
		wantUnknown(t, err, "acme")
		_, err = w.ResolveToken(t.Context(), org.TokenOrg{Issuer: issuer, Slug: "acme"})
		wantUnknown(t, err, "acme")
		_, err = w.ResolveKey(t.Context(), token("acme", "ext-thief"))
		wantUnknown(t, err, "acme")
		wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
		wantOrg(t, acme)(w.ResolveKey(t.Context(), token("acme", "ext-1")))
		wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme")) // an API key that says nothing
	}
	if log := w.log.String(); !strings.Contains(log, "external_id=ext-thief") || !strings.Contains(log, "organization bound") {
		t.Errorf("operators read: %s", log)
	}
}

func (w *world) forget() { w.ForgetAll() }

// One id at the issuer opens one organization: renaming it there opens no other.
func TestOneIDOpensOneOrganization(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), autoCreate)
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
	_, err := w.ResolveToken(t.Context(), token("globex", "ext-1"))
	wantUnknown(t, err, "globex")
	_, err = w.ResolveToken(t.Context(), token("initech", "ext-1"))
	wantUnknown(t, err, "initech")
	if _, err := w.store.OrganizationBySlug(t.Context(), "initech"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an organization was made for a bound id: %v", err)
	}
	// Another issuer's ids are its own.
	wantOrg(t, globex)(w.ResolveToken(t.Context(), org.TokenOrg{Issuer: "https://other", ExternalID: "ext-1", Slug: "globex"}))
}

// An API key, which says less than a token, binds nothing.
func TestKeysBindNothing(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), autoCreate)
	wantOrg(t, acme)(w.ResolveKey(t.Context(), token("acme", "ext-liar")))
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
	_, err := w.ResolveKey(t.Context(), token("acme", "ext-liar"))
	wantUnknown(t, err, "acme")
	_, err = w.ResolveKey(t.Context(), token("initech", "ext-2"))
	wantUnknown(t, err, "initech")
}

func TestUnbind(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), nil)
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-1")))
	id, err := w.store.UnbindOrganization(t.Context(), "acme")
	if err != nil || id != acme {
		t.Fatal(id, err)
	}
	_, err = w.ResolveToken(t.Context(), token("acme", "ext-2"))
	wantUnknown(t, err, "acme") // remembered
	w.Forget(acme)
	wantOrg(t, acme)(w.ResolveToken(t.Context(), token("acme", "ext-2")))
	if _, err := w.store.UnbindOrganization(t.Context(), "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

// An answer is remembered, but not for longer than was configured, and not once
// it is known to be out of date.
func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	w := resolver(t, seeded(t), nil)
	rename := func(slug string) {
		t.Helper()
		if err := w.store.UpsertOrganizations(t.Context(), []flovyn.Organization{{ID: acme, Slug: slug, Name: "Acme", Tier: "FREE"}}); err != nil {
			t.Fatal(err)
		}
	}
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme"))
	rename("acme-2")
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme"))
	w.pass(5 * time.Minute)
	_, err := w.ResolveSlug(t.Context(), "acme")
	wantUnknown(t, err, "acme")
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme-2"))
	rename("acme-3")
	w.Forget(globex)
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme-2"))
	w.Forget(acme)
	_, err = w.ResolveSlug(t.Context(), "acme-2")
	wantUnknown(t, err, "acme-2")
	rename("acme") // an unknown slug is not remembered
	wantOrg(t, acme)(w.ResolveSlug(t.Context(), "acme"))
}

// Many servers that see a new organization at the same time make one.
func TestAutoCreateMakesOne(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	servers := []*world{resolver(t, open(t, dsn), autoCreate), resolver(t, open(t, dsn), autoCreate)}
	const callers = 20
	ids := make(chan flovyn.OrgID, callers)
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			id, err := servers[i%2].ResolveToken(t.Context(), token("initech", "ext-9"))
			if err != nil {
				t.Error(err)
			}
			ids <- id
		})
	}
	work.Wait()
	close(ids)
	made, err := servers[0].store.OrganizationBySlug(t.Context(), "initech")
	if err != nil || made.Name != "Name of initech" || made.Tier != "FREE" {
		t.Fatalf("%+v, %v", made, err)
	}
	for id := range ids {
		if id != made.ID {
			t.Errorf("%s is not %s", id, made.ID)
		}
	}
	created := strings.Count(servers[0].log.String()+servers[1].log.String(), "organization created")
	if published := len(servers[0].published) + len(servers[1].published); created != 1 || published != 1 {
		t.Errorf("%d created, %d announced", created, published)
	}
	_, err = servers[1].ResolveToken(t.Context(), token("initech", "ext-10"))
	wantUnknown(t, err, "initech")
}

func TestAutoCreateNames(t *testing.T) {
	t.Parallel()
	w := resolver(t, open(t, pgtest.New(t)), autoCreate)
	for i, name := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 513)} {
		slug := fmt.Sprintf("org-%d", i)
		if _, err := w.ResolveToken(t.Context(), org.TokenOrg{Issuer: issuer, Slug: slug, Name: name}); err != nil {
			t.Fatal(err)
		}
		if made, err := w.store.OrganizationBySlug(t.Context(), slug); err != nil || made.Name != slug {
			t.Errorf("%q: %q, %v", name, made.Name, err)
		}
	}
}

// A provider that has gone mad does not fill the database.
func TestAutoCreateIsLimited(t *testing.T) {
	t.Parallel()
	w := resolver(t, open(t, pgtest.New(t)), autoCreate)
	made := 0
	create := func() (err error) {
		_, err = w.ResolveToken(t.Context(), token(fmt.Sprintf("org-%d", made), strconv.Itoa(made)))
		if err == nil {
			made++
		}
		return err
	}
	for create() == nil {
		if made > 1000 {
			t.Fatal("there is no limit")
		}
	}
	if err := create(); made != 30 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%d made, then %v", made, err)
	}
	wantOrg(t, mustFind(t, w, "org-7"))(w.ResolveToken(t.Context(), token("org-7", "7")))
	w.pass(2 * time.Second)
	if err := create(); err != nil {
		t.Error(err)
	}
	if err := create(); err == nil {
		t.Error("two for the time of one")
	}
}

func mustFind(t *testing.T, w *world, slug string) flovyn.OrgID {
	t.Helper()
	found, err := w.store.OrganizationBySlug(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	return found.ID
}

// A database that does not answer is not an unknown organization.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t)
	store := open(t, pgtest.NewOn(t, srv))
	w := resolver(t, store, autoCreate)
	made, err := w.ResolveToken(t.Context(), token("acme", "ext-1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOrg(t, made)(w.ResolveToken(t.Context(), token("acme", "ext-1"))) // remembered
	for _, slug := range []string{"globex", "initech"} {
		if _, err := w.ResolveToken(t.Context(), token(slug, "ext-2")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		if _, err := w.ResolveSlug(t.Context(), slug); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.ResolveSlug(ctx, "globex"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a caller who left: %v", err)
	}
}
