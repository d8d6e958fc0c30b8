-- Finished executions whose time is over, the oldest first. One that an open
-- execution or task still belongs to, or that belongs to an open one, waits for it.
-- name: ExpiredExecutionsLock :many
SELECT w.id, w.history_month FROM workflow_execution w
WHERE w.org_id = @org_id AND w.created_at < clock_timestamp() - @age::interval AND w.ended_at < clock_timestamp() - @age::interval
  AND NOT EXISTS (SELECT FROM workflow_execution c WHERE c.parent_id = w.id AND c.ended_at IS NULL)
  AND NOT EXISTS (SELECT FROM workflow_execution p WHERE p.id = w.parent_id AND p.ended_at IS NULL)
  AND NOT EXISTS (SELECT FROM task_execution t WHERE t.workflow_id = w.id AND t.ended_at IS NULL)
ORDER BY w.created_at LIMIT @max FOR UPDATE OF w SKIP LOCKED;

-- name: ExecutionsPurgeKeys :exec
DELETE FROM idempotency_key k
USING (SELECT 'workflow' AS scope, w.idempotency_key AS key, w.id AS target FROM workflow_execution w WHERE w.id = ANY (@ids::uuid[])
    UNION ALL SELECT 'task', t.idempotency_key, t.id FROM task_execution t WHERE t.workflow_id = ANY (@ids::uuid[])
    UNION ALL SELECT 'promise', p.idempotency_key, p.id FROM promise p WHERE p.execution_id = ANY (@ids::uuid[])) AS gone
WHERE k.org_id = @org_id AND k.scope = gone.scope AND k.key = gone.key AND k.target_id = gone.target AND gone.key <> '';

-- name: TasksOfExecutions :many
SELECT id FROM task_execution WHERE workflow_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: PromisesPurge :exec
DELETE FROM promise WHERE execution_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: TimersPurge :exec
DELETE FROM timer WHERE owner_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: ExecutionsPurge :execrows
DELETE FROM workflow_execution WHERE id = ANY (@ids::uuid[]) AND (org_id = @org_id) IS TRUE;

-- Finished tasks of no workflow whose time is over, the oldest first.
-- name: ExpiredTasksLock :many
SELECT id FROM task_execution
WHERE org_id = @org_id AND workflow_id IS NULL
  AND created_at < clock_timestamp() - @age::interval AND ended_at < clock_timestamp() - @age::interval
ORDER BY created_at LIMIT @max FOR UPDATE SKIP LOCKED;

-- name: TasksPurgeKeys :exec
DELETE FROM idempotency_key k USING task_execution t
WHERE t.id = ANY (@ids::uuid[]) AND t.idempotency_key <> '' AND k.org_id = @org_id AND k.scope = 'task'
  AND k.key = t.idempotency_key AND k.target_id = t.id;

-- name: TaskAttemptsPurge :exec
DELETE FROM task_attempt WHERE task_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: TaskStatesPurge :exec
DELETE FROM task_state WHERE task_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: TaskLogsPurge :exec
DELETE FROM task_log WHERE task_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: TaskPayloadsPurge :exec
DELETE FROM task_payload WHERE task_id = ANY (@ids::uuid[]) AND org_id = @org_id;

-- name: TasksPurge :execrows
DELETE FROM task_execution WHERE id = ANY (@ids::uuid[]) AND (org_id = @org_id) IS TRUE;

-- name: HistoryMonths :many
SELECT month::integer AS month FROM history_months() AS month;

-- Whether an execution has its history in a month: by a probe for each
-- organization, since an index on the month would cost every start.
-- name: HistoryMonthProbe :one
SELECT EXISTS (SELECT FROM organization o WHERE EXISTS (
    SELECT FROM workflow_execution w WHERE w.org_id = o.id AND w.created_at >= @begins::timestamptz AND w.created_at < @ends::timestamptz));

-- The same without trusting anything but the month itself: a look at every row.
-- name: HistoryMonthUsed :one
SELECT EXISTS (SELECT FROM workflow_execution WHERE history_month = @month);

-- name: HistoryPartitionDrop :one
SELECT drop_history_partition(@month::integer)::boolean AS dropped;

-- Executions that have events in a month, a page in the order of their ids: one
-- index probe for each, however long its history.
-- name: HistoriesOfMonth :many
WITH RECURSIVE h AS (
    (SELECT e.execution_id FROM workflow_event e WHERE e.history_month = @month AND e.execution_id > @after
     ORDER BY e.execution_id LIMIT 1)
    UNION ALL
    SELECT n.execution_id FROM h, LATERAL (
        SELECT e.execution_id FROM workflow_event e WHERE e.history_month = @month AND e.execution_id > h.execution_id
        ORDER BY e.execution_id LIMIT 1) AS n
)
SELECT h.execution_id::uuid AS id FROM h LIMIT @max::integer;

-- Deletes those histories of a month whose execution is gone.
-- name: HistoriesPurge :execrows
DELETE FROM workflow_event e WHERE e.history_month = @month AND e.execution_id = ANY (@ids::uuid[])
    AND NOT EXISTS (SELECT FROM workflow_execution w WHERE w.id = e.execution_id);

-- name: OrganizationSlugs :many
SELECT id, slug FROM organization ORDER BY id;
