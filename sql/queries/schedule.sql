-- name: ScheduleInsert :one
INSERT INTO schedule (id, org_id, name, description, type, run_at, cron, timezone, end_at, target_type, kind, queue, input, max_retries,
    metadata, enabled, next_run_at, missed_policy, overlap_policy, created_by)
VALUES (@id, @org_id, @name, sqlc.narg('description'), @type, sqlc.narg('run_at'), @cron, @timezone, sqlc.narg('end_at'), @target_type,
    @kind, @queue, @input, sqlc.narg('max_retries'), @metadata, @enabled, sqlc.narg('next_run_at'), @missed_policy, @overlap_policy,
    @created_by)
RETURNING *;

-- name: ScheduleGet :one
SELECT * FROM schedule WHERE id = @id AND org_id = @org_id;

-- name: ScheduleLock :one
SELECT * FROM schedule WHERE id = @id AND org_id = @org_id FOR UPDATE;

-- name: ScheduleList :many
SELECT * FROM schedule WHERE org_id = @org_id ORDER BY name LIMIT @most::int OFFSET @skip::int;

-- name: ScheduleCount :one
SELECT count(*) FROM schedule WHERE org_id = @org_id;

-- Everything but its organization, its type and its maker.
-- name: ScheduleUpdate :one
UPDATE schedule SET name = @name, description = sqlc.narg('description'), run_at = sqlc.narg('run_at'), cron = @cron, timezone = @timezone,
    end_at = sqlc.narg('end_at'), target_type = @target_type, kind = @kind, queue = @queue, input = @input,
    max_retries = sqlc.narg('max_retries'), metadata = @metadata, enabled = @enabled, next_run_at = sqlc.narg('next_run_at'),
    last_run_at = sqlc.narg('last_run_at'), run_count = @run_count, missed_policy = @missed_policy, overlap_policy = @overlap_policy,
    updated_at = CASE WHEN @edited::boolean THEN now() ELSE updated_at END
WHERE id = @id AND org_id = @org_id
RETURNING *;

-- name: ScheduleDelete :execrows
DELETE FROM schedule WHERE id = @id AND org_id = @org_id;

-- Of all organizations, like every backlog. A schedule that another server has
-- locked is in good hands.
-- name: SchedulesDue :many
SELECT * FROM schedule WHERE next_run_at <= now() ORDER BY next_run_at LIMIT @most::int FOR UPDATE SKIP LOCKED;

-- Whether something that a schedule started goes on, or is about to. What is not
-- there any more has ended: executions are not kept forever.
-- name: ScheduleBusy :one
SELECT EXISTS (
    SELECT FROM schedule_run r WHERE r.schedule_id = @schedule_id AND r.org_id = @org_id AND r.status IN ('pending', 'running')
    AND (r.status = 'pending'
        OR EXISTS (SELECT FROM workflow_execution e WHERE e.id = r.target_id AND e.org_id = r.org_id AND e.ended_at IS NULL)
        OR EXISTS (SELECT FROM task_execution t WHERE t.id = r.target_id AND t.org_id = r.org_id AND t.ended_at IS NULL)));

-- name: ScheduleRunInsert :one
INSERT INTO schedule_run (id, schedule_id, org_id, scheduled_at, completed_at, status, target_type, target_id, error)
VALUES (@id, @schedule_id, @org_id, @scheduled_at, sqlc.narg('completed_at'), @status, @target_type, sqlc.narg('target_id'), @error)
RETURNING *;

-- name: ScheduleRunList :many
SELECT r.* FROM schedule_run r WHERE r.schedule_id = @schedule_id AND r.org_id = @org_id
ORDER BY r.scheduled_at DESC, r.id LIMIT @most::int OFFSET @skip::int;

-- name: ScheduleRunCount :one
SELECT count(*) FROM schedule_run WHERE schedule_id = @schedule_id AND org_id = @org_id;

-- name: ScheduleRunGet :one
SELECT * FROM schedule_run WHERE id = @id AND org_id = @org_id;

-- Runs that were decided and not started, of all organizations.
-- name: ScheduleRunsPending :many
SELECT sqlc.embed(r), sqlc.embed(s) FROM schedule_run r JOIN schedule s ON s.id = r.schedule_id
WHERE r.status IN ('pending', 'running') AND r.status = 'pending' ORDER BY r.id LIMIT @most::int;

-- What the earlier runs of a schedule left open.
-- name: ScheduleRunsOpen :many
SELECT * FROM schedule_run WHERE schedule_id = @schedule_id AND org_id = @org_id AND status IN ('pending', 'running') AND id < @before::uuid;

-- name: ScheduleRunStarted :exec
UPDATE schedule_run SET status = 'running', started_at = now() WHERE id = @id AND org_id = @org_id AND status = 'pending';

-- name: ScheduleRunFailed :exec
UPDATE schedule_run SET status = 'failed', completed_at = now(), error = @error WHERE id = @id AND org_id = @org_id AND status = 'pending';

-- Notes what became of what was started, also when it is not there any more.
-- name: ScheduleRunsSettle :execrows
UPDATE schedule_run r SET status = CASE o.status WHEN 'COMPLETED' THEN 'completed' ELSE 'failed' END, completed_at = o.ended_at, error = o.error
FROM (
    SELECT q.id, coalesce(e.status, t.status, 'GONE') AS status, coalesce(e.ended_at, t.ended_at, now()) AS ended_at,
        CASE coalesce(e.status, t.status, 'GONE') WHEN 'COMPLETED' THEN '' WHEN 'CANCELLED' THEN 'cancelled'
            WHEN 'GONE' THEN 'what was started is not kept any more' ELSE coalesce(nullif(t.error, ''), 'the execution failed') END AS error
    FROM schedule_run q
    LEFT JOIN workflow_execution e ON e.id = q.target_id AND e.org_id = q.org_id
    LEFT JOIN task_execution t ON t.id = q.target_id AND t.org_id = q.org_id
    WHERE q.status IN ('pending', 'running') AND q.status = 'running'
    AND (e.id IS NULL OR e.ended_at IS NOT NULL) AND (t.id IS NULL OR t.ended_at IS NOT NULL)
    ORDER BY q.id LIMIT @most::int FOR UPDATE OF q SKIP LOCKED
) AS o WHERE r.id = o.id;

-- name: ScheduleRunsDeleteOld :execrows
DELETE FROM schedule_run WHERE id IN (
    SELECT r.id FROM schedule_run r WHERE r.scheduled_at < now() - @age::interval AND r.status NOT IN ('pending', 'running')
    ORDER BY r.scheduled_at LIMIT @most::int);
