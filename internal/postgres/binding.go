package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// OrganizationIdentity returns the organization that goes by a slug, with what it
// is bound to; NotFound when there is none.
func (s *Store) OrganizationIdentity(ctx context.Context, slug string) (flovyn.OrgIdentity, error) {
	rows, err := s.q.OrganizationIdentity(ctx, s.pool, slug)
	if err != nil {
		return flovyn.OrgIdentity{}, translate(err)
	}
	if len(rows) == 0 {
		return flovyn.OrgIdentity{}, fault.New(fault.NotFound, "organization %q not found", slug)
	}
	identity := flovyn.OrgIdentity{ID: flovyn.OrgID(rows[0].ID), Slug: slug, Bindings: map[string]string{}}
	for _, r := range rows {
		if r.Issuer != nil && r.ExternalID != nil {
			identity.Bindings[*r.Issuer] = *r.ExternalID
		}
	}
	return identity, nil
}

// BindOrganization binds an organization to an id at an issuer. It changes
// nothing when either of the two is bound already.
func (s *Store) BindOrganization(ctx context.Context, org flovyn.OrgID, issuer, externalID string) error {
	_, err := s.q.OrganizationBind(ctx, s.pool, org.UUID(), issuer, externalID)
	return translate(err)
}

// CreateBoundOrganization creates an organization that is bound from the start;
// with an empty externalID, unbound. It changes nothing when the slug is taken,
// and fails with Exists when the external id is bound to another organization.
func (s *Store) CreateBoundOrganization(ctx context.Context, o *flovyn.Organization, issuer, externalID string) (created bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		inserted, err := s.q.OrganizationInsert(ctx, tx, &pgq.OrganizationInsertParams{
			ID: o.ID.UUID(), Slug: o.Slug, Name: o.Name, Tier: o.Tier, Region: orNull(o.Region),
		})
		if created = inserted == 1; err != nil || !created || externalID == "" {
			return err
		}
		bound, err := s.q.OrganizationBind(ctx, tx, o.ID.UUID(), issuer, externalID)
		if err == nil && bound == 0 {
			return fault.New(fault.Exists, "the organization of the identity provider is bound to another one")
		}
		return err
	})
	return created && err == nil, err
}

// UnbindOrganization forgets what an organization is bound to, and returns its
// id.
func (s *Store) UnbindOrganization(ctx context.Context, slug string) (flovyn.OrgID, error) {
	org, err := s.OrganizationBySlug(ctx, slug)
	if err != nil {
		return flovyn.OrgID{}, err
	}
	_, err = s.q.OrganizationUnbind(ctx, s.pool, org.ID.UUID())
	return org.ID, translate(err)
}
