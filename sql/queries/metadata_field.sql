-- name: MetadataFieldInsert :one
INSERT INTO metadata_field (id, org_id, key, display_name, description, field_type, allowed_values, class, kind, display_order)
VALUES (@id, @org_id, @key, @display_name, sqlc.narg('description'), @field_type, @allowed_values, @class, @kind, @display_order)
RETURNING *;

-- The fields of a kind come in place of global ones of the same key.
-- name: MetadataFieldList :many
SELECT f.* FROM metadata_field f
WHERE f.org_id = @org_id AND (f.class = '' AND NOT EXISTS (
        SELECT FROM metadata_field s WHERE s.org_id = @org_id AND s.class = @class AND s.kind = @kind AND s.key = f.key AND s.class <> '')
    OR f.class = @class AND f.kind = @kind)
ORDER BY f.display_order, f.key;

-- name: MetadataFieldGet :one
SELECT * FROM metadata_field WHERE id = @id AND org_id = @org_id FOR UPDATE;

-- name: MetadataFieldUpdate :one
UPDATE metadata_field SET display_name = @display_name, description = sqlc.narg('description'), field_type = @field_type,
    allowed_values = @allowed_values, display_order = @display_order
WHERE id = @id AND org_id = @org_id
RETURNING *;

-- name: MetadataFieldDelete :execrows
DELETE FROM metadata_field WHERE id = @id AND org_id = @org_id;
