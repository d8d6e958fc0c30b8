-- name: ReadyInsert :exec
INSERT INTO ready (class, id, org_id, queue, kind, score)
SELECT unnest(@classes::text[]), unnest(@ids::uuid[]), unnest(@org_ids::uuid[]), unnest(@queues::text[]), unnest(@kinds::text[]), unnest(@scores::timestamptz[])
ON CONFLICT (class, id) DO NOTHING;

-- Takes work that is no longer runnable off the list. A row that a claim holds
-- is left to the claim, which finds its work gone: waiting here could deadlock.
-- name: ReadyDelete :exec
DELETE FROM ready AS gone WHERE gone.class = @class AND gone.id IN (
    SELECT r.id FROM ready r WHERE r.class = @class AND r.id = ANY (@ids::uuid[]) FOR UPDATE SKIP LOCKED);

-- name: ReadyDeleteTasksOf :exec
DELETE FROM ready WHERE class = 'task' AND id IN (
    SELECT r.id FROM task_execution t JOIN ready r ON r.class = 'task' AND r.id = t.id
    WHERE t.workflow_id = ANY (@workflow_ids::uuid[]) FOR UPDATE OF r SKIP LOCKED);

-- Which queues have a backlog: the poll behind every wake-up. One index probe
-- per queue, however long the backlog.
-- name: ReadyQueues :many
WITH RECURSIVE q AS (
    (SELECT r.class, r.org_id, r.queue FROM ready r ORDER BY r.class, r.org_id, r.queue LIMIT 1)
    UNION ALL
    SELECT n.class, n.org_id, n.queue FROM q, LATERAL (
        SELECT r.class, r.org_id, r.queue FROM ready r
        WHERE (r.class, r.org_id, r.queue) > (q.class, q.org_id, q.queue)
        ORDER BY r.class, r.org_id, r.queue LIMIT 1) AS n
)
SELECT q.class::text AS class, q.org_id::uuid AS org_id, q.queue::text AS queue FROM q;

-- The queues of an organization that have a backlog of one class, as ReadyQueues
-- finds them. Depths are counted up to a bound; the first in line stands for the
-- one that waits longest.
-- name: ReadyDepths :many
WITH RECURSIVE q AS (
    (SELECT r.queue FROM ready r WHERE r.class = @class AND r.org_id = @org_id ORDER BY r.queue LIMIT 1)
    UNION ALL
    SELECT n.queue FROM q, LATERAL (
        SELECT r.queue FROM ready r WHERE r.class = @class AND r.org_id = @org_id AND r.queue > q.queue
        ORDER BY r.queue LIMIT 1) AS n
)
SELECT q.queue::text AS queue, (
    SELECT count(*) FROM (
        SELECT r.id FROM ready r WHERE r.class = @class AND r.org_id = @org_id AND r.queue = q.queue LIMIT @deepest) AS few
)::bigint AS depth, (
    SELECT r.listed_at FROM ready r WHERE r.class = @class AND r.org_id = @org_id AND r.queue = q.queue
    ORDER BY r.score, r.id LIMIT 1
)::timestamptz AS oldest_at
FROM q LIMIT @max;

-- How long the backlogs are and since when the work that is next waits, of so many
-- queues. One index probe per queue, and no more rows of each than are counted.
-- name: ReadySample :many
WITH RECURSIVE q AS (
    (SELECT r.class, r.org_id, r.queue FROM ready r ORDER BY r.class, r.org_id, r.queue LIMIT 1)
    UNION ALL
    SELECT n.class, n.org_id, n.queue FROM q, LATERAL (
        SELECT r.class, r.org_id, r.queue FROM ready r
        WHERE (r.class, r.org_id, r.queue) > (q.class, q.org_id, q.queue)
        ORDER BY r.class, r.org_id, r.queue LIMIT 1) AS n
)
SELECT q.class::text AS class, q.org_id::uuid AS org_id, q.queue::text AS queue,
    (SELECT count(*) FROM (SELECT FROM ready r WHERE r.class = q.class AND r.org_id = q.org_id AND r.queue = q.queue
        LIMIT @most::integer) AS counted)::integer AS depth,
    (SELECT clock_timestamp() - r.listed_at FROM ready r WHERE r.class = q.class AND r.org_id = q.org_id AND r.queue = q.queue
        ORDER BY r.score, r.id LIMIT 1)::interval AS age
FROM q LIMIT @queues::integer;
