-- The engine's tables.
--
-- Rules that keep a step cheap:
--   * Rows that change status are small: payloads live in workflow_event (and,
--     for standalone tasks, in task_payload).
--   * No index covers a column that flips, so every status change is a HOT
--     update. Runnable work is listed in `ready`, which holds only the backlog:
--     work handed straight to a waiting poller never gets a row there.
--   * Tables written on every step have no foreign keys: checking one takes a
--     share lock on the organization's row, which serializes its writers.
--   * Every table of tenant data carries org_id, except workflow_event, which is
--     only ever reached through its execution.

-- +goose Up
CREATE TABLE organization (
    id         uuid PRIMARY KEY,
    slug       text NOT NULL CONSTRAINT organization_slug_unique UNIQUE
               CONSTRAINT organization_slug_format CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 63),
    name       text NOT NULL,
    tier       text NOT NULL DEFAULT 'FREE' CHECK (tier IN ('FREE', 'PRO', 'ENTERPRISE')),
    region     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflow_execution (
    id               uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    kind             text NOT NULL,
    queue            text NOT NULL,
    status           text NOT NULL CHECK (status IN ('PENDING', 'RUNNING', 'WAITING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    last_seq         integer NOT NULL,
    -- an outside event arrived that the running activation may not have seen
    news             boolean NOT NULL DEFAULT false,
    -- an activation was taken back from its worker, which may still submit
    disputed         boolean NOT NULL DEFAULT false,
    -- the partition of workflow_event that holds this execution's history
    history_month    integer NOT NULL,
    priority_ms      bigint NOT NULL DEFAULT 0,
    workflow_version text NOT NULL DEFAULT '',
    parent_id        uuid,
    child_name       text NOT NULL DEFAULT '',
    worker_id        text NOT NULL DEFAULT '',
    claimed_at       timestamptz,
    activations      integer NOT NULL DEFAULT 0,
    idempotency_key  text NOT NULL DEFAULT '',
    metadata         jsonb,
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    ended_at         timestamptz,
    updated_at       timestamptz NOT NULL
) WITH (fillfactor = 70);
-- Only open executions: the reclaim scan never reads a finished one.
CREATE INDEX workflow_execution_open ON workflow_execution (id) WHERE ended_at IS NULL;
CREATE INDEX workflow_execution_parent ON workflow_execution (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX workflow_execution_org ON workflow_execution (org_id, created_at DESC, id);

-- Append-only. Partitioned by the month in which the execution was created, so
-- that retention drops a partition instead of deleting rows.
CREATE TABLE workflow_event (
    history_month integer NOT NULL,
    execution_id  uuid NOT NULL,
    seq           integer NOT NULL,
    event_type    text NOT NULL,
    data          bytea NOT NULL,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (execution_id, seq, history_month)
) PARTITION BY RANGE (history_month);
CREATE TABLE workflow_event_default PARTITION OF workflow_event DEFAULT;

-- +goose StatementBegin
-- Makes the partitions of this month and the given number of following ones.
-- A month is numbered year * 12 + month - 1.
CREATE FUNCTION ensure_history_partitions(ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    m    integer;
    base integer := extract(year FROM now() AT TIME ZONE 'UTC')::integer * 12 + extract(month FROM now() AT TIME ZONE 'UTC')::integer - 1;
    made integer := 0;
BEGIN
    FOR m IN base .. base + ahead LOOP
        CONTINUE WHEN to_regclass('workflow_event_m' || m) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('flovyn.history.partitions'));
        CONTINUE WHEN to_regclass('workflow_event_m' || m) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I PARTITION OF workflow_event FOR VALUES FROM (%s) TO (%s)',
                       'workflow_event_m' || m, m, m + 1);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd
SELECT ensure_history_partitions(2);

CREATE TABLE task_execution (
    id              uuid PRIMARY KEY,
    org_id          uuid NOT NULL,
    workflow_id     uuid,
    kind            text NOT NULL,
    queue           text NOT NULL,
    status          text NOT NULL CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    execution_count integer NOT NULL DEFAULT 0,
    max_retries     integer NOT NULL,
    timeout_ms      bigint NOT NULL DEFAULT 0,
    -- where TASK_SCHEDULED, which holds the input of a workflow's task, stands
    history_month   integer NOT NULL DEFAULT 0,
    scheduled_seq   integer NOT NULL DEFAULT 0,
    worker_id       text NOT NULL DEFAULT '',
    claimed_at      timestamptz,
    heartbeat_at    timestamptz,
    progress        double precision,
    progress_details text NOT NULL DEFAULT '',
    error           text NOT NULL DEFAULT '',
    idempotency_key text NOT NULL DEFAULT '',
    metadata        jsonb,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz
) WITH (fillfactor = 70);
CREATE INDEX task_execution_open ON task_execution (id) WHERE ended_at IS NULL;
CREATE INDEX task_execution_workflow ON task_execution (workflow_id) WHERE workflow_id IS NOT NULL;
CREATE INDEX task_execution_standalone ON task_execution (org_id, created_at DESC, id) WHERE workflow_id IS NULL;

-- Input and output of tasks that belong to no workflow.
CREATE TABLE task_payload (
    task_id uuid PRIMARY KEY,
    org_id  uuid NOT NULL,
    input   bytea NOT NULL,
    output  bytea
);

-- Attempts that did not end the task; the last one is the task row itself.
CREATE TABLE task_attempt (
    task_id    uuid NOT NULL,
    attempt    integer NOT NULL,
    org_id     uuid NOT NULL,
    status     text NOT NULL CHECK (status IN ('FAILED', 'LOST')),
    error      text NOT NULL,
    worker_id  text NOT NULL,
    started_at timestamptz,
    ended_at   timestamptz NOT NULL,
    PRIMARY KEY (task_id, attempt)
);

CREATE TABLE task_state (
    task_id uuid NOT NULL,
    key     text NOT NULL,
    org_id  uuid NOT NULL,
    value   bytea NOT NULL,
    PRIMARY KEY (task_id, key)
);

CREATE TABLE task_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id   uuid NOT NULL,
    org_id    uuid NOT NULL,
    level     text NOT NULL,
    message   text NOT NULL,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX task_log_task ON task_log (task_id, id);

-- Runnable work that no poller was waiting for: the backlog, and what other
-- replicas and recovery start from. A row may be stale (its work no longer
-- PENDING); claiming removes it.
CREATE TABLE ready (
    class  text NOT NULL CHECK (class IN ('workflow', 'task')),
    id     uuid NOT NULL,
    org_id uuid NOT NULL,
    queue  text NOT NULL,
    kind   text NOT NULL,
    -- creation time minus priority: lower is earlier
    score  timestamptz NOT NULL,
    PRIMARY KEY (class, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready_order ON ready (class, org_id, queue, score, id);

-- Everything that happens at a time: timers, promise timeouts, task deadlines.
CREATE TABLE timer (
    owner_id uuid NOT NULL,   -- the workflow execution, or the standalone task
    kind     text NOT NULL CHECK (kind IN ('timer', 'promise', 'task')),
    name     text NOT NULL,   -- timer id, promise id or task id
    org_id   uuid NOT NULL,
    fire_at  timestamptz NOT NULL,
    PRIMARY KEY (owner_id, kind, name)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX timer_due ON timer (fire_at);

CREATE TABLE promise (
    id              uuid PRIMARY KEY,
    org_id          uuid NOT NULL,
    execution_id    uuid NOT NULL,
    name            text NOT NULL,
    status          text NOT NULL CHECK (status IN ('PENDING', 'RESOLVED', 'REJECTED', 'TIMED_OUT', 'CANCELLED')),
    timeout_at      timestamptz,
    idempotency_key text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    settled_at      timestamptz
);
CREATE INDEX promise_execution ON promise (execution_id, created_at);

CREATE TABLE idempotency_key (
    org_id     uuid NOT NULL,
    scope      text NOT NULL CHECK (scope IN ('workflow', 'task', 'promise')),
    key        text NOT NULL,
    target_id  uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, scope, key)
);
CREATE INDEX idempotency_key_expiry ON idempotency_key (expires_at);

CREATE TABLE worker (
    id             uuid PRIMARY KEY,
    org_id         uuid NOT NULL,
    name           text NOT NULL,
    version        text NOT NULL DEFAULT '',
    worker_type    text NOT NULL DEFAULT '',
    host_name      text NOT NULL DEFAULT '',
    process_id     text NOT NULL DEFAULT '',
    metadata       bytea,
    registered_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT worker_name_unique UNIQUE (org_id, name)
) WITH (fillfactor = 70);

-- What a worker can execute, kept per process: two processes may share a name.
CREATE TABLE worker_capability (
    worker_id     uuid NOT NULL,
    process       text NOT NULL,
    class         text NOT NULL CHECK (class IN ('workflow', 'task', 'agent')),
    kind          text NOT NULL,
    org_id        uuid NOT NULL,
    version       text NOT NULL DEFAULT '',
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker_id, process, class, kind)
);

-- What is known of a kind from the workers that registered it.
CREATE TABLE definition (
    org_id             uuid NOT NULL,
    class              text NOT NULL CHECK (class IN ('workflow', 'task', 'agent')),
    kind               text NOT NULL,
    name               text NOT NULL DEFAULT '',
    description        text NOT NULL DEFAULT '',
    version            text NOT NULL DEFAULT '',
    content_hash       text NOT NULL DEFAULT '',
    timeout_seconds    integer,
    cancellable        boolean NOT NULL DEFAULT false,
    tags               text[] NOT NULL DEFAULT '{}',
    retry_policy       bytea,
    input_schema       bytea,
    output_schema      bytea,
    metadata           bytea,
    first_seen_at      timestamptz NOT NULL DEFAULT now(),
    last_registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, class, kind)
);

-- +goose Down
DROP TABLE definition, worker_capability, worker, idempotency_key, promise, timer, ready,
    task_log, task_state, task_attempt, task_payload, task_execution, workflow_event,
    workflow_execution, organization;
DROP FUNCTION ensure_history_partitions(integer);
