-- name: SavedQueryInsert :one
INSERT INTO saved_query (id, org_id, name, description, entity, query, is_shared, created_by)
VALUES (@id, @org_id, @name, sqlc.narg('description'), @entity, @query, @is_shared, @created_by)
RETURNING *;

-- A query that is not shared is there for its maker alone.
-- name: SavedQueryGet :one
SELECT * FROM saved_query WHERE id = @id AND org_id = @org_id AND (is_shared OR created_by = @reader);

-- name: SavedQueryList :many
SELECT * FROM saved_query
WHERE org_id = @org_id AND (is_shared OR created_by = @reader) AND (@entity::text = '' OR entity = @entity)
ORDER BY name LIMIT @most::int OFFSET @skip::int;

-- name: SavedQueryCount :one
SELECT count(*) FROM saved_query
WHERE org_id = @org_id AND (is_shared OR created_by = @reader) AND (@entity::text = '' OR entity = @entity);

-- name: SavedQueryUpdate :one
UPDATE saved_query SET name = coalesce(sqlc.narg('name'), name), description = coalesce(sqlc.narg('description'), description),
    query = coalesce(sqlc.narg('query'), query), is_shared = coalesce(sqlc.narg('is_shared'), is_shared), updated_at = now()
WHERE id = @id AND org_id = @org_id AND (is_shared OR created_by = @reader)
RETURNING *;

-- name: SavedQueryDelete :execrows
DELETE FROM saved_query WHERE id = @id AND org_id = @org_id AND (is_shared OR created_by = @reader);

-- name: SavedQueryUsed :exec
UPDATE saved_query SET use_count = use_count + 1, last_used_at = now() WHERE id = @id AND org_id = @org_id;
