package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// workers serves flovyn.api.v1.WorkerService.
type workers struct {
	apiv1connect.UnimplementedWorkerServiceHandler
	door
}
