-- name: ExecutionsInsert :exec
INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, news, history_month, priority_ms, workflow_version,
    parent_id, child_name, worker_id, claimed_at, activations, idempotency_key, metadata, created_at, started_at, ended_at, updated_at,
    traceparent, history_bytes)
SELECT u.id, u.org_id, u.kind, u.queue, u.status, u.last_seq, u.news, u.history_month, u.priority_ms, u.workflow_version,
    nullif(u.parent_id, '00000000-0000-0000-0000-000000000000'), u.child_name, u.worker_id,
    nullif(u.claimed_at, '0001-01-01 00:00:00+00'), u.activations, u.idempotency_key, nullif(u.metadata, '')::jsonb,
    u.created_at, nullif(u.started_at, '0001-01-01 00:00:00+00'), nullif(u.ended_at, '0001-01-01 00:00:00+00'), u.created_at,
    u.traceparent, u.history_bytes
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@kinds::text[]) AS kind,
    unnest(@queues::text[]) AS queue, unnest(@statuses::text[]) AS status,
    unnest(@last_seqs::integer[]) AS last_seq, unnest(@news::boolean[]) AS news, unnest(@history_months::integer[]) AS history_month,
    unnest(@priorities_ms::bigint[]) AS priority_ms, unnest(@workflow_versions::text[]) AS workflow_version,
    unnest(@parent_ids::uuid[]) AS parent_id, unnest(@child_names::text[]) AS child_name,
    unnest(@worker_ids::text[]) AS worker_id, unnest(@claimed_ats::timestamptz[]) AS claimed_at,
    unnest(@activations::integer[]) AS activations, unnest(@idempotency_keys::text[]) AS idempotency_key,
    unnest(@metadata::text[]) AS metadata, unnest(@created_ats::timestamptz[]) AS created_at,
    unnest(@started_ats::timestamptz[]) AS started_at, unnest(@ended_ats::timestamptz[]) AS ended_at,
    unnest(@traceparents::text[]) AS traceparent, unnest(@history_bytes::bigint[]) AS history_bytes) AS u;

-- Where a row is named by its id, its organization is compared with IS TRUE: that
-- keeps a planner without statistics off the index of the organization, which
-- leads through all its executions.
-- name: ExecutionsUpdate :exec
UPDATE workflow_execution w SET status = u.status, last_seq = u.last_seq, news = u.news, disputed = u.disputed,
    worker_id = u.worker_id, claimed_at = nullif(u.claimed_at, '0001-01-01 00:00:00+00'), activations = u.activations,
    idempotency_key = u.idempotency_key, started_at = nullif(u.started_at, '0001-01-01 00:00:00+00'),
    ended_at = nullif(u.ended_at, '0001-01-01 00:00:00+00'), updated_at = @now, history_bytes = u.history_bytes,
    lost_activations = u.lost_activations, parked_at = nullif(u.parked_at, '0001-01-01 00:00:00+00'), parked_reason = u.parked_reason
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@statuses::text[]) AS status,
    unnest(@last_seqs::integer[]) AS last_seq, unnest(@news::boolean[]) AS news,
    unnest(@disputed::boolean[]) AS disputed, unnest(@worker_ids::text[]) AS worker_id,
    unnest(@claimed_ats::timestamptz[]) AS claimed_at, unnest(@activations::integer[]) AS activations,
    unnest(@idempotency_keys::text[]) AS idempotency_key, unnest(@started_ats::timestamptz[]) AS started_at,
    unnest(@ended_ats::timestamptz[]) AS ended_at, unnest(@history_bytes::bigint[]) AS history_bytes,
    unnest(@lost_activations::integer[]) AS lost_activations, unnest(@parked_ats::timestamptz[]) AS parked_at,
    unnest(@parked_reasons::text[]) AS parked_reason) AS u
WHERE w.id = u.id AND (w.org_id = u.org_id) IS TRUE;

