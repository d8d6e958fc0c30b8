package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// UpsertOrganizations creates or updates organizations by id, all or none.
// Others are left alone.
func (s *Store) UpsertOrganizations(ctx context.Context, orgs []flovyn.Organization) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for _, o := range orgs {
			err := s.q.OrganizationUpsert(ctx, tx, &pgq.OrganizationUpsertParams{
				ID: o.ID.UUID(), Slug: o.Slug, Name: o.Name, Tier: o.Tier, Region: orNull(o.Region),
			})
			if err != nil {
				return fmt.Errorf("writing organization %s: %w", o.Slug, err)
			}
		}
		return nil
	})
}

// orNull is a text that is stored as null when it is empty.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// OrganizationBySlug returns an organization by its slug.
func (s *Store) OrganizationBySlug(ctx context.Context, slug string) (flovyn.Organization, error) {
	r, err := s.q.OrganizationGetBySlug(ctx, s.pool, slug)
	o, err := row(r, err, organizationOf)
	if fault.Is(err, fault.NotFound) {
		return o, fault.New(fault.NotFound, "organization %q not found", slug)
	}
	return o, err
}

// Organization returns an organization by its id.
func (s *Store) Organization(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error) {
	r, err := s.q.OrganizationGet(ctx, s.pool, id.UUID())
	o, err := row(r, err, organizationOf)
	if fault.Is(err, fault.NotFound) {
		return o, fault.New(fault.NotFound, "organization %s not found", id)
	}
	return o, err
}

func organizationOf(r *pgq.Organization) flovyn.Organization {
	o := flovyn.Organization{
		ID: flovyn.OrgID(r.ID), Slug: r.Slug, Name: r.Name, Tier: r.Tier, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if r.Region != nil {
		o.Region = *r.Region
	}
	return o
}

// Believed says for how long a process of a worker is believed to live after it
// registered, when another one of the same name registers.
type Believed struct {
	// OnHost holds for processes of the same host, Elsewhere for all others.
	OnHost, Elsewhere time.Duration
	// Living are processes known to live, however long ago they registered.
	Living []string
}

// Process names a process of a worker.
func Process(r *flovyn.Registration) string { return r.HostName + "/" + r.ProcessID }

// RegisterWorker creates or updates a worker by its name, replaces what its
// process can execute, forgets the other processes that are not believed to
// live, and upserts the definitions of those kinds, all in one transaction. It
// returns the worker's stable id.
func (s *Store) RegisterWorker(ctx context.Context, r *flovyn.Registration, others Believed) (flovyn.WorkerID, error) {
	var id flovyn.WorkerID
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		got, err := s.q.WorkerUpsert(ctx, tx, &pgq.WorkerUpsertParams{
			ID: flovyn.NewUUID(), OrgID: r.Org.UUID(), Name: r.Name, Version: r.Version, WorkerType: r.Type,
			HostName: r.HostName, ProcessID: r.ProcessID, Metadata: r.Metadata,
		})
		if err != nil {
			return fmt.Errorf("writing worker: %w", err)
		}
		id = flovyn.WorkerID(got)
		if err := s.replaceCapabilities(ctx, tx, id, r, others); err != nil {
			return err
		}
		return s.upsertDefinitions(ctx, tx, r)
	})
	return id, err
}

func (s *Store) replaceCapabilities(ctx context.Context, tx pgx.Tx, id flovyn.WorkerID, r *flovyn.Registration, others Believed) error {
	process, living := Process(r), others.Living
	if living == nil {
		living = []string{}
	}
	err := s.q.WorkerCapabilitiesDelete(ctx, tx, &pgq.WorkerCapabilitiesDeleteParams{
		WorkerID: id.UUID(), OrgID: r.Org.UUID(), Process: process, Living: living,
		Host: r.HostName, KeepOnHost: others.OnHost, Keep: others.Elsewhere,
	})
	if err != nil {
		return fmt.Errorf("replacing capabilities: %w", err)
	}
	insert := &pgq.WorkerCapabilitiesInsertParams{WorkerID: id.UUID(), OrgID: r.Org.UUID(), Process: process}
	for _, c := range r.Capabilities {
		insert.Classes = append(insert.Classes, string(c.Class))
		insert.Kinds = append(insert.Kinds, c.Kind)
		insert.Versions = append(insert.Versions, c.Version)
	}
	if err := s.q.WorkerCapabilitiesInsert(ctx, tx, insert); err != nil {
		return fmt.Errorf("writing capabilities: %w", err)
	}
	return nil
}

