-- The statements of the previous version's servers, as they send them. Made of its
-- generated code when a release becomes the previous one; see upgrade_test.go.

-- name: DefinitionsList
SELECT org_id, class, kind, name, description, version, content_hash, timeout_seconds, cancellable, tags, retry_policy, input_schema, output_schema, metadata, first_seen_at, last_registered_at FROM definition WHERE org_id = $1 AND class = $2 ORDER BY kind;

-- name: DefinitionsUpsert
INSERT INTO definition (org_id, class, kind, name, description, version, content_hash, timeout_seconds, cancellable,
    tags, retry_policy, input_schema, output_schema, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
    $10, $11, $12, $13, $14)
ON CONFLICT (org_id, class, kind) DO UPDATE SET name = excluded.name, description = excluded.description,
    version = excluded.version, content_hash = excluded.content_hash, timeout_seconds = excluded.timeout_seconds,
    cancellable = excluded.cancellable, tags = excluded.tags, retry_policy = excluded.retry_policy,
    input_schema = excluded.input_schema, output_schema = excluded.output_schema, metadata = excluded.metadata,
    last_registered_at = now();

-- name: EventsAfter
SELECT e.execution_id, e.seq, e.event_type, e.data, e.created_at
FROM (SELECT unnest($1::uuid[]) AS i, unnest($2::integer[]) AS m, unnest($3::integer[]) AS s) AS u
JOIN workflow_event e ON e.execution_id = u.i AND e.history_month = u.m AND e.seq > u.s
ORDER BY e.execution_id, e.seq;

-- name: EventsInsert
INSERT INTO workflow_event (history_month, execution_id, seq, event_type, data, created_at)
SELECT u.history_month, u.execution_id, u.seq, u.event_type, u.data, $1
FROM (SELECT unnest($2::integer[]) AS history_month, unnest($3::uuid[]) AS execution_id,
    unnest($4::integer[]) AS seq, unnest($5::text[]) AS event_type, unnest($6::bytea[]) AS data) AS u;

-- name: ExecutionGet
SELECT id, org_id, kind, queue, status, last_seq, news, disputed, history_month, priority_ms, workflow_version, parent_id, child_name, worker_id, claimed_at, activations, idempotency_key, metadata, created_at, started_at, ended_at, updated_at FROM workflow_execution WHERE id = $1 AND (org_id = $2) IS TRUE;

-- name: ExecutionsClaim
WITH picked AS MATERIALIZED (
    SELECT r.class, r.id FROM ready r
    WHERE r.class = 'workflow' AND r.org_id = $1 AND r.queue = $2
      AND (cardinality($3::text[]) = 0 OR r.kind = ANY ($3::text[]))
    ORDER BY r.score, r.id LIMIT cardinality($4::text[]) FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ready r USING picked p WHERE r.class = p.class AND r.id = p.id
), numbered AS MATERIALIZED (
    SELECT id, row_number() OVER () AS n FROM picked ORDER BY id
), claimed AS (
    UPDATE workflow_execution w SET status = 'RUNNING', news = w.disputed, worker_id = ($4::text[])[n.n],
        claimed_at = clock_timestamp(), started_at = coalesce(w.started_at, clock_timestamp()),
        activations = w.activations + 1, updated_at = clock_timestamp()
    FROM numbered n WHERE w.id = n.id AND (w.org_id = $1) IS TRUE AND w.status = 'PENDING'
    RETURNING w.id, w.org_id, w.kind, w.queue, w.status, w.last_seq, w.news, w.disputed, w.history_month, w.priority_ms, w.workflow_version, w.parent_id, w.child_name, w.worker_id, w.claimed_at, w.activations, w.idempotency_key, w.metadata, w.created_at, w.started_at, w.ended_at, w.updated_at
)
SELECT w.id, w.org_id, w.kind, w.queue, w.status, w.last_seq, w.news, w.disputed, w.history_month, w.priority_ms, w.workflow_version, w.parent_id, w.child_name, w.worker_id, w.claimed_at, w.activations, w.idempotency_key, w.metadata, w.created_at, w.started_at, w.ended_at, w.updated_at, e.data AS started_data
FROM claimed w JOIN workflow_event e ON e.execution_id = w.id AND e.history_month = w.history_month AND e.seq = 1;

