package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"

// schedules serves flovyn.api.v1.ScheduleService.
type schedules struct {
	apiv1connect.UnimplementedScheduleServiceHandler
	door
}
