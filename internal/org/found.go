package org

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Founding says which organization to create.
type Founding struct {
	Slug string
	// Name is for people.
	Name string
	// Tier is FREE, PRO or ENTERPRISE; empty stands for FREE. Region is where the
	// organization lives, or empty.
	Tier, Region string
	// Issuer and ExternalID bind the organization from the start; empty where
	// whoever creates it has no token of its own.
	Issuer, ExternalID string
	// By names who asks, for the log.
	By string
}

// Found creates an organization. It fails with Exists when the slug is taken, or
// when the issuer's id is bound to another one.
func (r *Resolver) Found(ctx context.Context, f Founding) (flovyn.Organization, error) {
	if err := f.check(); err != nil {
		return flovyn.Organization{}, err
	}
	o := &flovyn.Organization{
		ID: flovyn.OrgID(flovyn.NewUUID()), Slug: f.Slug, Name: strings.TrimSpace(f.Name),
		Tier: cmp.Or(f.Tier, flovyn.DefaultTier), Region: f.Region,
	}
	created, err := r.cfg.Store.CreateBoundOrganization(ctx, o, f.Issuer, f.ExternalID)
	switch {
	case fault.Is(err, fault.Exists):
		return flovyn.Organization{}, err
	case err != nil:
		return flovyn.Organization{}, fmt.Errorf("creating the organization %s: %w", f.Slug, err)
	case !created:
		return flovyn.Organization{}, fault.New(fault.Exists, "organization %q exists already", f.Slug)
	}
	r.cfg.Log.InfoContext(ctx, "organization created", slog.String("slug", o.Slug), slog.String("org", o.ID.String()),
		slog.String("by", f.By), slog.String("issuer", f.Issuer), slog.String("external_id", f.ExternalID))
	r.cfg.Publish(o.ID)
	made, err := r.cfg.Store.Organization(ctx, o.ID)
	if err != nil {
		return made, fmt.Errorf("reading the organization %s: %w", f.Slug, err)
	}
	return made, nil
}

func (f *Founding) check() error {
	if err := flovyn.CheckSlug(f.Slug); err != nil {
		return fault.InvalidField("slug", "%s", fault.Message(err))
	}
	switch {
	case strings.TrimSpace(f.Name) == "":
		return fault.InvalidField("name", "is required")
	case len(f.Name) > flovyn.MaxNameLength:
		return fault.InvalidField("name", "longer than %d bytes", flovyn.MaxNameLength)
	case !isText(f.Name):
		return fault.InvalidField("name", "holds characters that cannot be shown on one line")
	case len(f.Region) > flovyn.MaxNameLength || !isText(f.Region):
		return fault.InvalidField("region", "longer than %d bytes, or not on one line", flovyn.MaxNameLength)
	default:
		return nil
	}
}
