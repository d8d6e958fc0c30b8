package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// promises serves flovyn.api.v1.PromiseService.
type promises struct {
	apiv1connect.UnimplementedPromiseServiceHandler
	door
}
