-- Who callers are: which organization of an identity provider an organization
-- here belongs to, and the worker tokens that this server issues.

-- +goose Up

-- A slug at an identity provider can be given up and registered by somebody
-- else; the id behind it cannot. The first verified credential binds the two,
-- and from then on only that id opens the organization, and no other one.
CREATE TABLE organization_binding (
    org_id      uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    issuer      text NOT NULL CHECK (length(issuer) <= 512),
    external_id text NOT NULL CHECK (external_id <> '' AND length(external_id) <= 512),
    bound_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, issuer),
    CONSTRAINT organization_binding_external_unique UNIQUE (issuer, external_id)
);

CREATE TABLE worker_token (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES organization (id) ON DELETE CASCADE,
    -- the beginning of the token, by which it is found; not secret
    token_prefix text NOT NULL CONSTRAINT worker_token_prefix_unique UNIQUE,
    -- HMAC-SHA256 of the whole token under the server's secret
    token_hash   bytea NOT NULL CHECK (length(token_hash) = 32),
    display_name text NOT NULL,
    description  text NOT NULL DEFAULT '',
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX worker_token_org ON worker_token (org_id, id);

-- +goose Down
DROP TABLE worker_token, organization_binding;
