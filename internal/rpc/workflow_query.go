package rpc

import (
	"context"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// workflowQuery serves flovyn.v1.WorkflowQuery.
type workflowQuery struct{ door }

// QueryWorkflow answers from the workflow's recorded state. The response's error
// is present only when there is no answer: SDKs take even an empty one for a
// failure.
func (h workflowQuery) QueryWorkflow(ctx context.Context, req *flovynv1.QueryWorkflowRequest) (*flovynv1.QueryWorkflowResponse, error) {
	org, id, err := h.execution(ctx, req.GetWorkflowExecutionId())
	if err != nil {
		return nil, err
	}
	result, problem, err := h.engine.Query(ctx, org, id, req.GetQueryName(), req.GetParams())
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return &flovynv1.QueryWorkflowResponse{Error: &problem}, nil
	}
	return &flovynv1.QueryWorkflowResponse{Result: result}, nil
}
