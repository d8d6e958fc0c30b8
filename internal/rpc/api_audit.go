package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// audits serves flovyn.api.v1.AuditService.
type audits struct {
	apiv1connect.UnimplementedAuditServiceHandler
	door
}
