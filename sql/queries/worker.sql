-- name: WorkerUpsert :one
INSERT INTO worker (id, org_id, name, version, worker_type, host_name, process_id, metadata)
VALUES (@id, @org_id, @name, @version, @worker_type, @host_name, @process_id, @metadata)
ON CONFLICT (org_id, name) DO UPDATE SET version = excluded.version, worker_type = excluded.worker_type,
    host_name = excluded.host_name, process_id = excluded.process_id, metadata = excluded.metadata,
    registered_at = now(), last_seen_at = now()
RETURNING id;

-- Replaces what this process registered, and forgets processes that are not
-- known to live: those of its host after a short time, others after a long one.
-- name: WorkerCapabilitiesDelete :exec
DELETE FROM worker_capability WHERE worker_id = @worker_id AND org_id = @org_id
AND (process = @process OR process <> ALL (@living::text[]) AND (registered_at < now() - @keep::interval
    OR @host::text <> '' AND starts_with(process, @host::text || '/') AND registered_at < now() - @keep_on_host::interval));

-- name: WorkerCapabilitiesInsert :exec
INSERT INTO worker_capability (worker_id, process, class, kind, org_id, version)
SELECT @worker_id, @process, u.class, u.kind, @org_id, u.version
FROM (SELECT unnest(@classes::text[]) AS class, unnest(@kinds::text[]) AS kind, unnest(@versions::text[]) AS version) AS u
ON CONFLICT DO NOTHING;

-- name: WorkerFind :one
SELECT * FROM worker WHERE org_id = @org_id AND (name = @name OR id::text = @name) ORDER BY (id::text = @name) DESC LIMIT 1;

-- name: WorkerGet :one
SELECT sqlc.embed(worker), (last_seen_at > now() - @silence::interval)::boolean AS online FROM worker WHERE org_id = @org_id AND id = @id;

-- name: WorkersList :many
SELECT sqlc.embed(worker), (last_seen_at > now() - @silence::interval)::boolean AS online FROM worker
WHERE org_id = @org_id AND (@worker_type::text = '' OR worker_type = @worker_type::text)
ORDER BY name LIMIT @max OFFSET @skip;

-- name: WorkersOfKind :many
SELECT sqlc.embed(w), (w.last_seen_at > now() - @silence::interval)::boolean AS online FROM worker w
WHERE w.org_id = @org_id AND w.id IN (
    SELECT c.worker_id FROM worker_capability c WHERE c.org_id = @org_id AND c.class = @class AND c.kind = @kind)
ORDER BY w.name LIMIT @max;

-- name: WorkerCapabilitiesList :many
SELECT DISTINCT class, kind FROM worker_capability WHERE worker_id = @worker_id AND org_id = @org_id ORDER BY class, kind;

-- Signs of life come as ages, so that servers with different clocks agree.
-- Rows are locked in the order of their ids: two servers never wait for each other.
-- name: WorkersSeen :exec
UPDATE worker w SET last_seen_at = s.seen_at
FROM (
    SELECT l.id, u.seen_at FROM worker l
    JOIN (SELECT a.id, clock_timestamp() - a.age_ms * interval '1 millisecond' AS seen_at
          FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@ages_ms::bigint[]) AS age_ms) AS a) AS u ON u.id = l.id
    WHERE l.last_seen_at < u.seen_at ORDER BY l.id FOR NO KEY UPDATE OF l
) AS s WHERE w.id = s.id;

-- name: WorkerSilence :one
SELECT (clock_timestamp() - last_seen_at)::interval AS silence FROM worker WHERE org_id = @org_id AND (name = @name OR id::text = @name) ORDER BY last_seen_at DESC LIMIT 1;

-- name: DefinitionsUpsert :exec
INSERT INTO definition (org_id, class, kind, name, description, version, content_hash, timeout_seconds, cancellable,
    tags, retry_policy, input_schema, output_schema, metadata)
VALUES (@org_id, @class, @kind, @name, @description, @version, @content_hash, sqlc.narg('timeout_seconds'), @cancellable,
    @tags, @retry_policy, @input_schema, @output_schema, @metadata)
ON CONFLICT (org_id, class, kind) DO UPDATE SET name = excluded.name, description = excluded.description,
    version = excluded.version, content_hash = excluded.content_hash, timeout_seconds = excluded.timeout_seconds,
    cancellable = excluded.cancellable, tags = excluded.tags, retry_policy = excluded.retry_policy,
    input_schema = excluded.input_schema, output_schema = excluded.output_schema, metadata = excluded.metadata,
    last_registered_at = now();

-- name: DefinitionInputSchema :one
SELECT input_schema FROM definition WHERE org_id = @org_id AND class = @class AND kind = @kind;

-- Definitions with how many of the workers that can execute them are online. A
-- kind narrows them to one, a worker to those that it can execute.
-- name: DefinitionsPage :many
SELECT sqlc.embed(d), (
    SELECT count(DISTINCT w.id) FROM worker_capability c JOIN worker w ON w.id = c.worker_id
    WHERE c.org_id = d.org_id AND c.class = d.class AND c.kind = d.kind AND w.last_seen_at > now() - @silence::interval
)::integer AS online
FROM definition d
WHERE d.org_id = @org_id AND d.class = @class AND (@kind::text = '' OR d.kind = @kind::text)
  AND (sqlc.narg('worker_id')::uuid IS NULL OR d.kind IN (
    SELECT c.kind FROM worker_capability c
    WHERE c.worker_id = sqlc.narg('worker_id')::uuid AND c.org_id = @org_id AND c.class = @class))
ORDER BY d.kind LIMIT @max OFFSET @skip;

-- name: DefinitionsList :many
SELECT * FROM definition WHERE org_id = @org_id AND class = @class ORDER BY kind;
