package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// queryLanguage serves flovyn.api.v1.QueryLanguageService.
type queryLanguage struct {
	apiv1connect.UnimplementedQueryLanguageServiceHandler
	door
}
