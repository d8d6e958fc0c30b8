package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// organizations serves flovyn.api.v1.OrganizationService.
type organizations struct {
	apiv1connect.UnimplementedOrganizationServiceHandler
	door
}

// identity serves flovyn.api.v1.IdentityService.
type identity struct {
	apiv1connect.UnimplementedIdentityServiceHandler
	door
}
