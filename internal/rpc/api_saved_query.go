package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// savedQueries serves flovyn.api.v1.SavedQueryService.
type savedQueries struct {
	apiv1connect.UnimplementedSavedQueryServiceHandler
	door
}
