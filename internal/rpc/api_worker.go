package rpc

import (
	"context"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// workers serves flovyn.api.v1.WorkerService.
type workers struct {
	apiv1connect.UnimplementedWorkerServiceHandler
	door
}

// manyAtOnce bounds what is shown of one worker or kind without pages.
const manyAtOnce = 1000

// ListWorkers lists workers by name.
func (h workers) ListWorkers(ctx context.Context, req *apiv1.ListWorkersRequest) (*apiv1.ListWorkersResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	views, err := h.workers.List(ctx, org, req.GetType(), pageOf(req.Limit), int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ListWorkersResponse{Workers: workersOut(views)}, nil
}

// GetWorker returns a worker and what it can execute.
func (h workers) GetWorker(ctx context.Context, req *apiv1.GetWorkerRequest) (*apiv1.GetWorkerResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	parsed, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	id := flovyn.WorkerID(parsed)
	view, err := h.workers.Get(ctx, org, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetWorkerResponse{Worker: workerOut(&view)}
	for class, into := range map[flovyn.Class]*[]*apiv1.Definition{
		flovyn.ClassWorkflow: &out.WorkflowCapabilities, flovyn.ClassTask: &out.TaskCapabilities,
	} {
		found, err := h.workers.Definitions(ctx, postgres.DefinitionQuery{Org: org, Class: class, Worker: id, Limit: manyAtOnce})
		if err != nil {
			return nil, err
		}
		*into = definitionsOut(found)
	}
	return out, nil
}

// get returns a definition and its workers.
func (h workers) get(ctx context.Context, slug string, class flovyn.Class, kind string) (*apiv1.Definition, []*apiv1.Worker, error) {
	org, err := h.slugged(ctx, slug)
	if err != nil {
		return nil, nil, err
	}
	if err := required("kind", kind); err != nil {
		return nil, nil, err
	}
	found, err := h.workers.Definitions(ctx, postgres.DefinitionQuery{Org: org, Class: class, Kind: kind, Limit: 1})
	if err != nil {
		return nil, nil, err
	}
	if len(found) == 0 {
		return nil, nil, fault.New(fault.NotFound, "%s definition %q not found", class, kind)
	}
	able, err := h.workers.OfKind(ctx, org, class, kind, manyAtOnce)
	return definitionOut(&found[0]), workersOut(able), err
}

// GetWorkflowDefinition returns a workflow kind and who can execute it.
func (h workers) GetWorkflowDefinition(
	ctx context.Context, req *apiv1.GetWorkflowDefinitionRequest,
) (*apiv1.GetWorkflowDefinitionResponse, error) {
	definition, able, err := h.get(ctx, req.GetOrg(), flovyn.ClassWorkflow, req.GetKind())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetWorkflowDefinitionResponse{Definition: definition, Workers: able}, nil
}

// GetTaskDefinition returns a task kind and who can execute it.
func (h workers) GetTaskDefinition(
	ctx context.Context, req *apiv1.GetTaskDefinitionRequest,
) (*apiv1.GetTaskDefinitionResponse, error) {
	definition, able, err := h.get(ctx, req.GetOrg(), flovyn.ClassTask, req.GetKind())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetTaskDefinitionResponse{Definition: definition, Workers: able}, nil
}

// ListQueues lists the queues that have work waiting or workers polling.
func (h workers) ListQueues(ctx context.Context, req *apiv1.ListQueuesRequest) (*apiv1.ListQueuesResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	views, err := h.engine.Queues(ctx, org)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListQueuesResponse{Queues: make([]*apiv1.Queue, len(views))}
	for i, v := range views {
		out.Queues[i] = &apiv1.Queue{
			Name: v.Queue, Class: string(v.Class), Depth: v.Depth, DepthIsCapped: v.Capped, OldestAt: at(v.OldestAt),
			Pollers: int32(v.Pollers),
		}
	}
	return out, nil
}
