package rpc

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/emptypb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// workerLifecycle serves flovyn.v1.WorkerLifecycle.
type workerLifecycle struct{ door }

// RegisterWorker records a worker and what it can execute.
func (h workerLifecycle) RegisterWorker(ctx context.Context, req *flovynv1.WorkerRegistrationRequest) (*flovynv1.WorkerRegistrationResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	registration, err := registrationOf(org, req, h.engine.MaxPayload())
	if err != nil {
		return nil, err
	}
	id, err := h.workers.Register(ctx, registration, peer(ctx))
	if err != nil {
		return nil, err
	}
	return &flovynv1.WorkerRegistrationResponse{WorkerId: id.String(), Success: true}, nil
}

// SendHeartbeat is a registered worker's sign of life.
func (h workerLifecycle) SendHeartbeat(ctx context.Context, req *flovynv1.WorkerHeartbeatRequest) (*emptypb.Empty, error) {
	uuid, err := parseUUID("worker_id", req.GetWorkerId())
	if err != nil {
		return nil, err
	}
	id := flovyn.WorkerID(uuid)
	org, err := own(ctx, func() (flovyn.OrgID, error) { return h.workers.LocateWorker(ctx, id) })
	if err != nil {
		return nil, err
	}
	return done(h.workers.Heartbeat(ctx, org, id))
}

// registrationOf takes the type of the worker as it stands: the documented ones
// are WORKFLOW, TASK and UNIFIED, but SDKs send what they like, and nothing
// depends on it.
func registrationOf(org flovyn.OrgID, req *flovynv1.WorkerRegistrationRequest, payloadLimit int) (*flovyn.Registration, error) {
	if err := required("worker_name", req.GetWorkerName()); err != nil {
		return nil, err
	}
	metadata, err := history.Payload("metadata", req.GetMetadata(), payloadLimit)
	if err != nil {
		return nil, err
	}
	capabilities, err := capabilitiesOf(req, payloadLimit)
	return &flovyn.Registration{
		Org: org, Name: req.GetWorkerName(), Version: req.GetWorkerVersion(), Type: req.GetWorkerType(),
		HostName: req.GetHostName(), ProcessID: req.GetProcessId(), Metadata: metadata, Capabilities: capabilities,
	}, err
}

// capabilitiesOf reads the three lists of kinds into one. Native cores send
// tasks with nothing but a kind.
func capabilitiesOf(req *flovynv1.WorkerRegistrationRequest, payloadLimit int) ([]flovyn.Capability, error) {
	var all []flovyn.Capability
	for i, c := range req.GetWorkflows() {
		checked, err := checkCapability(path("workflows", i), payloadLimit, flovyn.Capability{
			Class: flovyn.ClassWorkflow, Kind: c.GetKind(), Name: c.GetName(), Description: c.GetDescription(),
			Version: c.GetVersion(), ContentHash: c.GetContentHash(), TimeoutSeconds: c.TimeoutSeconds,
			Cancellable: c.GetCancellable(), Tags: c.GetTags(), RetryPolicy: c.GetRetryPolicy(),
			InputSchema: c.GetInputSchema(), OutputSchema: c.GetOutputSchema(), Metadata: c.GetMetadata(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, checked)
	}
	for i, c := range req.GetTasks() {
		checked, err := checkCapability(path("tasks", i), payloadLimit, flovyn.Capability{
			Class: flovyn.ClassTask, Kind: c.GetKind(), Name: c.GetName(), Description: c.GetDescription(),
			TimeoutSeconds: c.TimeoutSeconds, Cancellable: c.GetCancellable(), Tags: c.GetTags(),
			RetryPolicy: c.GetRetryPolicy(), InputSchema: c.GetInputSchema(), OutputSchema: c.GetOutputSchema(),
			Metadata: c.GetMetadata(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, checked)
	}
	for i, c := range req.GetAgents() {
		checked, err := checkCapability(path("agents", i), payloadLimit, flovyn.Capability{
			Class: flovyn.ClassAgent, Kind: c.GetKind(), Name: c.GetName(), Description: c.GetDescription(),
			InputSchema: c.GetInputSchema(), Metadata: c.GetMetadata(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, checked)
	}
	return all, nil
}

func path(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]." }

// checkCapability refuses what can never be right, and takes everything else as
// the worker describes it: the server executes none of it.
func checkCapability(path string, payloadLimit int, c flovyn.Capability) (flovyn.Capability, error) {
	if err := required(path+"kind", c.Kind); err != nil {
		return c, err
	}
	if c.TimeoutSeconds != nil && *c.TimeoutSeconds < 0 {
		return c, fault.InvalidField(path+"timeout_seconds", "%d is negative", *c.TimeoutSeconds)
	}
	for name, value := range map[string]*[]byte{
		"retry_policy": &c.RetryPolicy, "input_schema": &c.InputSchema, "output_schema": &c.OutputSchema, "metadata": &c.Metadata,
	} {
		checked, err := history.Payload(path+name, *value, payloadLimit)
		if err != nil {
			return c, err
		}
		*value = checked
	}
	return c, nil
}
