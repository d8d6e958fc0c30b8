-- What was refused and what was changed, and by whom.

-- +goose Up

-- Written in batches and never updated; upkeep deletes what is older than the
-- retention. Texts are cut to a bounded length before they get here. There is no
-- foreign key: a record must be writable whatever it is about.
CREATE TABLE audit_record (
    id             uuid PRIMARY KEY,
    at             timestamptz NOT NULL,
    -- that of the caller; null when nobody was recognized
    org_id         uuid,
    -- type:id, or empty
    principal      text NOT NULL,
    -- an RPC such as /flovyn.api.v1.ScheduleService/PauseSchedule, or a path
    procedure      text NOT NULL,
    action         text NOT NULL,
    resource_type  text NOT NULL,
    resource_id    text NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
    reason         text NOT NULL,
    request_id     text NOT NULL,
    remote_address text NOT NULL
);
CREATE INDEX audit_record_org ON audit_record (org_id, at DESC, id DESC);
CREATE INDEX audit_record_at ON audit_record (at);

-- +goose Down
DROP TABLE audit_record;
