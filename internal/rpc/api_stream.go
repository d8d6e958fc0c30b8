package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// streams serves flovyn.api.v1.StreamService.
type streams struct {
	apiv1connect.UnimplementedStreamServiceHandler
	door
}
