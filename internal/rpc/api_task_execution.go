package rpc

import (
	"context"
	"time"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/task"
)

// taskExecutions serves flovyn.api.v1.TaskExecutionService.
type taskExecutions struct {
	apiv1connect.UnimplementedTaskExecutionServiceHandler
	door
}

// CreateTaskExecution creates a task of no workflow, or finds the one of its key.
func (h taskExecutions) CreateTaskExecution(
	ctx context.Context, req *apiv1.CreateTaskExecutionRequest,
) (*apiv1.CreateTaskExecutionResponse, error) {
	submit, err := h.submitRequestOf(ctx, req)
	if err != nil {
		return nil, err
	}
	submitted, err := h.tasks.Submit(ctx, submit)
	if err != nil {
		return nil, err
	}
	view, err := h.tasks.View(ctx, submit.Org, submitted.ID)
	if err != nil {
		return nil, err
	}
	out := taskExecutionOut(&view)
	out.IdempotencyKeyUsed, out.IdempotencyKeyNew = &submitted.KeyUsed, &submitted.KeyNew
	return &apiv1.CreateTaskExecutionResponse{Task: out, Created: !submitted.KeyUsed || submitted.KeyNew}, nil
}

func (h taskExecutions) submitRequestOf(ctx context.Context, req *apiv1.CreateTaskExecutionRequest) (task.SubmitRequest, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return task.SubmitRequest{}, err
	}
	if err := required("kind", req.GetKind()); err != nil {
		return task.SubmitRequest{}, err
	}
	ttl, err := keyTTLText("idempotency_key_ttl", req.IdempotencyKeyTtl)
	if err != nil {
		return task.SubmitRequest{}, err
	}
	if err := checkMetadata(req.GetMetadata()); err != nil {
		return task.SubmitRequest{}, err
	}
	timeout := time.Duration(req.GetTimeoutSeconds()) * time.Second
	if timeout > flovyn.MaxDelay {
		return task.SubmitRequest{}, fault.InvalidField("timeout_seconds", "out of range")
	}
	input, err := history.Payload("input", req.GetInput(), h.engine.MaxPayload())
	if err != nil {
		return task.SubmitRequest{}, err
	}
	if len(input) == 0 {
		input = []byte("{}")
	}
	if err := h.checkInput(ctx, org, flovyn.ClassTask, req.GetKind(), input); err != nil {
		return task.SubmitRequest{}, err
	}
	return task.SubmitRequest{
		Org: org, Kind: req.GetKind(), Input: input, Queue: req.GetQueue(), MaxRetries: req.GetMaxRetries(),
		NoRetries: req.MaxRetries != nil, Timeout: timeout, Metadata: req.GetMetadata(),
		IdempotencyKey: req.GetIdempotencyKey(), KeyTTL: ttl, SameKind: true,
	}, nil
}

// oneTask reads which task a request is about.
func (d door) oneTask(ctx context.Context, req about) (flovyn.OrgID, flovyn.TaskID, error) {
	org, err := d.slugged(ctx, req.GetOrg())
	if err != nil {
		return org, flovyn.TaskID{}, err
	}
	id, err := parseTask("id", req.GetId())
	return org, id, err
}

// GetTaskExecution returns a task of no workflow.
func (h taskExecutions) GetTaskExecution(
	ctx context.Context, req *apiv1.GetTaskExecutionRequest,
) (*apiv1.GetTaskExecutionResponse, error) {
	org, id, err := h.oneTask(ctx, req)
	if err != nil {
		return nil, err
	}
	view, err := h.tasks.ViewStandalone(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetTaskExecutionResponse{Task: taskExecutionOut(&view)}, nil
}

// CancelTaskExecution cancels a task that no worker has yet.
func (h taskExecutions) CancelTaskExecution(
	ctx context.Context, req *apiv1.CancelTaskExecutionRequest,
) (*apiv1.CancelTaskExecutionResponse, error) {
	org, id, err := h.oneTask(ctx, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.CancelTaskExecutionResponse{}, h.tasks.CancelWaiting(ctx, org, id)
}

// ListTaskAttempts returns the attempts of a task of no workflow.
func (h taskExecutions) ListTaskAttempts(
	ctx context.Context, req *apiv1.ListTaskAttemptsRequest,
) (*apiv1.ListTaskAttemptsResponse, error) {
	org, id, err := h.oneTask(ctx, req)
	if err != nil {
		return nil, err
	}
	view, err := h.tasks.ViewStandalone(ctx, org, id)
	if err != nil {
		return nil, err
	}
	attempts, err := h.tasks.Attempts(ctx, &view)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListTaskAttemptsResponse{Attempts: attemptsOut(attempts)}, nil
}

// defaultPage is how many entries a list holds that is not told.
const defaultPage = 50

func pageOf(limit *int32) int {
	if limit == nil {
		return defaultPage
	}
	return int(*limit)
}

// ListTaskLogs returns what a task logged, of a workflow or of none.
func (h taskExecutions) ListTaskLogs(
	ctx context.Context, req *apiv1.ListTaskLogsRequest,
) (*apiv1.ListTaskLogsResponse, error) {
	org, id, err := h.oneTask(ctx, req)
	if err != nil {
		return nil, err
	}
	if _, err := h.tasks.Find(ctx, org, id); err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	lines, total, err := h.tasks.Logs(ctx, org, id, req.GetLevel(), limit, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListTaskLogsResponse{
		Logs: make([]*apiv1.TaskLog, len(lines)), Total: total, Limit: int32(limit), Offset: req.GetOffset(),
	}
	for i, line := range lines {
		out.Logs[i] = &apiv1.TaskLog{Id: logID(line.ID), Level: line.Level, Message: line.Message, Timestamp: at(line.At)}
	}
	return out, nil
}
