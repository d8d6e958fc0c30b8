-- name: EventsInsert :exec
INSERT INTO workflow_event (history_month, execution_id, seq, event_type, data, created_at)
SELECT u.history_month, u.execution_id, u.seq, u.event_type, u.data, @now
FROM (SELECT unnest(@history_months::integer[]) AS history_month, unnest(@execution_ids::uuid[]) AS execution_id,
    unnest(@seqs::integer[]) AS seq, unnest(@event_types::text[]) AS event_type, unnest(@data::bytea[]) AS data) AS u;

-- What an execution was started with, and how it ended. The caller has found the
-- execution in its organization.
-- name: EventFirst :one
SELECT data FROM workflow_event WHERE execution_id = @execution_id AND history_month = @history_month AND seq = 1;

-- name: EventLastOf :one
SELECT event_type, data FROM workflow_event
WHERE execution_id = @execution_id AND history_month = @history_month AND event_type = ANY (@event_types::text[])
ORDER BY seq DESC LIMIT 1;

-- name: EventsPage :many
SELECT seq, event_type, data, created_at FROM workflow_event
WHERE execution_id = @execution_id AND history_month = @history_month AND seq > @after
ORDER BY seq LIMIT @max;

-- name: HistoryPartitionsEnsure :one
SELECT ensure_history_partitions(@ahead::integer) AS made;
