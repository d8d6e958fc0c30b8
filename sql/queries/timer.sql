-- name: TimersInsert :exec
INSERT INTO timer (owner_id, kind, name, org_id, fire_at)
SELECT unnest(@owners::uuid[]), unnest(@kinds::text[]), unnest(@names::text[]), unnest(@org_ids::uuid[]), unnest(@fire_ats::timestamptz[]);

-- name: TimersDelete :exec
DELETE FROM timer t USING (SELECT unnest(@owners::uuid[]) AS o, unnest(@kinds::text[]) AS k, unnest(@names::text[]) AS n) AS u
WHERE t.owner_id = u.o AND t.kind = u.k AND t.name = u.n;

-- name: TimersDeleteOwned :exec
DELETE FROM timer WHERE owner_id = ANY (@owners::uuid[]);

-- name: TimersDue :many
SELECT * FROM timer WHERE fire_at <= clock_timestamp() ORDER BY fire_at LIMIT @max;

-- How long until the next timer is due, in seconds; none when there is no timer.
-- name: TimerNext :one
SELECT coalesce(extract(epoch FROM min(fire_at) - clock_timestamp()), 0)::double precision AS seconds, (min(fire_at) IS NULL)::boolean AS none FROM timer;