-- name: ExecutionsInsert
INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, news, history_month, priority_ms, workflow_version,
    parent_id, child_name, worker_id, claimed_at, activations, idempotency_key, metadata, created_at, started_at, ended_at, updated_at)
SELECT u.id, u.org_id, u.kind, u.queue, u.status, u.last_seq, u.news, u.history_month, u.priority_ms, u.workflow_version,
    nullif(u.parent_id, '00000000-0000-0000-0000-000000000000'), u.child_name, u.worker_id,
    nullif(u.claimed_at, '0001-01-01 00:00:00+00'), u.activations, u.idempotency_key, nullif(u.metadata, '')::jsonb,
    u.created_at, nullif(u.started_at, '0001-01-01 00:00:00+00'), nullif(u.ended_at, '0001-01-01 00:00:00+00'), u.created_at
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS org_id, unnest($3::text[]) AS kind,
    unnest($4::text[]) AS queue, unnest($5::text[]) AS status,
    unnest($6::integer[]) AS last_seq, unnest($7::boolean[]) AS news, unnest($8::integer[]) AS history_month,
    unnest($9::bigint[]) AS priority_ms, unnest($10::text[]) AS workflow_version,
    unnest($11::uuid[]) AS parent_id, unnest($12::text[]) AS child_name,
    unnest($13::text[]) AS worker_id, unnest($14::timestamptz[]) AS claimed_at,
    unnest($15::integer[]) AS activations, unnest($16::text[]) AS idempotency_key,
    unnest($17::text[]) AS metadata, unnest($18::timestamptz[]) AS created_at,
    unnest($19::timestamptz[]) AS started_at, unnest($20::timestamptz[]) AS ended_at) AS u;

-- name: ExecutionsLock
WITH named AS MATERIALIZED (
    SELECT unnest($1::uuid[]) AS id
    UNION SELECT t.workflow_id FROM task_execution t WHERE t.id = ANY ($2::uuid[]) AND t.workflow_id IS NOT NULL
    UNION SELECT p.execution_id FROM promise p WHERE p.id = ANY ($3::uuid[])
    UNION SELECT i.target_id FROM (SELECT unnest($4::uuid[]) AS o, unnest($5::text[]) AS k) AS u
          JOIN idempotency_key i ON i.org_id = u.o AND i.scope = 'workflow' AND i.key = u.k
), wanted AS MATERIALIZED (
    SELECT id FROM named
    UNION SELECT w.parent_id FROM workflow_execution w WHERE w.id = ANY ($6::uuid[]) AND w.parent_id IS NOT NULL
)
SELECT w.id, w.org_id, w.kind, w.queue, w.status, w.last_seq, w.news, w.disputed, w.history_month, w.priority_ms, w.workflow_version, w.parent_id, w.child_name, w.worker_id, w.claimed_at, w.activations, w.idempotency_key, w.metadata, w.created_at, w.started_at, w.ended_at, w.updated_at FROM workflow_execution w WHERE w.id IN (SELECT id FROM wanted) ORDER BY w.id FOR NO KEY UPDATE OF w;

-- name: ExecutionsStale
SELECT id, org_id, claimed_at FROM workflow_execution
WHERE ended_at IS NULL AND status = 'RUNNING' AND claimed_at < clock_timestamp() - $1::interval
ORDER BY claimed_at LIMIT $2;

-- name: ExecutionsUpdate
UPDATE workflow_execution w SET status = u.status, last_seq = u.last_seq, news = u.news, disputed = u.disputed,
    worker_id = u.worker_id, claimed_at = nullif(u.claimed_at, '0001-01-01 00:00:00+00'), activations = u.activations,
    idempotency_key = u.idempotency_key, started_at = nullif(u.started_at, '0001-01-01 00:00:00+00'),
    ended_at = nullif(u.ended_at, '0001-01-01 00:00:00+00'), updated_at = $1
FROM (SELECT unnest($2::uuid[]) AS id, unnest($3::uuid[]) AS org_id, unnest($4::text[]) AS status,
    unnest($5::integer[]) AS last_seq, unnest($6::boolean[]) AS news,
    unnest($7::boolean[]) AS disputed, unnest($8::text[]) AS worker_id,
    unnest($9::timestamptz[]) AS claimed_at, unnest($10::integer[]) AS activations,
    unnest($11::text[]) AS idempotency_key, unnest($12::timestamptz[]) AS started_at,
    unnest($13::timestamptz[]) AS ended_at) AS u
