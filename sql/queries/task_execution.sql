-- name: TasksInsert :exec
INSERT INTO task_execution (id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, timeout_ms,
    history_month, scheduled_seq, worker_id, claimed_at, heartbeat_at, error, idempotency_key, metadata, created_at, started_at, ended_at,
    traceparent)
SELECT u.id, u.org_id, nullif(u.workflow_id, '00000000-0000-0000-0000-000000000000'), u.kind, u.queue, u.status,
    u.execution_count, u.max_retries, u.timeout_ms, u.history_month, u.scheduled_seq, u.worker_id,
    nullif(u.claimed_at, '0001-01-01 00:00:00+00'), nullif(u.claimed_at, '0001-01-01 00:00:00+00'), u.error, u.idempotency_key,
    nullif(u.metadata, '')::jsonb, u.created_at, nullif(u.claimed_at, '0001-01-01 00:00:00+00'),
    nullif(u.ended_at, '0001-01-01 00:00:00+00'), u.traceparent
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@workflow_ids::uuid[]) AS workflow_id,
    unnest(@kinds::text[]) AS kind, unnest(@queues::text[]) AS queue, unnest(@statuses::text[]) AS status,
    unnest(@execution_counts::integer[]) AS execution_count, unnest(@max_retries::integer[]) AS max_retries,
    unnest(@timeouts_ms::bigint[]) AS timeout_ms, unnest(@history_months::integer[]) AS history_month,
    unnest(@scheduled_seqs::integer[]) AS scheduled_seq, unnest(@worker_ids::text[]) AS worker_id, unnest(@errors::text[]) AS error,
    unnest(@claimed_ats::timestamptz[]) AS claimed_at, unnest(@idempotency_keys::text[]) AS idempotency_key,
    unnest(@metadata::text[]) AS metadata, unnest(@created_ats::timestamptz[]) AS created_at,
    unnest(@ended_ats::timestamptz[]) AS ended_at, unnest(@traceparents::text[]) AS traceparent) AS u;

-- name: TasksUpdate :exec
UPDATE task_execution t SET status = u.status, execution_count = u.execution_count, max_retries = u.max_retries, worker_id = u.worker_id,
    claimed_at = nullif(u.claimed_at, '0001-01-01 00:00:00+00'), heartbeat_at = nullif(u.heartbeat_at, '0001-01-01 00:00:00+00'),
    error = u.error, started_at = nullif(u.started_at, '0001-01-01 00:00:00+00'),
    ended_at = nullif(u.ended_at, '0001-01-01 00:00:00+00'), lost_attempts = u.lost_attempts,
    parked_at = nullif(u.parked_at, '0001-01-01 00:00:00+00'), parked_reason = u.parked_reason
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@org_ids::uuid[]) AS org_id, unnest(@statuses::text[]) AS status,
    unnest(@execution_counts::integer[]) AS execution_count, unnest(@max_retries::integer[]) AS max_retries,
    unnest(@worker_ids::text[]) AS worker_id, unnest(@claimed_ats::timestamptz[]) AS claimed_at, unnest(@heartbeat_ats::timestamptz[]) AS heartbeat_at,
    unnest(@errors::text[]) AS error, unnest(@started_ats::timestamptz[]) AS started_at,
    unnest(@ended_ats::timestamptz[]) AS ended_at, unnest(@lost_attempts::integer[]) AS lost_attempts,
    unnest(@parked_ats::timestamptz[]) AS parked_at, unnest(@parked_reasons::text[]) AS parked_reason) AS u
WHERE t.id = u.id AND t.org_id = u.org_id;

-- Withdraws the tasks of ended executions that no worker has taken up. A task
-- that runs is left to its worker, whose result is then ignored.
-- name: TasksCancelPending :exec
UPDATE task_execution t SET status = 'CANCELLED', error = 'the workflow ended', ended_at = @now::timestamptz, parked_at = NULL, parked_reason = ''
WHERE t.workflow_id = ANY (@workflow_ids::uuid[]) AND t.status = 'PENDING';

