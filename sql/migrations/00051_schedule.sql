-- Schedules, and what they started.

-- +goose Up
CREATE TABLE schedule (
    id             uuid PRIMARY KEY,
    org_id         uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    name           text NOT NULL,
    description    text,
    -- once: run_at; recurring: cron, timezone and perhaps end_at
    type           text NOT NULL CHECK (type IN ('once', 'recurring')),
    run_at         timestamptz,
    cron           text NOT NULL DEFAULT '',
    timezone       text NOT NULL DEFAULT '',
    end_at         timestamptz,
    target_type    text NOT NULL CHECK (target_type IN ('workflow', 'task')),
    kind           text NOT NULL,
    queue          text NOT NULL,
    input          bytea NOT NULL,
    max_retries    integer,
    metadata       jsonb,
    enabled        boolean NOT NULL,
    next_run_at    timestamptz,
    last_run_at    timestamptz,
    run_count      bigint NOT NULL DEFAULT 0,
    missed_policy  text NOT NULL CHECK (missed_policy IN ('skip', 'execute_once')),
    overlap_policy text NOT NULL CHECK (overlap_policy IN ('skip', 'allow', 'cancel_previous')),
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedule_name_unique UNIQUE (org_id, name)
);
CREATE INDEX schedule_due ON schedule (next_run_at) WHERE next_run_at IS NOT NULL;

CREATE TABLE schedule_run (
    id           uuid PRIMARY KEY,
    schedule_id  uuid NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
    org_id       uuid NOT NULL,
    scheduled_at timestamptz NOT NULL,
    started_at   timestamptz,
    completed_at timestamptz,
    -- pending: decided, and to be started under target_id by whichever server
    -- comes to it first
    status       text NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'skipped')),
    target_type  text NOT NULL,
    target_id    uuid,
    error        text NOT NULL DEFAULT ''
);
CREATE INDEX schedule_run_list ON schedule_run (schedule_id, scheduled_at DESC, id);
CREATE INDEX schedule_run_open ON schedule_run (id) WHERE status IN ('pending', 'running');
CREATE INDEX schedule_run_age ON schedule_run (scheduled_at);

-- +goose Down
DROP TABLE schedule_run, schedule;