WHERE w.id = u.id AND (w.org_id = u.org_id) IS TRUE;

-- name: HistoryPartitionsEnsure
SELECT ensure_history_partitions($1::integer) AS made;

-- name: KeyGet
SELECT target_id FROM idempotency_key
WHERE org_id = $1 AND scope = $2 AND key = $3 AND expires_at > clock_timestamp();

-- name: KeysDelete
DELETE FROM idempotency_key i USING (SELECT unnest($1::uuid[]) AS o, unnest($2::text[]) AS s, unnest($3::text[]) AS k,
    unnest($4::uuid[]) AS t) AS u
WHERE i.org_id = u.o AND i.scope = u.s AND i.key = u.k AND i.target_id = u.t;

-- name: KeysDeleteExpired
DELETE FROM idempotency_key WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_key WHERE expires_at <= clock_timestamp() LIMIT $1));

-- name: KeysGet
SELECT i.org_id, i.scope, i.key, i.target_id, i.expires_at
FROM (SELECT unnest($1::uuid[]) AS o, unnest($2::text[]) AS s, unnest($3::text[]) AS k) AS u
JOIN idempotency_key i ON i.org_id = u.o AND i.scope = u.s AND i.key = u.k;

-- name: KeysLock
SELECT pg_advisory_xact_lock(h) FROM (
    SELECT DISTINCT hashtextextended(concat_ws('/', o, s, k), 0) AS h
    FROM (SELECT unnest($1::uuid[]) AS o, unnest($2::text[]) AS s, unnest($3::text[]) AS k) AS u ORDER BY h
) AS ordered;

-- name: KeysUpsert
INSERT INTO idempotency_key (org_id, scope, key, target_id, expires_at)
SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::uuid[]), unnest($5::timestamptz[])
ON CONFLICT (org_id, scope, key) DO UPDATE SET target_id = excluded.target_id, expires_at = excluded.expires_at;

-- name: OrgOfExecution
SELECT org_id FROM workflow_execution WHERE id = $1;

-- name: OrgOfPromise
SELECT org_id FROM promise WHERE id = $1;

-- name: OrgOfTask
SELECT org_id FROM task_execution WHERE id = $1;

-- name: OrgOfWorker
SELECT org_id FROM worker WHERE id = $1;

