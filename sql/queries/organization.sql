-- name: OrganizationUpsert :exec
INSERT INTO organization (id, slug, name, tier, region) VALUES (@id, @slug, @name, @tier, sqlc.narg('region'))
ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, name = excluded.name, tier = excluded.tier, region = excluded.region, updated_at = now();

-- name: OrganizationGetBySlug :one
SELECT * FROM organization WHERE slug = @slug;

-- name: OrganizationGet :one
SELECT * FROM organization WHERE id = @id;
