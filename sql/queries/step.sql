-- What one group commit loads, locked in one order (keys, executions, tasks),
-- so that two servers never deadlock.

-- name: KeysLock :exec
SELECT pg_advisory_xact_lock(h) FROM (
    SELECT DISTINCT hashtextextended(concat_ws('/', o, s, k), 0) AS h
    FROM (SELECT unnest(@org_ids::uuid[]) AS o, unnest(@scopes::text[]) AS s, unnest(@keys::text[]) AS k) AS u ORDER BY h
) AS ordered;

-- name: KeysGet :many
SELECT i.org_id, i.scope, i.key, i.target_id, i.expires_at
FROM (SELECT unnest(@org_ids::uuid[]) AS o, unnest(@scopes::text[]) AS s, unnest(@keys::text[]) AS k) AS u
JOIN idempotency_key i ON i.org_id = u.o AND i.scope = u.s AND i.key = u.k;

-- Executions named directly, as owner of a task or promise, as target of a key,
-- and the parents of those whose end is at hand.
-- name: ExecutionsLock :many
WITH named AS MATERIALIZED (
    SELECT unnest(@ids::uuid[]) AS id
    UNION SELECT t.workflow_id FROM task_execution t WHERE t.id = ANY (@task_ids::uuid[]) AND t.workflow_id IS NOT NULL
    UNION SELECT p.execution_id FROM promise p WHERE p.id = ANY (@promise_ids::uuid[])
    UNION SELECT i.target_id FROM (SELECT unnest(@key_org_ids::uuid[]) AS o, unnest(@key_names::text[]) AS k) AS u
          JOIN idempotency_key i ON i.org_id = u.o AND i.scope = 'workflow' AND i.key = u.k
), wanted AS MATERIALIZED (
    SELECT id FROM named
    UNION SELECT w.parent_id FROM workflow_execution w WHERE w.id = ANY (@with_parents::uuid[]) AND w.parent_id IS NOT NULL
)
SELECT w.* FROM workflow_execution w WHERE w.id IN (SELECT id FROM wanted) ORDER BY w.id FOR NO KEY UPDATE OF w;

-- name: TasksLock :many
SELECT t.* FROM task_execution t WHERE t.id = ANY (@ids::uuid[]) ORDER BY t.id FOR NO KEY UPDATE;

-- name: PromisesLock :many
SELECT p.* FROM promise p WHERE p.id = ANY (@ids::uuid[]) ORDER BY p.id FOR NO KEY UPDATE;

-- name: TimersGet :many
SELECT t.* FROM (SELECT unnest(@owners::uuid[]) AS o, unnest(@kinds::text[]) AS k, unnest(@names::text[]) AS n) AS u
JOIN timer t ON t.owner_id = u.o AND t.kind = u.k AND t.name = u.n;

-- The database's clock, so that servers with different clocks agree, and the
-- transaction's name, so that an unanswered commit can be looked up.
-- name: StepBegin :one
SELECT clock_timestamp()::timestamptz AS now, pg_current_xact_id()::text AS xid;

-- What became of a transaction whose commit went unanswered.
-- name: XactStatus :one
SELECT coalesce(pg_xact_status((@xid::text)::xid8), '')::text AS status;

-- Whether a transaction wrote the present version of one of these rows. Its number
-- alone is no proof: a crashed server may give it to another one.
-- name: XactWrote :one
SELECT (EXISTS (SELECT FROM task_execution t WHERE t.id = ANY (@task_ids::uuid[]) AND t.xmin::text = @xmin::text)
     OR EXISTS (SELECT FROM workflow_execution w WHERE w.id = ANY (@execution_ids::uuid[]) AND w.xmin::text = @xmin::text))::boolean AS wrote;

-- Histories, or the rest of them: events after a known sequence number.
-- name: EventsAfter :many
SELECT e.execution_id, e.seq, e.event_type, e.data, e.created_at
FROM (SELECT unnest(@ids::uuid[]) AS i, unnest(@months::integer[]) AS m, unnest(@seqs::integer[]) AS s) AS u
JOIN workflow_event e ON e.execution_id = u.i AND e.history_month = u.m AND e.seq > u.s
ORDER BY e.execution_id, e.seq;
