-- name: KeysUpsert :exec
INSERT INTO idempotency_key (org_id, scope, key, target_id, expires_at)
SELECT unnest(@org_ids::uuid[]), unnest(@scopes::text[]), unnest(@keys::text[]), unnest(@target_ids::uuid[]), unnest(@expires_ats::timestamptz[])
ON CONFLICT (org_id, scope, key) DO UPDATE SET target_id = excluded.target_id, expires_at = excluded.expires_at;

-- name: KeysDelete :exec
DELETE FROM idempotency_key i USING (SELECT unnest(@org_ids::uuid[]) AS o, unnest(@scopes::text[]) AS s, unnest(@keys::text[]) AS k,
    unnest(@target_ids::uuid[]) AS t) AS u
WHERE i.org_id = u.o AND i.scope = u.s AND i.key = u.k AND i.target_id = u.t;

-- name: KeyGet :one
SELECT target_id FROM idempotency_key
WHERE org_id = @org_id AND scope = @scope AND key = @key AND expires_at > clock_timestamp();

-- name: KeysDeleteExpired :execrows
DELETE FROM idempotency_key WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_key WHERE expires_at <= clock_timestamp() LIMIT @max));
