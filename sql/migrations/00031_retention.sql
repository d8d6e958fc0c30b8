-- What retention asks of a history partition.

-- +goose Up
-- +goose StatementBegin
-- Lists the months that have a partition of their own, the oldest first.
CREATE FUNCTION history_months() RETURNS SETOF integer LANGUAGE sql STABLE AS $$
    SELECT substring(c.relname FROM '^workflow_event_m(\d+)$')::integer AS month
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('workflow_event') AND c.relname ~ '^workflow_event_m\d+$'
    ORDER BY month
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- Drops the partition of a month; false when there is none. Whoever wants it to
-- give way to others sets lock_timeout.
CREATE FUNCTION drop_history_partition(month integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('workflow_event_m' || month) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', 'workflow_event_m' || month);
    RETURN true;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION drop_history_partition(integer);
DROP FUNCTION history_months();
