-- A batch may be sent again after a failure of which nobody knows what became of
-- it.
-- name: AuditInsert :exec
INSERT INTO audit_record (id, at, org_id, principal, procedure, action, resource_type, resource_id, outcome, reason, request_id, remote_address)
SELECT u.id, u.at, nullif(u.org_id, '00000000-0000-0000-0000-000000000000'::uuid), u.principal, u.procedure, u.action,
    u.resource_type, u.resource_id, u.outcome, u.reason, u.request_id, u.remote_address
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@ats::timestamptz[]) AS at, unnest(@org_ids::uuid[]) AS org_id,
    unnest(@principals::text[]) AS principal, unnest(@procedures::text[]) AS procedure, unnest(@actions::text[]) AS action,
    unnest(@resource_types::text[]) AS resource_type, unnest(@resource_ids::text[]) AS resource_id,
    unnest(@outcomes::text[]) AS outcome, unnest(@reasons::text[]) AS reason, unnest(@request_ids::text[]) AS request_id,
    unnest(@remote_addresses::text[]) AS remote_address) AS u
ON CONFLICT (id) DO NOTHING;

-- Newest first, from a place on: the records before that time, and of that time
-- those with a lower id.
-- name: AuditList :many
SELECT * FROM audit_record
WHERE org_id = @org_id::uuid AND at >= @since::timestamptz AND (at, id) < (@before_at::timestamptz, @before_id::uuid)
  AND (@outcome::text = '' OR outcome = @outcome) AND (@principal::text = '' OR principal = @principal)
ORDER BY at DESC, id DESC LIMIT @max;

-- name: AuditDeleteOlder :execrows
DELETE FROM audit_record WHERE ctid = ANY (ARRAY(
    SELECT a.ctid FROM audit_record a WHERE a.at < clock_timestamp() - @age::interval ORDER BY a.at LIMIT @max));
