package rpc

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// taskExecution serves flovyn.v1.TaskExecution.
type taskExecution struct{ door }

// SubmitTask creates a task or finds the one of its idempotency key.
func (h taskExecution) SubmitTask(ctx context.Context, req *flovynv1.SubmitTaskRequest) (*flovynv1.SubmitTaskResponse, error) {
	submit, err := h.submitRequestOf(ctx, req)
	if err != nil {
		return nil, err
	}
	submitted, err := h.tasks.Submit(ctx, submit)
	if err != nil {
		return nil, err
	}
	return &flovynv1.SubmitTaskResponse{
		TaskExecutionId: submitted.ID.String(), IdempotencyKeyUsed: submitted.KeyUsed, IdempotencyKeyNew: submitted.KeyNew,
	}, nil
}

func (h taskExecution) submitRequestOf(ctx context.Context, req *flovynv1.SubmitTaskRequest) (task.SubmitRequest, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return task.SubmitRequest{}, err
	}
	if err := required("kind", req.GetKind()); err != nil {
		return task.SubmitRequest{}, err
	}
	parent, err := parseParent("workflow_execution_id", req.GetWorkflowExecutionId())
	if err != nil {
		return task.SubmitRequest{}, err
	}
	timeout, err := millis("timeout_ms", req.GetTimeoutMs())
	if err != nil {
		return task.SubmitRequest{}, err
	}
	ttl, err := keyTTL("idempotency_key_ttl_seconds", req.IdempotencyKeyTtlSeconds)
	return task.SubmitRequest{
		Org: org, Workflow: parent, Kind: req.GetKind(), Input: req.GetInput(), Queue: req.GetQueue(),
		MaxRetries: req.GetMaxRetries(), Timeout: timeout, Metadata: req.GetMetadata(),
		IdempotencyKey: req.GetIdempotencyKey(), KeyTTL: ttl,
	}, err
}

// PollTask claims a task. When the client has gone meanwhile, or its credential is
// good no longer, the claim is undone.
func (h taskExecution) PollTask(ctx context.Context, req *flovynv1.PollTaskRequest) (*flovynv1.PollTaskResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	if err := required("worker_id", req.GetWorkerId()); err != nil {
		return nil, err
	}
	poll, end, err := h.workers.BeginPoll(ctx, worker.PollRequest{
		Org: org, Worker: req.GetWorkerId(), Peer: peer(ctx), Class: flovyn.ClassTask, Timeout: pollTimeout(req.GetTimeoutSeconds()),
	})
	if err != nil {
		return nil, err
	}
	defer end()
	assignment, err := h.tasks.Poll(ctx, wake.Key{Org: org, Queue: cmp.Or(req.GetQueue(), flovyn.DefaultQueue)}, poll.Poller, poll.Hold)
	if err != nil || assignment == nil {
		return &flovynv1.PollTaskResponse{}, err
	}
	if err := stillThere(ctx); err != nil {
		h.tasks.Return(context.WithoutCancel(ctx), *assignment)
		return nil, err
	}
	h.assigned(assignment)
	return &flovynv1.PollTaskResponse{Task: taskOut(assignment)}, nil
}

// CompleteTask records the output of a running task.
func (h taskExecution) CompleteTask(ctx context.Context, req *flovynv1.CompleteTaskRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.Complete(ctx, org, id, req.GetOutput()))
}

// FailTask records a failed attempt of a running task.
func (h taskExecution) FailTask(ctx context.Context, req *flovynv1.FailTaskRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.Fail(ctx, org, id, req.GetError()))
}

// ReportProgress stores how far a task has come.
func (h taskExecution) ReportProgress(ctx context.Context, req *flovynv1.ReportProgressRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.ReportProgress(ctx, org, id, req.GetProgress(), req.GetDetails()))
}

// Heartbeat tells that a task is still being worked on.
func (h taskExecution) Heartbeat(ctx context.Context, req *flovynv1.HeartbeatRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.Heartbeat(ctx, org, id))
}

