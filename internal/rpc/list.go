package rpc

import (
	"cmp"
	"context"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/search"
)

// defaultWorkflows is how many executions a list holds that is not told.
const defaultWorkflows = 20

// ListWorkflowExecutions lists executions.
func (h workflowExecutions) ListWorkflowExecutions(ctx context.Context, req *apiv1.ListWorkflowExecutionsRequest) (*apiv1.ListWorkflowExecutionsResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	limit := int(cmp.Or(req.GetLimit(), defaultWorkflows))
	page, err := h.search.Workflows(ctx, search.Request{
		Org: org, Query: req.GetQuery(), Limit: limit, Offset: int(req.GetOffset()), Token: req.GetPageToken(),
		Equal: []search.Equal{{Field: "status", Value: req.GetStatus()}, {Field: "kind", Value: req.GetKind()}},
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.ListWorkflowExecutionsResponse{
		Workflows: convert(page.Items, summaryOut), Total: int64(page.Total), TotalIsCapped: page.TotalIsCapped,
		Limit: int32(limit), Offset: req.GetOffset(), NextPageToken: maybe(page.Next),
	}, nil
}

// ListTaskExecutions lists tasks.
func (h taskExecutions) ListTaskExecutions(ctx context.Context, req *apiv1.ListTaskExecutionsRequest) (*apiv1.ListTaskExecutionsResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	page, err := h.search.Tasks(ctx, search.Request{
		Org: org, Query: req.GetQuery(), Limit: limit, Offset: int(req.GetOffset()), Token: req.GetPageToken(),
		Equal: []search.Equal{
			{Field: "status", Value: req.GetStatus()}, {Field: "kind", Value: req.GetKind()}, {Field: "queue", Value: req.GetQueue()},
		},
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.ListTaskExecutionsResponse{
		Tasks: convert(page.Items, listedTaskOut), Total: int64(page.Total), TotalIsCapped: page.TotalIsCapped,
		Limit: int32(limit), Offset: req.GetOffset(), NextPageToken: maybe(page.Next),
	}, nil
}

// ListWorkflowDefinitions lists workflow kinds.
func (h workers) ListWorkflowDefinitions(ctx context.Context, req *apiv1.ListWorkflowDefinitionsRequest) (*apiv1.ListWorkflowDefinitionsResponse, error) {
	found, err := h.definitions(ctx, flovyn.ClassWorkflow, req.GetOrg(), search.Request{
		Query: req.GetQuery(), Limit: pageOf(req.Limit), Offset: int(req.GetOffset()),
	})
	return &apiv1.ListWorkflowDefinitionsResponse{Definitions: found}, err
}

// ListTaskDefinitions lists task kinds.
func (h workers) ListTaskDefinitions(ctx context.Context, req *apiv1.ListTaskDefinitionsRequest) (*apiv1.ListTaskDefinitionsResponse, error) {
	found, err := h.definitions(ctx, flovyn.ClassTask, req.GetOrg(), search.Request{
		Query: req.GetQuery(), Limit: pageOf(req.Limit), Offset: int(req.GetOffset()),
	})
	return &apiv1.ListTaskDefinitionsResponse{Definitions: found}, err
}

func (h workers) definitions(ctx context.Context, class flovyn.Class, slug string, req search.Request) (_ []*apiv1.Definition, err error) {
	if req.Org, err = h.slugged(ctx, slug); err != nil {
		return nil, err
	}
	page, err := h.search.Definitions(ctx, class, req)
	return convert(page.Items, definitionOut), err
}

// convert makes messages of what was found.
func convert[T, M any](items []T, one func(T) M) []M {
	out := make([]M, len(items))
	for i, item := range items {
		out[i] = one(item)
	}
	return out
}

func summaryOut(w *flovyn.WorkflowExecution) *apiv1.WorkflowExecutionSummary {
	return &apiv1.WorkflowExecutionSummary{
		Id: w.ID.String(), Kind: w.Kind, Status: string(w.Status), Queue: w.Queue, WorkflowVersion: maybe(w.Version),
		ParentWorkflowExecutionId: maybeID(w.Parent.UUID()), Metadata: metadataOut(w.Metadata),
		CreatedAt: at(w.CreatedAt), StartedAt: at(w.StartedAt), CompletedAt: at(w.EndedAt), UpdatedAt: at(w.UpdatedAt), ParkedReason: maybe(w.ParkedReason),
	}
}

// listedTaskOut is a task without what may be large.
func listedTaskOut(t *flovyn.TaskExecution) *apiv1.TaskExecution {
	return &apiv1.TaskExecution{
		Id: t.ID.String(), OrgId: t.Org.String(), WorkflowExecutionId: maybeID(t.Workflow.UUID()), Kind: t.Kind,
		Status: string(t.Status), Queue: t.Queue, ExecutionCount: t.Attempt, MaxRetries: t.MaxRetries,
		Error: maybe(t.Error), WorkerId: maybe(t.WorkerID), Metadata: metadataOut(t.Metadata),
		CreatedAt: at(t.CreatedAt), StartedAt: at(t.StartedAt), CompletedAt: at(t.EndedAt),
	}
}
