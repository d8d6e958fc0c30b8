package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

func savedQueryOf(r *pgq.SavedQuery) flovyn.SavedQuery {
	return flovyn.SavedQuery{
		ID: r.ID, Org: flovyn.OrgID(r.OrgID), Name: r.Name, Description: r.Description, Entity: r.Entity, Query: r.Query,
		Shared: r.IsShared, CreatedBy: r.CreatedBy, UseCount: r.UseCount, LastUsedAt: r.LastUsedAt,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
}

// savedQueryRow gives what has no meaning to the database its own.
func savedQueryRow(r *pgq.SavedQuery, err error) (flovyn.SavedQuery, error) {
	q, err := row(r, err, savedQueryOf)
	if fault.Is(err, fault.NotFound) {
		err = savedQueryNotFound()
	}
	return q, err
}

func savedQueryNotFound() error { return fault.New(fault.NotFound, "saved query not found") }

// InsertSavedQuery stores a query; Exists when its name is taken.
func (s *Store) InsertSavedQuery(ctx context.Context, q *flovyn.SavedQuery) (flovyn.SavedQuery, error) {
	return savedQueryRow(s.q.SavedQueryInsert(ctx, s.pool, &pgq.SavedQueryInsertParams{
		ID: q.ID, OrgID: q.Org.UUID(), Name: q.Name, Description: q.Description, Entity: q.Entity, Query: q.Query,
		IsShared: q.Shared, CreatedBy: q.CreatedBy,
	}))
}

// SavedQuery returns a query that the reader made or that is shared.
func (s *Store) SavedQuery(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID) (flovyn.SavedQuery, error) {
	return savedQueryRow(s.q.SavedQueryGet(ctx, s.pool, id, org.UUID(), reader))
}

// SavedQueries lists queries that the reader made or that are shared, of one
// entity unless it is empty, and says how many there are.
func (s *Store) SavedQueries(ctx context.Context, org flovyn.OrgID, reader, entity string, limit, offset int) ([]flovyn.SavedQuery, int64, error) {
	rows, err := s.q.SavedQueryList(ctx, s.pool, &pgq.SavedQueryListParams{
		OrgID: org.UUID(), Reader: reader, Entity: entity, Most: int32(limit), Skip: int32(offset),
	})
	if err != nil {
		return nil, 0, translate(err)
	}
	total, err := s.q.SavedQueryCount(ctx, s.pool, org.UUID(), reader, entity)
	return each(rows, savedQueryOf), total, translate(err)
}

// SavedQueryChange is what becomes different of a query; nil stays as it is.
type SavedQueryChange struct {
	Name, Description, Query *string
	Shared                   *bool
}

// UpdateSavedQuery changes a query that the reader made or that is shared.
func (s *Store) UpdateSavedQuery(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID, c SavedQueryChange) (flovyn.SavedQuery, error) {
	return savedQueryRow(s.q.SavedQueryUpdate(ctx, s.pool, &pgq.SavedQueryUpdateParams{
		ID: id, OrgID: org.UUID(), Reader: reader, Name: c.Name, Description: c.Description, Query: c.Query, IsShared: c.Shared,
	}))
}

// DeleteSavedQuery deletes a query that the reader made or that is shared.
func (s *Store) DeleteSavedQuery(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID) error {
	n, err := s.q.SavedQueryDelete(ctx, s.pool, id, org.UUID(), reader)
	if err == nil && n == 0 {
		return savedQueryNotFound()
	}
	return translate(err)
}

// SavedQueryUsed notes that a query was run.
func (s *Store) SavedQueryUsed(ctx context.Context, org flovyn.OrgID, id uuid.UUID) error {
	return translate(s.q.SavedQueryUsed(ctx, s.pool, id, org.UUID()))
}

func metadataFieldOf(r *pgq.MetadataField) flovyn.MetadataField {
	return flovyn.MetadataField{
		ID: r.ID, Org: flovyn.OrgID(r.OrgID), Key: r.Key, DisplayName: r.DisplayName, Description: r.Description,
		Type: flovyn.MetadataType(r.FieldType), AllowedValues: r.AllowedValues, Class: flovyn.Class(r.Class), Kind: r.Kind,
		Order: r.DisplayOrder,
	}
}

func metadataFieldRow(r *pgq.MetadataField, err error) (flovyn.MetadataField, error) {
	f, err := row(r, err, metadataFieldOf)
	if fault.Is(err, fault.NotFound) {
		err = metadataFieldNotFound()
	}
	return f, err
}

func metadataFieldNotFound() error { return fault.New(fault.NotFound, "metadata field not found") }

// InsertMetadataField stores a field; Exists when there is one of its key and scope.
func (s *Store) InsertMetadataField(ctx context.Context, f *flovyn.MetadataField) (flovyn.MetadataField, error) {
	return metadataFieldRow(s.q.MetadataFieldInsert(ctx, s.pool, &pgq.MetadataFieldInsertParams{
		ID: f.ID, OrgID: f.Org.UUID(), Key: f.Key, DisplayName: f.DisplayName, Description: f.Description,
		FieldType: string(f.Type), AllowedValues: notNil(f.AllowedValues), Class: string(f.Class), Kind: f.Kind, DisplayOrder: f.Order,
	}))
}

func notNil(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

// MetadataFields lists the fields that hold for a kind, those of the kind in the
// place of global ones; without a class, the global ones.
func (s *Store) MetadataFields(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string) ([]flovyn.MetadataField, error) {
	rows, err := s.q.MetadataFieldList(ctx, s.pool, org.UUID(), string(class), kind)
	return each(rows, metadataFieldOf), translate(err)
}

// ChangeMetadataField gives a field to change, and stores what becomes of it.
func (s *Store) ChangeMetadataField(ctx context.Context, org flovyn.OrgID, id uuid.UUID, change func(*flovyn.MetadataField) error) (changed flovyn.MetadataField, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		f, err := metadataFieldRow(s.q.MetadataFieldGet(ctx, tx, id, org.UUID()))
		if err != nil {
			return err
		}
		if err := change(&f); err != nil {
			return err
		}
		changed, err = metadataFieldRow(s.q.MetadataFieldUpdate(ctx, tx, &pgq.MetadataFieldUpdateParams{
			ID: id, OrgID: org.UUID(), DisplayName: f.DisplayName, Description: f.Description, FieldType: string(f.Type),
			AllowedValues: notNil(f.AllowedValues), DisplayOrder: f.Order,
		}))
		return err
	})
	return changed, err
}

// DeleteMetadataField deletes a field.
func (s *Store) DeleteMetadataField(ctx context.Context, org flovyn.OrgID, id uuid.UUID) error {
	n, err := s.q.MetadataFieldDelete(ctx, s.pool, id, org.UUID())
	if err == nil && n == 0 {
		return metadataFieldNotFound()
	}
	return translate(err)
}
