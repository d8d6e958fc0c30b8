-- name: OrganizationUpsert :exec
INSERT INTO organization (id, slug, name, tier, region) VALUES (@id, @slug, @name, @tier, sqlc.narg('region'))
ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, name = excluded.name, tier = excluded.tier, region = excluded.region, updated_at = now();

-- name: OrganizationGetBySlug :one
SELECT * FROM organization WHERE slug = @slug;

-- name: OrganizationGet :one
SELECT * FROM organization WHERE id = @id;

-- Which organization something belongs to, for callers that none binds: while
-- authentication is switched off.
-- name: OrgOfExecution :one
SELECT org_id FROM workflow_execution WHERE id = @id;

-- name: OrgOfTask :one
SELECT org_id FROM task_execution WHERE id = @id;

-- name: OrgOfPromise :one
SELECT org_id FROM promise WHERE id = @id;

-- name: OrgOfWorker :one
SELECT org_id FROM worker WHERE id = @id;
