-- name: PromisesInsert :exec
INSERT INTO promise (id, org_id, execution_id, name, status, timeout_at, idempotency_key, created_at, settled_at)
SELECT u.id, u.org_id, u.execution_id, u.name, u.status, nullif(u.timeout_at, '0001-01-01 00:00:00+00'), u.idempotency_key, @now,
    nullif(u.settled_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@execution_ids::uuid[]) AS execution_id,
    unnest(@names::text[]) AS name, unnest(@statuses::text[]) AS status, unnest(@settled_ats::timestamptz[]) AS settled_at, unnest(@timeout_ats::timestamptz[]) AS timeout_at,
    unnest(@idempotency_keys::text[]) AS idempotency_key) AS u;

-- name: PromisesUpdate :exec
UPDATE promise p SET status = u.status, settled_at = nullif(u.settled_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@statuses::text[]) AS status,
    unnest(@settled_ats::timestamptz[]) AS settled_at) AS u
WHERE p.id = u.id AND p.org_id = u.org_id;

-- name: PromisesCancelPending :exec
UPDATE promise SET status = 'CANCELLED', settled_at = @now::timestamptz WHERE execution_id = ANY (@execution_ids::uuid[]) AND status = 'PENDING';

-- name: PromiseGet :one
SELECT * FROM promise WHERE id = @id AND org_id = @org_id;

-- name: PromisesOfExecution :many
SELECT * FROM promise WHERE execution_id = @execution_id AND org_id = @org_id ORDER BY created_at, id LIMIT @max;

-- The promise that an old client names as <execution>:<name>; the newest
-- unsettled one of that name, else the newest.
-- name: PromiseFindByName :one
SELECT id FROM promise WHERE org_id = @org_id AND execution_id = @execution_id AND name = @name
ORDER BY (status = 'PENDING') DESC, created_at DESC, id LIMIT 1;
