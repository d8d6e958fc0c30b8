-- name: OrganizationIdentity :many
SELECT o.id, b.issuer, b.external_id FROM organization o
LEFT JOIN organization_binding b ON b.org_id = o.id WHERE o.slug = @slug;

-- name: OrganizationInsert :execrows
INSERT INTO organization (id, slug, name, tier, region) VALUES (@id, @slug, @name, @tier, sqlc.narg('region')) ON CONFLICT (slug) DO NOTHING;

-- name: OrganizationBind :execrows
INSERT INTO organization_binding (org_id, issuer, external_id) VALUES (@org_id, @issuer, @external_id) ON CONFLICT DO NOTHING;

-- name: OrganizationUnbind :execrows
DELETE FROM organization_binding WHERE org_id = @org_id;