-- name: TaskGet :one
SELECT * FROM task_execution WHERE id = @id AND org_id = @org_id;

-- name: TasksOfWorkflow :many
SELECT * FROM task_execution WHERE workflow_id = @workflow_id AND (org_id = @org_id) IS TRUE
ORDER BY scheduled_seq, id LIMIT @max;

-- name: TasksClaim :many
WITH picked AS MATERIALIZED (
    SELECT r.class, r.id, r.listed_at FROM ready r
    WHERE r.class = 'task' AND r.org_id = @org_id AND r.queue = @queue
      AND (cardinality(@kinds::text[]) = 0 OR r.kind = ANY (@kinds::text[]))
    ORDER BY r.score, r.id LIMIT cardinality(@worker_ids::text[]) FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ready r USING picked p WHERE r.class = p.class AND r.id = p.id
), numbered AS MATERIALIZED (
    SELECT id, listed_at, row_number() OVER () AS n FROM picked ORDER BY id
), claimed AS (
    UPDATE task_execution t SET status = 'RUNNING', worker_id = (@worker_ids::text[])[n.n], claimed_at = clock_timestamp(),
        heartbeat_at = clock_timestamp(), started_at = coalesce(t.started_at, clock_timestamp()),
        execution_count = t.execution_count + 1, claim_id = @claim_id
    FROM numbered n WHERE t.id = n.id AND (t.org_id = @org_id) IS TRUE AND t.status = 'PENDING' AND t.parked_at IS NULL
    RETURNING t.*
)
SELECT sqlc.embed(t), e.data AS scheduled_data, p.input AS payload_input, (t.claimed_at - n.listed_at)::interval AS waited
FROM claimed t JOIN numbered n ON n.id = t.id
LEFT JOIN workflow_event e ON e.execution_id = t.workflow_id AND e.history_month = t.history_month AND e.seq = t.scheduled_seq
LEFT JOIN task_payload p ON p.task_id = t.id AND t.workflow_id IS NULL;

-- What a claim took whose answer was lost.
-- name: TasksOfClaim :many
SELECT sqlc.embed(t), e.data AS scheduled_data, p.input AS payload_input FROM task_execution t
LEFT JOIN workflow_event e ON e.execution_id = t.workflow_id AND e.history_month = t.history_month AND e.seq = t.scheduled_seq
LEFT JOIN task_payload p ON p.task_id = t.id AND t.workflow_id IS NULL
WHERE t.ended_at IS NULL AND t.status = 'RUNNING' AND t.claim_id = @claim_id AND (t.org_id = @org_id) IS TRUE;

-- Running tasks that gave no sign of life for a while, a page in the order of ids.
-- name: TasksStale :many
SELECT id, org_id, worker_id, claimed_at, (clock_timestamp() - heartbeat_at)::interval AS silence FROM task_execution
WHERE ended_at IS NULL AND status = 'RUNNING' AND heartbeat_at < clock_timestamp() - @age::interval AND id > @after
ORDER BY id LIMIT @max;

-- name: TaskHeartbeat :execrows
UPDATE task_execution SET heartbeat_at = clock_timestamp() WHERE id = @id AND org_id = @org_id AND status = 'RUNNING';

-- name: TaskSetProgress :execrows
UPDATE task_execution SET progress = @progress, progress_details = @details, heartbeat_at = clock_timestamp()
WHERE id = @id AND org_id = @org_id AND status = 'RUNNING';

-- name: TaskPayloadsInsert :exec
INSERT INTO task_payload (task_id, org_id, input)
SELECT unnest(@task_ids::uuid[]), unnest(@org_ids::uuid[]), unnest(@inputs::bytea[]);

-- name: TaskPayloadsSetOutput :exec
UPDATE task_payload p SET output = u.output FROM (SELECT unnest(@task_ids::uuid[]) AS task_id, unnest(@org_ids::uuid[]) AS org_id, unnest(@outputs::bytea[]) AS output) AS u
WHERE p.task_id = u.task_id AND p.org_id = u.org_id;

