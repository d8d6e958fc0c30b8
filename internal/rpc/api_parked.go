package rpc

import (
	"context"

	"github.com/google/uuid"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// selection is what a request about parked work names.
type selection interface {
	GetIds() []string
	GetKind() string
	GetQueue() string
	GetAll() bool
}

// parked reads which parked work is meant.
func (d door) parked(ctx context.Context, slug string, s selection) (flovyn.OrgID, flovyn.ParkedQuery, error) {
	q := flovyn.ParkedQuery{Kind: s.GetKind(), Queue: s.GetQueue(), All: s.GetAll()}
	org, err := d.slugged(ctx, slug)
	if err != nil {
		return org, q, err
	}
	q.IDs = make([]uuid.UUID, len(s.GetIds()))
	for i, text := range s.GetIds() {
		if q.IDs[i], err = parseUUID("ids", text); err != nil {
			return org, q, err
		}
	}
	return org, q, nil
}

// ReleaseWorkflowExecutions gives parked executions to workers again.
func (h workflowExecutions) ReleaseWorkflowExecutions(
	ctx context.Context, req *apiv1.ReleaseWorkflowExecutionsRequest,
) (*apiv1.ReleaseWorkflowExecutionsResponse, error) {
	org, q, err := h.parked(ctx, req.GetOrg(), req.GetSelection())
	if err != nil {
		return nil, err
	}
	released, err := h.engine.ReleaseMany(ctx, org, q)
	if err != nil {
		return nil, err
	}
	return &apiv1.ReleaseWorkflowExecutionsResponse{Released: int32(released)}, nil
}

// TerminateParkedWorkflowExecutions ends parked executions.
func (h workflowExecutions) TerminateParkedWorkflowExecutions(
	ctx context.Context, req *apiv1.TerminateParkedWorkflowExecutionsRequest,
) (*apiv1.TerminateParkedWorkflowExecutionsResponse, error) {
	org, q, err := h.parked(ctx, req.GetOrg(), req.GetSelection())
	if err != nil {
		return nil, err
	}
	terminated, err := h.engine.TerminateMany(ctx, org, q, req.GetReason(), requester(ctx))
	if err != nil {
		return nil, err
	}
	return &apiv1.TerminateParkedWorkflowExecutionsResponse{Terminated: int32(terminated)}, nil
}

// ReleaseTaskExecutions gives parked tasks to workers again.
func (h taskExecutions) ReleaseTaskExecutions(
	ctx context.Context, req *apiv1.ReleaseTaskExecutionsRequest,
) (*apiv1.ReleaseTaskExecutionsResponse, error) {
	org, q, err := h.parked(ctx, req.GetOrg(), req)
	if err != nil {
		return nil, err
	}
	released, err := h.tasks.ReleaseMany(ctx, org, q)
	if err != nil {
		return nil, err
	}
	return &apiv1.ReleaseTaskExecutionsResponse{Released: int32(released)}, nil
}
