package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// taskExecutions serves flovyn.api.v1.TaskExecutionService.
type taskExecutions struct {
	apiv1connect.UnimplementedTaskExecutionServiceHandler
	door
}