-- name: OrganizationBind
INSERT INTO organization_binding (org_id, issuer, external_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: OrganizationGet
SELECT id, slug, name, tier, region, created_at, updated_at FROM organization WHERE id = $1;

-- name: OrganizationGetBySlug
SELECT id, slug, name, tier, region, created_at, updated_at FROM organization WHERE slug = $1;

-- name: OrganizationIdentity
SELECT o.id, b.issuer, b.external_id FROM organization o
LEFT JOIN organization_binding b ON b.org_id = o.id WHERE o.slug = $1;

-- name: OrganizationInsert
INSERT INTO organization (id, slug, name) VALUES ($1, $2, $3) ON CONFLICT (slug) DO NOTHING;

-- name: OrganizationUnbind
DELETE FROM organization_binding WHERE org_id = $1;

-- name: OrganizationUpsert
INSERT INTO organization (id, slug, name, tier, region) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, name = excluded.name, tier = excluded.tier, region = excluded.region, updated_at = now();

-- name: PromiseFindByName
SELECT id FROM promise WHERE org_id = $1 AND execution_id = $2 AND name = $3
ORDER BY (status = 'PENDING') DESC, created_at DESC, id LIMIT 1;

-- name: PromisesCancelPending
UPDATE promise SET status = 'CANCELLED', settled_at = $1::timestamptz WHERE execution_id = ANY ($2::uuid[]) AND status = 'PENDING';

-- name: PromisesInsert
INSERT INTO promise (id, org_id, execution_id, name, status, timeout_at, idempotency_key, created_at, settled_at)
SELECT u.id, u.org_id, u.execution_id, u.name, u.status, nullif(u.timeout_at, '0001-01-01 00:00:00+00'), u.idempotency_key, $1,
    nullif(u.settled_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest($2::uuid[]) AS id, unnest($3::uuid[]) AS org_id, unnest($4::uuid[]) AS execution_id,
    unnest($5::text[]) AS name, unnest($6::text[]) AS status, unnest($7::timestamptz[]) AS settled_at, unnest($8::timestamptz[]) AS timeout_at,
    unnest($9::text[]) AS idempotency_key) AS u;

-- name: PromisesLock
SELECT p.id, p.org_id, p.execution_id, p.name, p.status, p.timeout_at, p.idempotency_key, p.created_at, p.settled_at FROM promise p WHERE p.id = ANY ($1::uuid[]) ORDER BY p.id FOR NO KEY UPDATE;

-- name: PromisesUpdate
UPDATE promise p SET status = u.status, settled_at = nullif(u.settled_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS org_id, unnest($3::text[]) AS status,
    unnest($4::timestamptz[]) AS settled_at) AS u
WHERE p.id = u.id AND p.org_id = u.org_id;

-- name: ReadyDelete
DELETE FROM ready AS gone WHERE gone.class = $1 AND gone.id IN (
    SELECT r.id FROM ready r WHERE r.class = $1 AND r.id = ANY ($2::uuid[]) FOR UPDATE SKIP LOCKED);

-- name: ReadyDeleteTasksOf
DELETE FROM ready WHERE class = 'task' AND id IN (
    SELECT r.id FROM task_execution t JOIN ready r ON r.class = 'task' AND r.id = t.id
    WHERE t.workflow_id = ANY ($1::uuid[]) FOR UPDATE OF r SKIP LOCKED);

-- name: ReadyInsert
INSERT INTO ready (class, id, org_id, queue, kind, score)
SELECT unnest($1::text[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::text[]), unnest($5::text[]), unnest($6::timestamptz[])
ON CONFLICT (class, id) DO NOTHING;

-- name: ReadyQueues
WITH RECURSIVE q AS (
    (SELECT r.class, r.org_id, r.queue FROM ready r ORDER BY r.class, r.org_id, r.queue LIMIT 1)
    UNION ALL
    SELECT n.class, n.org_id, n.queue FROM q, LATERAL (
        SELECT r.class, r.org_id, r.queue FROM ready r
        WHERE (r.class, r.org_id, r.queue) > (q.class, q.org_id, q.queue)
        ORDER BY r.class, r.org_id, r.queue LIMIT 1) AS n
)
SELECT q.class::text AS class, q.org_id::uuid AS org_id, q.queue::text AS queue FROM q;

-- name: StepBegin
SELECT clock_timestamp()::timestamptz AS now, pg_current_xact_id()::text AS xid;

-- name: TaskAttemptsInsert
INSERT INTO task_attempt (task_id, attempt, org_id, status, error, worker_id, started_at, ended_at)
SELECT u.task_id, u.attempt, u.org_id, u.status, u.error, u.worker_id, nullif(u.started_at, '0001-01-01 00:00:00+00'), u.ended_at
FROM (SELECT unnest($1::uuid[]) AS task_id, unnest($2::integer[]) AS attempt,
    unnest($3::uuid[]) AS org_id, unnest($4::text[]) AS status, unnest($5::text[]) AS error,
    unnest($6::text[]) AS worker_id, unnest($7::timestamptz[]) AS started_at,
    unnest($8::timestamptz[]) AS ended_at) AS u;

-- name: TaskAttemptsList
SELECT task_id, attempt, org_id, status, error, worker_id, started_at, ended_at FROM task_attempt WHERE task_id = $1 AND org_id = $2 ORDER BY attempt;

-- name: TaskGet
SELECT id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, timeout_ms, history_month, scheduled_seq, worker_id, claimed_at, heartbeat_at, progress, progress_details, error, idempotency_key, metadata, created_at, started_at, ended_at FROM task_execution WHERE id = $1 AND org_id = $2;

-- name: TaskHeartbeat
UPDATE task_execution SET heartbeat_at = clock_timestamp() WHERE id = $1 AND org_id = $2 AND status = 'RUNNING';

-- name: TaskLogInsert
INSERT INTO task_log (task_id, org_id, level, message)
SELECT t.id, t.org_id, $1::text, $2::text FROM task_execution t WHERE t.id = $3 AND t.org_id = $4;

-- name: TaskLogsList
SELECT level, message, logged_at FROM task_log WHERE task_id = $1 AND org_id = $2 ORDER BY id LIMIT $3;

-- name: TaskPayloadGet
SELECT input, output FROM task_payload WHERE task_id = $1 AND org_id = $2;

-- name: TaskPayloadsInsert
INSERT INTO task_payload (task_id, org_id, input)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::bytea[]);

-- name: TaskPayloadsSetOutput
UPDATE task_payload p SET output = u.output FROM (SELECT unnest($1::uuid[]) AS task_id, unnest($2::uuid[]) AS org_id, unnest($3::bytea[]) AS output) AS u
WHERE p.task_id = u.task_id AND p.org_id = u.org_id;

-- name: TaskSetProgress
UPDATE task_execution SET progress = $1, progress_details = $2, heartbeat_at = clock_timestamp()
WHERE id = $3 AND org_id = $4 AND status = 'RUNNING';

-- name: TaskStateClear
DELETE FROM task_state WHERE task_id = $1 AND org_id = $2 AND key = $3;

-- name: TaskStateClearAll
DELETE FROM task_state WHERE task_id = $1 AND org_id = $2;

-- name: TaskStateGet
SELECT value FROM task_state WHERE task_id = $1 AND org_id = $2 AND key = $3;

-- name: TaskStateKeys
SELECT key FROM task_state WHERE task_id = $1 AND org_id = $2 ORDER BY key;

-- name: TaskStateSet
INSERT INTO task_state (task_id, org_id, key, value)
SELECT t.id, t.org_id, $1::text, $2::bytea FROM task_execution t WHERE t.id = $3 AND t.org_id = $4
ON CONFLICT (task_id, key) DO UPDATE SET value = excluded.value;

-- name: TasksCancelPending
UPDATE task_execution t SET status = 'CANCELLED', error = 'the workflow ended', ended_at = $1::timestamptz
WHERE t.workflow_id = ANY ($2::uuid[]) AND t.status = 'PENDING';

-- name: TasksClaim
WITH picked AS MATERIALIZED (
    SELECT r.class, r.id FROM ready r
    WHERE r.class = 'task' AND r.org_id = $1 AND r.queue = $2
      AND (cardinality($3::text[]) = 0 OR r.kind = ANY ($3::text[]))
    ORDER BY r.score, r.id LIMIT cardinality($4::text[]) FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ready r USING picked p WHERE r.class = p.class AND r.id = p.id
), numbered AS MATERIALIZED (
    SELECT id, row_number() OVER () AS n FROM picked ORDER BY id
), claimed AS (
    UPDATE task_execution t SET status = 'RUNNING', worker_id = ($4::text[])[n.n], claimed_at = clock_timestamp(),
        heartbeat_at = clock_timestamp(), started_at = coalesce(t.started_at, clock_timestamp()),
        execution_count = t.execution_count + 1
    FROM numbered n WHERE t.id = n.id AND (t.org_id = $1) IS TRUE AND t.status = 'PENDING'
    RETURNING t.id, t.org_id, t.workflow_id, t.kind, t.queue, t.status, t.execution_count, t.max_retries, t.timeout_ms, t.history_month, t.scheduled_seq, t.worker_id, t.claimed_at, t.heartbeat_at, t.progress, t.progress_details, t.error, t.idempotency_key, t.metadata, t.created_at, t.started_at, t.ended_at
)
SELECT t.id, t.org_id, t.workflow_id, t.kind, t.queue, t.status, t.execution_count, t.max_retries, t.timeout_ms, t.history_month, t.scheduled_seq, t.worker_id, t.claimed_at, t.heartbeat_at, t.progress, t.progress_details, t.error, t.idempotency_key, t.metadata, t.created_at, t.started_at, t.ended_at, e.data AS scheduled_data, p.input AS payload_input FROM claimed t
LEFT JOIN workflow_event e ON e.execution_id = t.workflow_id AND e.history_month = t.history_month AND e.seq = t.scheduled_seq
LEFT JOIN task_payload p ON p.task_id = t.id AND t.workflow_id IS NULL;

-- name: TasksInsert
INSERT INTO task_execution (id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, timeout_ms,
    history_month, scheduled_seq, worker_id, claimed_at, heartbeat_at, error, idempotency_key, metadata, created_at, started_at, ended_at)
SELECT u.id, u.org_id, nullif(u.workflow_id, '00000000-0000-0000-0000-000000000000'), u.kind, u.queue, u.status,
    u.execution_count, u.max_retries, u.timeout_ms, u.history_month, u.scheduled_seq, u.worker_id,
    nullif(u.claimed_at, '0001-01-01 00:00:00+00'), nullif(u.claimed_at, '0001-01-01 00:00:00+00'), u.error, u.idempotency_key,
    nullif(u.metadata, '')::jsonb, u.created_at, nullif(u.claimed_at, '0001-01-01 00:00:00+00'),
    nullif(u.ended_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS org_id, unnest($3::uuid[]) AS workflow_id,
    unnest($4::text[]) AS kind, unnest($5::text[]) AS queue, unnest($6::text[]) AS status,
    unnest($7::integer[]) AS execution_count, unnest($8::integer[]) AS max_retries,
    unnest($9::bigint[]) AS timeout_ms, unnest($10::integer[]) AS history_month,
    unnest($11::integer[]) AS scheduled_seq, unnest($12::text[]) AS worker_id, unnest($13::text[]) AS error,
    unnest($14::timestamptz[]) AS claimed_at, unnest($15::text[]) AS idempotency_key,
    unnest($16::text[]) AS metadata, unnest($17::timestamptz[]) AS created_at,
    unnest($18::timestamptz[]) AS ended_at) AS u;

-- name: TasksLock
SELECT t.id, t.org_id, t.workflow_id, t.kind, t.queue, t.status, t.execution_count, t.max_retries, t.timeout_ms, t.history_month, t.scheduled_seq, t.worker_id, t.claimed_at, t.heartbeat_at, t.progress, t.progress_details, t.error, t.idempotency_key, t.metadata, t.created_at, t.started_at, t.ended_at FROM task_execution t WHERE t.id = ANY ($1::uuid[]) ORDER BY t.id FOR NO KEY UPDATE;

-- name: TasksStale
SELECT id, org_id, worker_id, claimed_at, (clock_timestamp() - heartbeat_at)::interval AS silence FROM task_execution
WHERE ended_at IS NULL AND status = 'RUNNING' AND heartbeat_at < clock_timestamp() - $1::interval AND id > $2
ORDER BY id LIMIT $3;

-- name: TasksUpdate
UPDATE task_execution t SET status = u.status, execution_count = u.execution_count, worker_id = u.worker_id,
    claimed_at = nullif(u.claimed_at, '0001-01-01 00:00:00+00'), heartbeat_at = nullif(u.heartbeat_at, '0001-01-01 00:00:00+00'),
    error = u.error, started_at = nullif(u.started_at, '0001-01-01 00:00:00+00'),
    ended_at = nullif(u.ended_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS org_id, unnest($3::text[]) AS status,
    unnest($4::integer[]) AS execution_count, unnest($5::text[]) AS worker_id,
    unnest($6::timestamptz[]) AS claimed_at, unnest($7::timestamptz[]) AS heartbeat_at,
    unnest($8::text[]) AS error, unnest($9::timestamptz[]) AS started_at,
    unnest($10::timestamptz[]) AS ended_at) AS u
WHERE t.id = u.id AND t.org_id = u.org_id;

-- name: TimerNext
SELECT coalesce(extract(epoch FROM min(fire_at) - clock_timestamp()), 0)::double precision AS seconds, (min(fire_at) IS NULL)::boolean AS none FROM timer;

-- name: TimersDelete
DELETE FROM timer t USING (SELECT unnest($1::uuid[]) AS o, unnest($2::text[]) AS k, unnest($3::text[]) AS n) AS u
WHERE t.owner_id = u.o AND t.kind = u.k AND t.name = u.n;

-- name: TimersDeleteOwned
DELETE FROM timer WHERE owner_id = ANY ($1::uuid[]);

-- name: TimersDue
SELECT owner_id, kind, name, org_id, fire_at FROM timer WHERE fire_at <= clock_timestamp() ORDER BY fire_at LIMIT $1;

-- name: TimersGet
SELECT t.owner_id, t.kind, t.name, t.org_id, t.fire_at FROM (SELECT unnest($1::uuid[]) AS o, unnest($2::text[]) AS k, unnest($3::text[]) AS n) AS u
JOIN timer t ON t.owner_id = u.o AND t.kind = u.k AND t.name = u.n;

-- name: TimersInsert
INSERT INTO timer (owner_id, kind, name, org_id, fire_at)
SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::uuid[]), unnest($5::timestamptz[]);

