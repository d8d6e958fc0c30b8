-- What lists are found by, saved queries, and what is known of metadata.
--
-- No index here covers a column that changes while work goes on. An index entry
-- is written when a row is inserted and once more when its work ends, which is
-- the one update that cannot be HOT: open work is a condition of indexes. So
-- open work is found among all open work, and ended work by its status too.

-- +goose Up
CREATE INDEX workflow_execution_kind ON workflow_execution (org_id, kind, created_at DESC, id);
CREATE INDEX workflow_execution_open_list ON workflow_execution (org_id, created_at DESC, id) WHERE ended_at IS NULL;
CREATE INDEX workflow_execution_ended_list ON workflow_execution (org_id, status, created_at DESC, id, kind)
    WHERE ended_at IS NOT NULL;

CREATE INDEX task_execution_standalone_kind ON task_execution (org_id, kind, created_at DESC, id) WHERE workflow_id IS NULL;
CREATE INDEX task_execution_standalone_open ON task_execution (org_id, created_at DESC, id)
    WHERE workflow_id IS NULL AND ended_at IS NULL;
CREATE INDEX task_execution_standalone_ended ON task_execution (org_id, status, created_at DESC, id, kind)
    WHERE workflow_id IS NULL AND ended_at IS NOT NULL;
CREATE INDEX task_execution_of_workflows ON task_execution (org_id, created_at DESC, id) WHERE workflow_id IS NOT NULL;

-- An entry of metadata as one number, the organization included: a list never
-- wades through what others have under the same key. Two entries of one number
-- are told apart by the metadata itself.
-- +goose StatementBegin
CREATE FUNCTION metadata_term(org uuid, key text, value text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(org::text || length(key)::text || ':' || key || value, 0);
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION metadata_terms(org uuid, metadata jsonb) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT metadata_term(org, e.key, e.value) FROM jsonb_each_text(metadata) AS e);
-- +goose StatementEnd

CREATE INDEX workflow_execution_metadata ON workflow_execution USING gin (metadata_terms(org_id, metadata))
    WHERE metadata IS NOT NULL;
CREATE INDEX task_execution_metadata ON task_execution USING gin (metadata_terms(org_id, metadata))
    WHERE metadata IS NOT NULL;

-- How frequent entries are, which the planner does not learn from partial indexes:
-- with it, entries that most executions have are looked for in the order of the list.
CREATE STATISTICS workflow_execution_metadata_terms ON (metadata_terms(org_id, metadata)) FROM workflow_execution;
CREATE STATISTICS task_execution_metadata_terms ON (metadata_terms(org_id, metadata)) FROM task_execution;

ALTER TABLE definition ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();

CREATE TABLE saved_query (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    name         text NOT NULL,
    description  text,
    entity       text NOT NULL CHECK (entity IN ('workflow', 'task', 'workflowDefinition', 'taskDefinition')),
    query        text NOT NULL,
    is_shared    boolean NOT NULL,
    created_by   text NOT NULL,
    use_count    bigint NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT saved_query_name_unique UNIQUE (org_id, name)
);

CREATE TABLE metadata_field (
    id             uuid PRIMARY KEY,
    org_id         uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    key            text NOT NULL,
    display_name   text NOT NULL,
    description    text,
    field_type     text NOT NULL CHECK (field_type IN ('enum', 'text', 'number', 'boolean')),
    allowed_values text[] NOT NULL,
    -- the class and kind it holds for; both empty for a global one
    class          text NOT NULL CHECK (class IN ('', 'workflow', 'task')),
    kind           text NOT NULL,
    display_order  integer NOT NULL,
    CONSTRAINT metadata_field_unique UNIQUE (org_id, class, kind, key)
);

-- +goose Down
DROP TABLE metadata_field, saved_query;
ALTER TABLE definition DROP COLUMN id;
DROP STATISTICS task_execution_metadata_terms, workflow_execution_metadata_terms;
DROP INDEX task_execution_metadata, workflow_execution_metadata, task_execution_of_workflows,
    task_execution_standalone_ended, task_execution_standalone_open, task_execution_standalone_kind,
    workflow_execution_ended_list, workflow_execution_open_list, workflow_execution_kind;
DROP FUNCTION metadata_terms(uuid, jsonb), metadata_term(uuid, text, text);
