package client

import (
	"context"
	"fmt"
	"net/url"

	connect "connectrpc.com/connect/v2"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
)

// Management holds the service clients of the management API, flovyn.api.v1: what
// people and their tools do. The server answers it on its HTTP port.
type Management struct {
	Executions    apiv1connect.WorkflowExecutionServiceClient
	Tasks         apiv1connect.TaskExecutionServiceClient
	Workers       apiv1connect.WorkerServiceClient
	Schedules     apiv1connect.ScheduleServiceClient
	Promises      apiv1connect.PromiseServiceClient
	Organizations apiv1connect.OrganizationServiceClient
	Identity      apiv1connect.IdentityServiceClient
	Tokens        apiv1connect.WorkerTokenServiceClient
	Metadata      apiv1connect.MetadataFieldServiceClient
	Queries       apiv1connect.SavedQueryServiceClient
	Language      apiv1connect.QueryLanguageServiceClient
	Audit         apiv1connect.AuditServiceClient
	Streams       apiv1connect.StreamServiceClient
}

// Management returns the clients of the management API, on the same connections.
func (c *Client) Management() *Management {
	return &Management{
		Executions:    apiv1connect.NewWorkflowExecutionServiceClient(c.rpc),
		Tasks:         apiv1connect.NewTaskExecutionServiceClient(c.rpc),
		Workers:       apiv1connect.NewWorkerServiceClient(c.rpc),
		Schedules:     apiv1connect.NewScheduleServiceClient(c.rpc),
		Promises:      apiv1connect.NewPromiseServiceClient(c.rpc),
		Organizations: apiv1connect.NewOrganizationServiceClient(c.rpc),
		Identity:      apiv1connect.NewIdentityServiceClient(c.rpc),
		Tokens:        apiv1connect.NewWorkerTokenServiceClient(c.rpc),
		Metadata:      apiv1connect.NewMetadataFieldServiceClient(c.rpc),
		Queries:       apiv1connect.NewSavedQueryServiceClient(c.rpc),
		Language:      apiv1connect.NewQueryLanguageServiceClient(c.rpc),
		Audit:         apiv1connect.NewAuditServiceClient(c.rpc),
		Streams:       apiv1connect.NewStreamServiceClient(c.rpc),
	}
}

// CheckHealth asks the server by grpc.health.v1 whether it serves. With the
// protocol GRPC it also proves that gRPC passes on the way there.
func (c *Client) CheckHealth(ctx context.Context) error {
	var answer healthpb.HealthCheckResponse
	spec := connect.Spec{
		StreamType: connect.StreamTypeUnary, Procedure: "/grpc.health.v1.Health/Check",
		Schema: healthpb.File_grpc_health_v1_health_proto.Services().ByName("Health").Methods().ByName("Check"),
	}
	if err := c.rpc.CallUnary(ctx, spec, &healthpb.HealthCheckRequest{}, &answer); err != nil {
		return fmt.Errorf("asking for the server's health: %w", err)
	}
	if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("the server says of itself that it is %s", answer.GetStatus())
	}
	return nil
}

// Confidential reports whether a secret may be sent to an address: it is
// encrypted on the way, or does not leave this machine.
func Confidential(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && parsed.Host != "" && (parsed.Scheme == "http" || parsed.Scheme == "https") && confidential(parsed)
}
