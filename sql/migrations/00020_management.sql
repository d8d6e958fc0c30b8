-- What the management API looks up that no worker asks for.

-- +goose Up

-- Which workers can execute a kind: availability is counted for every definition
-- of a list.
CREATE INDEX worker_capability_kind ON worker_capability (org_id, class, kind, worker_id);

-- +goose Down
DROP INDEX worker_capability_kind;
