-- name: WorkerTokenInsert :one
INSERT INTO worker_token (id, org_id, token_prefix, token_hash, display_name, description, created_by, expires_at)
VALUES (@id, @org_id, @token_prefix, @token_hash, @display_name, @description, @created_by, sqlc.narg('expires_at'))
RETURNING *;

-- The organization of a credential is what is being asked for here, so it is
-- not among the conditions.
-- name: WorkerTokenGetByPrefix :one
SELECT * FROM worker_token WHERE token_prefix = @token_prefix;

-- name: WorkerTokenList :many
SELECT * FROM worker_token WHERE org_id = @org_id ORDER BY id;

-- name: WorkerTokenPage :many
SELECT * FROM worker_token WHERE org_id = @org_id ORDER BY id DESC LIMIT @max OFFSET @skip;

-- name: WorkerTokenCount :one
SELECT count(*) FROM worker_token WHERE org_id = @org_id;

-- name: WorkerTokenGet :one
SELECT * FROM worker_token WHERE id = @id AND org_id = @org_id;

-- A token that is revoked already keeps the time of the first revocation.
-- name: WorkerTokenRevoke :one
UPDATE worker_token SET revoked_at = coalesce(revoked_at, now()) WHERE id = @id AND org_id = @org_id RETURNING *;

-- name: WorkerTokenOrg :one
SELECT org_id FROM worker_token WHERE id = @id;

-- Notes a use, at most once a minute, and puts the digest under the current
-- secret.
-- name: WorkerTokenTouch :exec
UPDATE worker_token SET last_used_at = now(), token_hash = @token_hash
WHERE id = @id AND org_id = @org_id
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute' OR token_hash <> @token_hash);
