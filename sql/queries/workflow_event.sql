-- name: EventsInsert :exec
INSERT INTO workflow_event (history_month, execution_id, seq, event_type, data, created_at)
SELECT u.history_month, u.execution_id, u.seq, u.event_type, u.data, @now
FROM (SELECT unnest(@history_months::integer[]) AS history_month, unnest(@execution_ids::uuid[]) AS execution_id,
    unnest(@seqs::integer[]) AS seq, unnest(@event_types::text[]) AS event_type, unnest(@data::bytea[]) AS data) AS u;

-- name: HistoryPartitionsEnsure :one
SELECT ensure_history_partitions(@ahead::integer) AS made;
