// Package org finds the organization that a credential names.
//
// A credential of an identity provider names an organization by its slug there,
// which is its slug here too. That alone would not be safe: a slug can be given
// up at the provider and registered by somebody else, who would then own the
// organization here. So the first verified token that names an organization
// binds it to the provider's id of it, which is never used again, and from then
// on a token with another id is refused. One id opens one organization. An
// operator undoes a binding by name.
//
// What an API key says of its organization is weaker than a token: in some set-ups
// whoever made the key has written it. It must fit a binding, and makes none.
//
// Answers are remembered for a while, so that a request costs no query; an
// unknown slug is not remembered, because the remedy is to create it. A change
// is announced to the other servers, which forget what they know.
//
// With auto_create an unknown slug in a verified token creates the organization.
// Without it, organizations are created by whoever may (see Found).
package org

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/lookup"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

const (
	// remembered bounds how many organizations are known at a time.
	remembered = 1000
	// patience bounds one look at the database.
	patience = 5 * time.Second
)

// ErrNone is among the causes of a refusal when no organization goes by the slug
// of a credential, and nothing else is wrong with it.
var ErrNone = errors.New("no organization goes by this slug")

// Config is what a Resolver needs.
type Config struct {
	Store *postgres.Store
	// TTL is how long an answer is believed; zero asks each time.
	TTL time.Duration
	// AutoCreate creates the organization that a verified token names.
	AutoCreate bool
	// Publish tells the other servers that what they know of an organization is
	// out of date.
	Publish func(flovyn.OrgID)
	Log     *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// TokenOrg is what a verified token says of its organization.
type TokenOrg struct {
	// Issuer is who signed the token.
	Issuer string
	// ExternalID is the issuer's id of the organization; empty if it has none.
	ExternalID string
	// Slug is the organization's name in URLs, at the issuer and here.
	Slug string
	// Name is for people.
	Name string
}

// Resolver finds organizations. Methods are safe for concurrent use.
type Resolver struct {
	cfg     Config
	known   *lookup.Cache[string, flovyn.OrgIdentity]
	flights lookup.Flights[flovyn.OrgIdentity]
	births  *rate.Limiter
}

// New makes a resolver.
func New(cfg Config) *Resolver {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Resolver{
		cfg: cfg, known: lookup.NewCache[string, flovyn.OrgIdentity](remembered),
		births: rate.NewLimiter(rate.Every(birthInterval), birthBurst),
	}
}

// ResolveToken returns the organization that a verified token names, and binds
// or creates it as the package describes. It fails with Unauthenticated, written
// for the client, when the token opens no organization, and with Unavailable
// when that cannot be told.
func (r *Resolver) ResolveToken(ctx context.Context, t TokenOrg) (flovyn.OrgID, error) {
	if err := checkClaims(t); err != nil {
		return flovyn.OrgID{}, err
	}
	identity, err := r.find(ctx, t.Slug)
	if fault.Is(err, fault.NotFound) && r.cfg.AutoCreate {
		identity, err = r.create(ctx, t)
	}
	if err == nil && t.ExternalID != "" && identity.Bindings[t.Issuer] == "" {
		identity, err = r.bind(ctx, identity, t)
	}
	if err == nil {
		err = r.fits(ctx, identity, t)
	}
	return answer(identity, t.Slug, err)
}

// ResolveSlug returns the organization that goes by a slug. It fails as
// ResolveToken does.
func (r *Resolver) ResolveSlug(ctx context.Context, slug string) (flovyn.OrgID, error) {
	return r.ResolveKey(ctx, TokenOrg{Slug: slug})
}

// ResolveKey returns the organization that a valid API key names. What the key's
// validation says of the issuer's id, if anything, must fit the binding. It fails
// as ResolveToken does.
func (r *Resolver) ResolveKey(ctx context.Context, t TokenOrg) (flovyn.OrgID, error) {
	if err := checkClaims(t); err != nil {
		return flovyn.OrgID{}, err
	}
	identity, err := r.find(ctx, t.Slug)
	if err == nil && t.ExternalID != "" && identity.Bindings[t.Issuer] != "" {
		err = r.fits(ctx, identity, t)
	}
	return answer(identity, t.Slug, err)
}

// Forget drops what is known of an organization.
func (r *Resolver) Forget(org flovyn.OrgID) {
	r.known.Forget(func(known flovyn.OrgIdentity) bool { return known.ID == org })
}

// ForgetAll drops everything that is known.
func (r *Resolver) ForgetAll() { r.known.ForgetAll() }

// Close returns when no look-up is under way any more.
func (r *Resolver) Close() { r.flights.Close() }

// checkClaims refuses what no organization can be called before anybody is
// asked.
func checkClaims(t TokenOrg) error {
	if err := flovyn.CheckSlug(t.Slug); err != nil {
		return fault.Wrap(fault.Unauthenticated, err, "Unknown organization: not a valid slug")
	}
	if len(t.ExternalID) > flovyn.MaxNameLength || len(t.Issuer) > flovyn.MaxNameLength || !isText(t.ExternalID) || !isText(t.Issuer) {
		return unknown(t.Slug, errors.New("the issuer or its id of the organization is too long or not text"))
	}
	return nil
}

// answer is what a caller gets: an organization, or one of two kinds of failure.
func answer(identity flovyn.OrgIdentity, slug string, err error) (flovyn.OrgID, error) {
	switch {
	case err == nil:
		return identity.ID, nil
	case fault.Is(err, fault.Unauthenticated), fault.Is(err, fault.Unavailable):
		return flovyn.OrgID{}, err
	case fault.Is(err, fault.NotFound):
		return flovyn.OrgID{}, unknown(slug, ErrNone)
	default:
		return flovyn.OrgID{}, fault.Wrap(fault.Unavailable, err, "organizations cannot be looked up at the moment; try again")
	}
}

// unknown is what the client learns of every organization that its credential
// does not open, whether it exists or not.
func unknown(slug string, cause error) error {
	return fault.Wrap(fault.Unauthenticated, cause, "Unknown organization: %s", slug)
}

// find returns an organization from memory or else from the database.
func (r *Resolver) find(ctx context.Context, slug string) (flovyn.OrgIdentity, error) {
	if identity, ok := r.known.Get(slug, r.cfg.Now()); ok {
		return identity, nil
	}
	return r.flights.Do(ctx, slug, patience, func(ctx context.Context) (flovyn.OrgIdentity, error) {
		return r.read(ctx, slug)
	})
}

// read returns an organization from the database and remembers it.
func (r *Resolver) read(ctx context.Context, slug string) (flovyn.OrgIdentity, error) {
	generation := r.known.Generation()
	identity, err := r.cfg.Store.OrganizationIdentity(ctx, slug)
	if err != nil {
		return flovyn.OrgIdentity{}, fmt.Errorf("looking up the organization %s: %w", slug, err)
	}
	r.known.Put(generation, slug, identity, r.cfg.Now().Add(r.cfg.TTL))
	return identity, nil
}
