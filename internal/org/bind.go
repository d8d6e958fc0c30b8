package org

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// The bounds of creating organizations: so many at once, and one more with each
// interval. A provider that has gone mad fills no database.
const (
	birthBurst    = 30
	birthInterval = 2 * time.Second
)

// create makes the organization of a verified token, already bound. Several
// servers may do so at once: one of them makes it, all of them find it.
func (r *Resolver) create(ctx context.Context, t TokenOrg) (flovyn.OrgIdentity, error) {
	if !r.births.AllowN(r.cfg.Now(), 1) {
		return flovyn.OrgIdentity{}, fault.New(fault.Unavailable, "too many organizations are being created; try again")
	}
	o := &flovyn.Organization{ID: flovyn.OrgID(flovyn.NewUUID()), Slug: t.Slug, Name: displayName(t), Tier: flovyn.DefaultTier}
	created, err := r.cfg.Store.CreateBoundOrganization(ctx, o, t.Issuer, t.ExternalID)
	if fault.Is(err, fault.Exists) {
		r.refused(ctx, t, "its id at the issuer is bound to another organization")
		return flovyn.OrgIdentity{}, unknown(t.Slug, err)
	}
	if err != nil {
		return flovyn.OrgIdentity{}, fmt.Errorf("creating the organization %s: %w", t.Slug, err)
	}
	if created {
		r.cfg.Log.InfoContext(ctx, "organization created by a verified token", slog.String("slug", o.Slug),
			slog.String("org", o.ID.String()), slog.String("issuer", t.Issuer), slog.String("external_id", t.ExternalID))
		r.cfg.Publish(o.ID)
	}
	return r.read(ctx, t.Slug)
}

// displayName is what people will read: the token's name, unless it is none.
func displayName(t TokenOrg) string {
	if len(t.Name) > flovyn.MaxNameLength || !isText(t.Name) {
		return t.Slug
	}
	return cmp.Or(t.Name, t.Slug)
}

// isText reports whether a text can be stored and shown on one line.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

// bind ties an organization to its id at the issuer, unless one of the two is
// tied already, and returns how it stands then.
func (r *Resolver) bind(ctx context.Context, identity flovyn.OrgIdentity, t TokenOrg) (flovyn.OrgIdentity, error) {
	if err := r.cfg.Store.BindOrganization(ctx, identity.ID, t.Issuer, t.ExternalID); err != nil {
		return flovyn.OrgIdentity{}, fmt.Errorf("binding the organization %s: %w", t.Slug, err)
	}
	r.Forget(identity.ID)
	identity, err := r.read(ctx, t.Slug)
	if err == nil && identity.Bindings[t.Issuer] == t.ExternalID {
		r.cfg.Log.InfoContext(ctx, "organization bound to its id at the issuer", slog.String("slug", t.Slug),
			slog.String("org", identity.ID.String()), slog.String("issuer", t.Issuer), slog.String("external_id", t.ExternalID))
		r.cfg.Publish(identity.ID)
	}
	return identity, err
}

// fits refuses a credential that names another organization of the issuer than
// the one bound. One that says nothing fits what is not bound.
func (r *Resolver) fits(ctx context.Context, identity flovyn.OrgIdentity, t TokenOrg) error {
	bound := identity.Bindings[t.Issuer]
	if bound == t.ExternalID {
		return nil
	}
	reason := "it is bound to another id of the issuer"
	if bound == "" {
		reason = "the id at the issuer is bound to another organization"
	}
	r.refused(ctx, t, reason)
	return unknown(t.Slug, errors.New(reason))
}

// refused tells operators of a credential that may be an attempt to take over an
// organization, or an organization that was made anew at the issuer.
func (r *Resolver) refused(ctx context.Context, t TokenOrg, reason string) {
	r.cfg.Log.WarnContext(ctx, "credential refused: the organization is not the one that is bound",
		slog.String("slug", t.Slug), slog.String("issuer", t.Issuer), slog.String("external_id", t.ExternalID), slog.String("reason", reason))
}
