package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// metadataFields serves flovyn.api.v1.MetadataFieldService.
type metadataFields struct {
	apiv1connect.UnimplementedMetadataFieldServiceHandler
	door
}
