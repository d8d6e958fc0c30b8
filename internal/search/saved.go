package search

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Save keeps a query under a name that is unique in the organization.
func (s *Searcher) Save(ctx context.Context, q flovyn.SavedQuery) (flovyn.SavedQuery, error) {
	if strings.TrimSpace(q.Name) == "" {
		return q, fault.InvalidField("name", "is required")
	}
	entity := fql.Entity(q.Entity)
	if entity.Fields() == nil {
		return q, fault.InvalidField("entity", "want one of workflow, task, workflowDefinition, taskDefinition")
	}
	if err := Check(entity, q.Query); err != nil {
		return q, err
	}
	q.ID = flovyn.NewUUID()
	return s.store.InsertSavedQuery(ctx, &q)
}

// Saved returns a query that the reader made or that is shared.
func (s *Searcher) Saved(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID) (flovyn.SavedQuery, error) {
	return s.store.SavedQuery(ctx, org, reader, id)
}

// ListSaved lists queries by name that the reader made or that are shared, and
// says how many there are. An empty entity stands for all.
func (s *Searcher) ListSaved(ctx context.Context, org flovyn.OrgID, reader, entity string, limit, offset int) ([]flovyn.SavedQuery, int64, error) {
	return s.store.SavedQueries(ctx, org, reader, entity, limit, offset)
}

// UpdateSaved changes a query. Only its maker can take it away from others.
func (s *Searcher) UpdateSaved(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID, c postgres.SavedQueryChange) (flovyn.SavedQuery, error) {
	if c.Name != nil && strings.TrimSpace(*c.Name) == "" {
		return flovyn.SavedQuery{}, fault.InvalidField("name", "is required")
	}
	q, err := s.store.SavedQuery(ctx, org, reader, id)
	if err != nil {
		return q, err
	}
	if c.Query != nil {
		if err := Check(fql.Entity(q.Entity), *c.Query); err != nil {
			return q, err
		}
	}
	if c.Shared != nil && !*c.Shared && q.CreatedBy != reader {
		return q, fault.New(fault.Denied, "Access denied: only %s can stop sharing this query", q.CreatedBy)
	}
	return s.store.UpdateSavedQuery(ctx, org, reader, id, c)
}

// DeleteSaved deletes a query that the reader made or that is shared.
func (s *Searcher) DeleteSaved(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID) error {
	return s.store.DeleteSavedQuery(ctx, org, reader, id)
}

// Results are what a saved query found: the page of its entity.
type Results struct {
	Entity      fql.Entity
	Workflows   Page[flovyn.WorkflowExecution]
	Tasks       Page[flovyn.TaskExecution]
	Definitions Page[postgres.DefinitionView]
}

// RunSaved runs a query that the reader made or that is shared, and notes its use.
func (s *Searcher) RunSaved(ctx context.Context, org flovyn.OrgID, reader string, id uuid.UUID, limit, offset int) (Results, error) {
	q, err := s.store.SavedQuery(ctx, org, reader, id)
	if err != nil {
		return Results{}, err
	}
	r := Results{Entity: fql.Entity(q.Entity)}
	req := Request{Org: org, Query: q.Query, Limit: limit, Offset: offset}
	switch r.Entity {
	case fql.Workflow:
		r.Workflows, err = s.Workflows(ctx, req)
	case fql.Task:
		r.Tasks, err = s.Tasks(ctx, req)
	case fql.WorkflowDefinition:
		r.Definitions, err = s.Definitions(ctx, flovyn.ClassWorkflow, req)
	case fql.TaskDefinition:
		r.Definitions, err = s.Definitions(ctx, flovyn.ClassTask, req)
	}
	if err != nil {
		return Results{}, err
	}
	return r, s.store.SavedQueryUsed(ctx, org, id)
}
