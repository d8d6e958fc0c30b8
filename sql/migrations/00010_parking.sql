-- Every claim has a number, by which it is found when its answer is lost.
-- Poison work is parked: workers that take it up get lost again and again, so it
-- is taken out of dispatch until somebody has looked at it.
--
-- None of the columns stands in an index but parked_at, which only parking
-- changes, so that every step stays a HOT update. A server of the version before
-- knows nothing of parked work, and leaves it alone because it is not listed.

-- +goose Up
ALTER TABLE workflow_execution
    -- the claim that took it off the backlog last
    ADD COLUMN claim_id         bigint  NOT NULL DEFAULT 0,
    -- size of the history's event data
    ADD COLUMN history_bytes    bigint  NOT NULL DEFAULT 0,
    -- activations in a row that were taken back from silent workers
    ADD COLUMN lost_activations integer NOT NULL DEFAULT 0,
    ADD COLUMN parked_at        timestamptz,
    ADD COLUMN parked_reason    text    NOT NULL DEFAULT '';
CREATE INDEX workflow_execution_parked ON workflow_execution (org_id, parked_at, id) WHERE parked_at IS NOT NULL;

ALTER TABLE task_execution
    ADD COLUMN claim_id      bigint  NOT NULL DEFAULT 0,
    ADD COLUMN lost_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN parked_at     timestamptz,
    ADD COLUMN parked_reason text    NOT NULL DEFAULT '';
CREATE INDEX task_execution_parked ON task_execution (org_id, parked_at, id) WHERE parked_at IS NOT NULL;

-- +goose Down
-- What is parked would be lost to everybody without its mark.
INSERT INTO ready (class, id, org_id, queue, kind, score)
SELECT 'workflow', id, org_id, queue, kind, created_at - priority_ms * interval '1 millisecond'
FROM workflow_execution WHERE parked_at IS NOT NULL AND status = 'PENDING'
UNION ALL
SELECT 'task', id, org_id, queue, kind, created_at FROM task_execution WHERE parked_at IS NOT NULL AND status = 'PENDING'
ON CONFLICT DO NOTHING;
DROP INDEX workflow_execution_parked, task_execution_parked;
ALTER TABLE workflow_execution DROP COLUMN claim_id, DROP COLUMN history_bytes, DROP COLUMN lost_activations, DROP COLUMN parked_at, DROP COLUMN parked_reason;
ALTER TABLE task_execution DROP COLUMN claim_id, DROP COLUMN lost_attempts, DROP COLUMN parked_at, DROP COLUMN parked_reason;
