package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// workerTokens serves flovyn.api.v1.WorkerTokenService.
type workerTokens struct {
	apiv1connect.UnimplementedWorkerTokenServiceHandler
	door
}