-- name: WorkerCapabilitiesDelete
DELETE FROM worker_capability WHERE worker_id = $1 AND org_id = $2
AND (process = $3 OR process <> ALL ($4::text[]) AND (registered_at < now() - $5::interval
    OR $6::text <> '' AND starts_with(process, $6::text || '/') AND registered_at < now() - $7::interval));

-- name: WorkerCapabilitiesInsert
INSERT INTO worker_capability (worker_id, process, class, kind, org_id, version)
SELECT $1, $2, u.class, u.kind, $3, u.version
FROM (SELECT unnest($4::text[]) AS class, unnest($5::text[]) AS kind, unnest($6::text[]) AS version) AS u
ON CONFLICT DO NOTHING;

-- name: WorkerCapabilitiesList
SELECT DISTINCT class, kind FROM worker_capability WHERE worker_id = $1 AND org_id = $2 ORDER BY class, kind;

-- name: WorkerFind
SELECT id, org_id, name, version, worker_type, host_name, process_id, metadata, registered_at, last_seen_at FROM worker WHERE org_id = $1 AND (name = $2 OR id::text = $2) ORDER BY (id::text = $2) DESC LIMIT 1;

-- name: WorkerLastSeen
SELECT last_seen_at FROM worker WHERE org_id = $1 AND (name = $2 OR id::text = $2) ORDER BY last_seen_at DESC LIMIT 1;

