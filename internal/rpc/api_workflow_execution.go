package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// workflowExecutions serves flovyn.api.v1.WorkflowExecutionService.
type workflowExecutions struct {
	apiv1connect.UnimplementedWorkflowExecutionServiceHandler
	door
}
