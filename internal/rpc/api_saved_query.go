package rpc

import (
	"context"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// savedQueries serves flovyn.api.v1.SavedQueryService.
type savedQueries struct {
	apiv1connect.UnimplementedSavedQueryServiceHandler
	door
}

// asker returns the organization that a request names, and who asks.
func (d door) asker(ctx context.Context, slug string) (org flovyn.OrgID, who string, err error) {
	c, ok := caller.From(ctx)
	if !ok {
		return org, "", fault.New(fault.Unauthenticated, "Authentication required")
	}
	org, err = d.slugged(ctx, slug)
	return org, c.Label(), err
}

// CreateSavedQuery saves a query.
func (h savedQueries) CreateSavedQuery(ctx context.Context, req *apiv1.CreateSavedQueryRequest) (*apiv1.CreateSavedQueryResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	q, err := h.search.Save(ctx, flovyn.SavedQuery{
		Org: org, Name: req.GetName(), Description: req.Description, Entity: req.GetEntity(), Query: req.GetQuery(),
		Shared: req.GetIsShared(), CreatedBy: who,
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateSavedQueryResponse{SavedQuery: savedQueryOut(q)}, nil
}

// ListSavedQueries lists the caller's queries and those that others share.
func (h savedQueries) ListSavedQueries(ctx context.Context, req *apiv1.ListSavedQueriesRequest) (*apiv1.ListSavedQueriesResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	queries, total, err := h.search.ListSaved(ctx, org, who, req.GetEntity(), limit, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ListSavedQueriesResponse{
		Queries: convert(queries, savedQueryOut), Total: total, Limit: int32(limit), Offset: req.GetOffset(),
	}, nil
}

// GetSavedQuery returns a query.
func (h savedQueries) GetSavedQuery(ctx context.Context, req *apiv1.GetSavedQueryRequest) (*apiv1.GetSavedQueryResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	q, err := h.search.Saved(ctx, org, who, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetSavedQueryResponse{SavedQuery: savedQueryOut(q)}, nil
}

// UpdateSavedQuery changes a query.
func (h savedQueries) UpdateSavedQuery(ctx context.Context, req *apiv1.UpdateSavedQueryRequest) (*apiv1.UpdateSavedQueryResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	q, err := h.search.UpdateSaved(ctx, org, who, id, postgres.SavedQueryChange{
		Name: req.Name, Description: req.Description, Query: req.Query, Shared: req.IsShared,
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateSavedQueryResponse{SavedQuery: savedQueryOut(q)}, nil
}

// DeleteSavedQuery deletes a query.
func (h savedQueries) DeleteSavedQuery(ctx context.Context, req *apiv1.DeleteSavedQueryRequest) (*apiv1.DeleteSavedQueryResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	return &apiv1.DeleteSavedQueryResponse{}, h.search.DeleteSaved(ctx, org, who, id)
}

// ExecuteSavedQuery runs a query.
func (h savedQueries) ExecuteSavedQuery(ctx context.Context, req *apiv1.ExecuteSavedQueryRequest) (*apiv1.ExecuteSavedQueryResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	r, err := h.search.RunSaved(ctx, org, who, id, limit, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ExecuteSavedQueryResponse{
		Entity: string(r.Entity), Workflows: convert(r.Workflows.Items, summaryOut), Tasks: convert(r.Tasks.Items, listedTaskOut),
		Kinds: convert(r.Definitions.Items, func(d *postgres.DefinitionView) string { return d.Kind }),
		// Two of the three are zero.
		Total:         int64(r.Workflows.Total + r.Tasks.Total + r.Definitions.Total),
		TotalIsCapped: r.Workflows.TotalIsCapped || r.Tasks.TotalIsCapped || r.Definitions.TotalIsCapped,
		Limit:         int32(limit), Offset: req.GetOffset(),
	}, nil
}

func savedQueryOut(q flovyn.SavedQuery) *apiv1.SavedQuery {
	return &apiv1.SavedQuery{
		Id: q.ID.String(), Name: q.Name, Description: q.Description, Entity: q.Entity, Query: q.Query, IsShared: q.Shared,
		CreatedBy: q.CreatedBy, UseCount: q.UseCount, LastUsedAt: maybeAt(q.LastUsedAt), CreatedAt: at(q.CreatedAt), UpdatedAt: at(q.UpdatedAt),
	}
}