-- name: WorkerTokenGetByPrefix
SELECT id, org_id, token_prefix, token_hash, display_name, description, created_by, created_at, last_used_at, expires_at, revoked_at FROM worker_token WHERE token_prefix = $1;

-- name: WorkerTokenInsert
INSERT INTO worker_token (id, org_id, token_prefix, token_hash, display_name, description, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id, org_id, token_prefix, token_hash, display_name, description, created_by, created_at, last_used_at, expires_at, revoked_at;

-- name: WorkerTokenList
SELECT id, org_id, token_prefix, token_hash, display_name, description, created_by, created_at, last_used_at, expires_at, revoked_at FROM worker_token WHERE org_id = $1 ORDER BY id;

-- name: WorkerTokenOrg
SELECT org_id FROM worker_token WHERE id = $1;

-- name: WorkerTokenRevoke
UPDATE worker_token SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND org_id = $2 RETURNING id, org_id, token_prefix, token_hash, display_name, description, created_by, created_at, last_used_at, expires_at, revoked_at;

-- name: WorkerTokenTouch
UPDATE worker_token SET last_used_at = now(), token_hash = $1
WHERE id = $2 AND org_id = $3
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute' OR token_hash <> $1);

-- name: WorkerUpsert
INSERT INTO worker (id, org_id, name, version, worker_type, host_name, process_id, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (org_id, name) DO UPDATE SET version = excluded.version, worker_type = excluded.worker_type,
    host_name = excluded.host_name, process_id = excluded.process_id, metadata = excluded.metadata,
    registered_at = now(), last_seen_at = now()
RETURNING id;

-- name: WorkersSeen
UPDATE worker w SET last_seen_at = s.seen_at
FROM (
    SELECT l.id, u.seen_at FROM worker l
    JOIN (SELECT unnest($1::uuid[]) AS id, unnest($2::timestamptz[]) AS seen_at) AS u ON u.id = l.id
    WHERE l.last_seen_at < u.seen_at ORDER BY l.id FOR NO KEY UPDATE OF l
) AS s WHERE w.id = s.id;

-- name: XactStatus
SELECT coalesce(pg_xact_status(($1::text)::xid8), '')::text AS status;