-- name: ExecutionGet :one
SELECT * FROM workflow_execution WHERE id = @id AND (org_id = @org_id) IS TRUE;

-- name: ExecutionChildren :many
SELECT id, child_name, kind, status, created_at, ended_at FROM workflow_execution
WHERE parent_id = @parent_id AND (org_id = @org_id) IS TRUE ORDER BY created_at, id LIMIT @max;

-- Claims the first runnable executions of a queue for the named workers. They are
-- locked by id, as steps lock them, so that neither deadlocks with the other.
-- name: ExecutionsClaim :many
WITH picked AS MATERIALIZED (
    SELECT r.class, r.id, r.listed_at FROM ready r
    WHERE r.class = 'workflow' AND r.org_id = @org_id AND r.queue = @queue
      AND (cardinality(@kinds::text[]) = 0 OR r.kind = ANY (@kinds::text[]))
    ORDER BY r.score, r.id LIMIT cardinality(@worker_ids::text[]) FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ready r USING picked p WHERE r.class = p.class AND r.id = p.id
), numbered AS MATERIALIZED (
    SELECT id, listed_at, row_number() OVER () AS n FROM picked ORDER BY id
), claimed AS (
    UPDATE workflow_execution w SET status = 'RUNNING', news = w.disputed, worker_id = (@worker_ids::text[])[n.n],
        claimed_at = clock_timestamp(), started_at = coalesce(w.started_at, clock_timestamp()),
        activations = w.activations + 1, updated_at = clock_timestamp(), claim_id = @claim_id
    FROM numbered n WHERE w.id = n.id AND (w.org_id = @org_id) IS TRUE AND w.status = 'PENDING' AND w.parked_at IS NULL
    RETURNING w.*
)
SELECT sqlc.embed(w), e.data AS started_data, (w.claimed_at - n.listed_at)::interval AS waited
FROM claimed w JOIN numbered n ON n.id = w.id JOIN workflow_event e ON e.execution_id = w.id AND e.history_month = w.history_month AND e.seq = 1;

-- The traces that executions belong to, as far as they are the organization's and
-- belong to one.
-- name: ExecutionTraces :many
SELECT id, traceparent FROM workflow_execution
WHERE id = ANY (@ids::uuid[]) AND (org_id = @org_id) IS TRUE AND traceparent <> '';

-- What a claim took whose answer was lost.
-- name: ExecutionsOfClaim :many
SELECT sqlc.embed(w), e.data AS started_data
FROM workflow_execution w JOIN workflow_event e ON e.execution_id = w.id AND e.history_month = w.history_month AND e.seq = 1
WHERE w.ended_at IS NULL AND w.status = 'RUNNING' AND w.claim_id = @claim_id AND (w.org_id = @org_id) IS TRUE;

-- Executions whose worker has not submitted for too long.
-- name: ExecutionsStale :many
SELECT id, org_id, claimed_at FROM workflow_execution
WHERE ended_at IS NULL AND status = 'RUNNING' AND claimed_at < clock_timestamp() - @age::interval
ORDER BY claimed_at LIMIT @max;

-- A text for each execution that is another one after each change. Whoever asks
-- has found the executions in their organizations.
-- name: ExecutionStamps :many
SELECT id, (status || ' ' || last_seq || ' ' || activations)::text AS stamp FROM workflow_execution WHERE id = ANY (@ids::uuid[]);
-- Parked executions of an organization, the longest parked first: a page after a
-- place in that order.
-- name: ExecutionsParked :many
SELECT * FROM workflow_execution
WHERE org_id = @org_id AND parked_at IS NOT NULL AND ended_at IS NULL AND (parked_at, id) > (@after_at::timestamptz, @after_id::uuid)
  AND (cardinality(@ids::uuid[]) = 0 OR id = ANY (@ids::uuid[]))
  AND (@kind::text = '' OR kind = @kind::text) AND (@queue::text = '' OR queue = @queue::text)
ORDER BY parked_at, id LIMIT @max;