func (s *Store) upsertDefinitions(ctx context.Context, tx pgx.Tx, r *flovyn.Registration) error {
	for _, c := range r.Capabilities {
		tags := c.Tags
		if tags == nil {
			tags = []string{}
		}
		err := s.q.DefinitionsUpsert(ctx, tx, &pgq.DefinitionsUpsertParams{
			OrgID: r.Org.UUID(), Class: string(c.Class), Kind: c.Kind, Name: c.Name, Description: c.Description,
			Version: c.Version, ContentHash: c.ContentHash, TimeoutSeconds: c.TimeoutSeconds, Cancellable: c.Cancellable,
			Tags: tags, RetryPolicy: c.RetryPolicy, InputSchema: c.InputSchema, OutputSchema: c.OutputSchema, Metadata: c.Metadata,
		})
		if err != nil {
			return fmt.Errorf("writing the definition of %s: %w", c.Kind, err)
		}
	}
	return nil
}

// FindWorker returns the worker that goes by a name or an id.
func (s *Store) FindWorker(ctx context.Context, org flovyn.OrgID, nameOrID string) (*flovyn.Worker, error) {
	r, err := s.q.WorkerFind(ctx, s.pool, org.UUID(), nameOrID)
	if err != nil {
		return nil, translate(err)
	}
	rows, err := s.q.WorkerCapabilitiesList(ctx, s.pool, r.ID, org.UUID())
	if err != nil {
		return nil, fmt.Errorf("reading capabilities: %w", translate(err))
	}
	w := &flovyn.Worker{ID: flovyn.WorkerID(r.ID), Org: org, Name: r.Name, LastSeenAt: r.LastSeenAt, Kinds: map[flovyn.Class][]string{}}
	for _, c := range rows {
		w.Kinds[flovyn.Class(c.Class)] = append(w.Kinds[flovyn.Class(c.Class)], c.Kind)
	}
	return w, nil
}

// WorkersSeen notes how long ago workers gave a sign of life.
func (s *Store) WorkersSeen(ctx context.Context, ages map[flovyn.WorkerID]time.Duration) error {
	var ids []uuid.UUID
	var millis []int64
	for id, age := range ages {
		ids, millis = append(ids, id.UUID()), append(millis, age.Milliseconds())
	}
	if err := s.q.WorkersSeen(ctx, s.pool, ids, millis); err != nil {
		return fmt.Errorf("noting workers seen: %w", translate(err))
	}
	return nil
}

// WorkerSilence returns how long ago the worker that goes by a name or an id last
// gave a sign of life to any server, by the database's clock; NotFound when it
// never registered.
func (s *Store) WorkerSilence(ctx context.Context, org flovyn.OrgID, nameOrID string) (time.Duration, error) {
	silence, err := s.q.WorkerSilence(ctx, s.pool, org.UUID(), nameOrID)
	return silence, translate(err)
}

// Definitions lists what is known of an organization's kinds of a class.
func (s *Store) Definitions(ctx context.Context, org flovyn.OrgID, class flovyn.Class) ([]flovyn.Definition, error) {
	rows, err := s.q.DefinitionsList(ctx, s.pool, org.UUID(), string(class))
	if err != nil {
		return nil, translate(err)
	}
	definitions := make([]flovyn.Definition, len(rows))
	for i, r := range rows {
		definitions[i] = definitionOf(class, r)
	}
	return definitions, nil
}

func definitionOf(class flovyn.Class, r *pgq.Definition) flovyn.Definition {
	return flovyn.Definition{
		Capability: flovyn.Capability{
			Class: class, Kind: r.Kind, Name: r.Name, Description: r.Description, Version: r.Version,
			ContentHash: r.ContentHash, TimeoutSeconds: r.TimeoutSeconds, Cancellable: r.Cancellable, Tags: r.Tags,
			RetryPolicy: r.RetryPolicy, InputSchema: r.InputSchema, OutputSchema: r.OutputSchema, Metadata: r.Metadata,
		},
		FirstSeenAt: r.FirstSeenAt, LastRegisteredAt: r.LastRegisteredAt,
	}
}