-- name: TaskPayloadGet :one
SELECT input, output FROM task_payload WHERE task_id = @task_id AND org_id = @org_id;

-- name: TaskAttemptsInsert :exec
INSERT INTO task_attempt (task_id, attempt, org_id, status, error, worker_id, started_at, ended_at)
SELECT u.task_id, u.attempt, u.org_id, u.status, u.error, u.worker_id, nullif(u.started_at, '0001-01-01 00:00:00+00'), u.ended_at
FROM (SELECT unnest(@task_ids::uuid[]) AS task_id, unnest(@attempts::integer[]) AS attempt,
    unnest(@org_ids::uuid[]) AS org_id, unnest(@statuses::text[]) AS status, unnest(@errors::text[]) AS error,
    unnest(@worker_ids::text[]) AS worker_id, unnest(@started_ats::timestamptz[]) AS started_at,
    unnest(@ended_ats::timestamptz[]) AS ended_at) AS u
ON CONFLICT (task_id, attempt) DO NOTHING; -- an attempt may be noted before its task ends otherwise and is retried

-- name: TaskAttemptsList :many
SELECT * FROM task_attempt WHERE task_id = @task_id AND org_id = @org_id ORDER BY attempt;

-- name: TaskLogInsert :execrows
INSERT INTO task_log (task_id, org_id, level, message)
SELECT t.id, t.org_id, @level::text, @message::text FROM task_execution t WHERE t.id = @task_id AND t.org_id = @org_id;

-- name: TaskLogsPage :many
SELECT id, level, message, logged_at FROM task_log
WHERE task_id = @task_id AND org_id = @org_id AND (@level::text = '' OR upper(level) = @level::text)
ORDER BY id LIMIT @max OFFSET @skip;

-- name: TaskLogsCount :one
SELECT count(*) FROM task_log WHERE task_id = @task_id AND org_id = @org_id AND (@level::text = '' OR upper(level) = @level::text);

-- name: TaskLogsList :many
SELECT level, message, logged_at FROM task_log WHERE task_id = @task_id AND org_id = @org_id ORDER BY id LIMIT @max;

-- name: TaskStateGet :one
SELECT value FROM task_state WHERE task_id = @task_id AND org_id = @org_id AND key = @key;

-- name: TaskStateSet :execrows
INSERT INTO task_state (task_id, org_id, key, value)
SELECT t.id, t.org_id, @key::text, @value::bytea FROM task_execution t WHERE t.id = @task_id AND t.org_id = @org_id
ON CONFLICT (task_id, key) DO UPDATE SET value = excluded.value;

-- name: TaskStateClear :exec
DELETE FROM task_state WHERE task_id = @task_id AND org_id = @org_id AND key = @key;

-- name: TaskStateClearAll :exec
DELETE FROM task_state WHERE task_id = @task_id AND org_id = @org_id;

-- name: TaskStateKeys :many
SELECT key FROM task_state WHERE task_id = @task_id AND org_id = @org_id ORDER BY key;

-- As ExecutionStamps, for tasks.
-- name: TaskStamps :many
SELECT id, (status || ' ' || execution_count)::text AS stamp FROM task_execution WHERE id = ANY (@ids::uuid[]);
-- Parked tasks of an organization, as ExecutionsParked.
-- name: TasksParked :many
SELECT * FROM task_execution
WHERE org_id = @org_id AND parked_at IS NOT NULL AND ended_at IS NULL AND (parked_at, id) > (@after_at::timestamptz, @after_id::uuid)
  AND (cardinality(@ids::uuid[]) = 0 OR id = ANY (@ids::uuid[]))
  AND (@kind::text = '' OR kind = @kind::text) AND (@queue::text = '' OR queue = @queue::text)
ORDER BY parked_at, id LIMIT @max;
