package rpc

import (
	"context"
	"strings"
	"time"

	connect "connectrpc.com/connect/v2"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// watchInterval is how often a watched health is looked at.
const watchInterval = 2 * time.Second

// health serves grpc.health.v1.Health: the server as a whole, and each of its
// services, which are all in the same state.
type health struct {
	ready    func(ctx context.Context) error
	stopping <-chan struct{}
	services map[string]bool
}

// registerHealth adds the health service for all services registered before.
func registerHealth(server *connect.Server, h health) {
	h.services = map[string]bool{"": true}
	for spec := range server.Specs() {
		service, _, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
		h.services[service] = true
	}
	methods := healthpb.File_grpc_health_v1_health_proto.Services().ByName("Health").Methods()
	register := func(name string, shape connect.StreamType, handler connect.ServerFunc) {
		server.Register(connect.Method{
			Spec: connect.Spec{
				StreamType: shape, Procedure: "/grpc.health.v1.Health/" + name, Schema: methods.ByName(protoreflect.Name(name)),
			},
			Handler: handler,
		})
	}
	register("Check", connect.StreamTypeUnary, h.check)
	register("List", connect.StreamTypeUnary, h.list)
	register("Watch", connect.StreamTypeServer, h.watch)
}

func (h health) status(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	select {
	case <-h.stopping:
		return healthpb.HealthCheckResponse_NOT_SERVING
	default:
	}
	if h.ready(ctx) != nil {
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

func (h health) check(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var req healthpb.HealthCheckRequest
	if err := stream.Receive(&req); err != nil {
		return err
	}
	if !h.services[req.GetService()] {
		return fault.New(fault.NotFound, "unknown service")
	}
	return stream.Send(&healthpb.HealthCheckResponse{Status: h.status(ctx)})
}

func (h health) list(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	if err := stream.Receive(&healthpb.HealthListRequest{}); err != nil {
		return err
	}
	status := h.status(ctx)
	statuses := make(map[string]*healthpb.HealthCheckResponse, len(h.services))
	for service := range h.services {
		statuses[service] = &healthpb.HealthCheckResponse{Status: status}
	}
	return stream.Send(&healthpb.HealthListResponse{Statuses: statuses})
}

// watch sends the present status, and then every change, until the client or
// the server ends.
func (h health) watch(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var req healthpb.HealthCheckRequest
	if err := stream.Receive(&req); err != nil {
		return err
	}
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		status := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if h.services[req.GetService()] {
			status = h.status(ctx)
		}
		if status != last {
			last = status
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: status}); err != nil {
				return err
			}
		}
		select {
		case <-h.stopping:
			if last != healthpb.HealthCheckResponse_SERVING {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