// CancelTask cancels a task that has not ended.
func (h taskExecution) CancelTask(ctx context.Context, req *flovynv1.CancelTaskRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.Cancel(ctx, org, id, ""))
}

// LogMessage stores one log line of a task.
func (h taskExecution) LogMessage(ctx context.Context, req *flovynv1.LogMessageRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.Log(ctx, org, id, req.GetLevel(), req.GetMessage()))
}

// GetState reads one value that a task keeps.
func (h taskExecution) GetState(ctx context.Context, req *flovynv1.GetStateRequest) (*flovynv1.GetStateResponse, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	value, found, err := h.tasks.GetState(ctx, org, id, req.GetKey())
	if err != nil {
		return nil, err
	}
	return &flovynv1.GetStateResponse{Value: value, Found: found}, nil
}

// SetState stores one value for a task to keep.
func (h taskExecution) SetState(ctx context.Context, req *flovynv1.SetStateRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.SetState(ctx, org, id, req.GetKey(), req.GetValue()))
}

// ClearState forgets one value of a task.
func (h taskExecution) ClearState(ctx context.Context, req *flovynv1.ClearStateRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.ClearState(ctx, org, id, req.GetKey()))
}

// ClearAllState forgets every value of a task.
func (h taskExecution) ClearAllState(ctx context.Context, req *flovynv1.ClearAllStateRequest) (*emptypb.Empty, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	return done(h.tasks.ClearAllState(ctx, org, id))
}

// GetStateKeys lists the keys under which a task keeps values.
func (h taskExecution) GetStateKeys(ctx context.Context, req *flovynv1.GetStateKeysRequest) (*flovynv1.GetStateKeysResponse, error) {
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	keys, err := h.tasks.StateKeys(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &flovynv1.GetStateKeysResponse{Keys: keys}, nil
}

// frameTypes are the sorts of frame as watchers know them. What an SDK does not
// name is data.
var frameTypes = map[flovynv1.StreamEventType]string{
	flovynv1.StreamEventType_STREAM_EVENT_TYPE_UNSPECIFIED: "data",
	flovynv1.StreamEventType_TOKEN:                         "token",
	flovynv1.StreamEventType_PROGRESS:                      "progress",
	flovynv1.StreamEventType_DATA:                          "data",
	flovynv1.StreamEventType_ERROR:                         "error",
}

// StreamTaskData publishes one frame to whoever watches. They parse what they
// receive, so a payload that is no JSON is refused, as it is everywhere else.
func (h taskExecution) StreamTaskData(ctx context.Context, req *flovynv1.StreamTaskDataRequest) (*flovynv1.StreamTaskDataResponse, error) {
	if _, err := parseParent("workflow_execution_id", req.GetWorkflowExecutionId()); err != nil {
		return nil, err
	}
	kind, ok := frameTypes[req.GetType()]
	if !ok {
		return nil, fault.InvalidField("type", "%d is not a type of stream event", req.GetType())
	}
	org, id, err := h.task(ctx, req.GetTaskExecutionId())
	if err != nil {
		return nil, err
	}
	frame := task.Frame{Sequence: req.GetSequence(), Type: kind, Payload: []byte(req.GetPayload()), At: time.UnixMilli(req.GetTimestampMs())}
	if err := h.tasks.Stream(ctx, org, id, frame); err != nil {
		return nil, err
	}
	return &flovynv1.StreamTaskDataResponse{Acknowledged: true}, nil
}

// task reads the id of a request about an existing task, and says whose it must
// be.
func (d door) task(ctx context.Context, text string) (flovyn.OrgID, flovyn.TaskID, error) {
	id, err := parseTask("task_execution_id", text)
	if err != nil {
		return flovyn.OrgID{}, id, err
	}
	org, err := own(ctx, func() (flovyn.OrgID, error) { return d.tasks.Locate(ctx, id) })
	return org, id, err
}
