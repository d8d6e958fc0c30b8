-- What is needed to see what the engine does.

-- +goose Up

-- The trace that a start or a submission belongs to, in the form of the W3C
-- header; empty when it belongs to none. The tasks and children of a workflow
-- belong to its trace.
ALTER TABLE workflow_execution ADD COLUMN traceparent text NOT NULL DEFAULT '' CHECK (length(traceparent) <= 55);
ALTER TABLE task_execution ADD COLUMN traceparent text NOT NULL DEFAULT '' CHECK (length(traceparent) <= 55);

-- Since when work waits: how long until it was dispatched, how old a queue is.
ALTER TABLE ready ADD COLUMN listed_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- +goose Down
ALTER TABLE ready DROP COLUMN listed_at;
ALTER TABLE task_execution DROP COLUMN traceparent;
ALTER TABLE workflow_execution DROP COLUMN traceparent;
