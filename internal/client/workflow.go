package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	connect "connectrpc.com/connect/v2"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Start describes a workflow execution to start.
type Start struct {
	// Org is the organization's UUID.
	Org string
	// Kind is the workflow that a worker has registered, or will.
	Kind string
	// Input is encoded as JSON.
	Input any
	// Queue is where workers look for it; flovyn.DefaultQueue when empty.
	Queue string
	// IdempotencyKey makes a repeated start return the first execution.
	IdempotencyKey string
	// Metadata is shown to people.
	Metadata map[string]string
}

// StartWorkflow starts an execution and returns its id.
func (c *Client) StartWorkflow(ctx context.Context, start Start) (string, error) {
	input, err := json.Marshal(start.Input)
	if err != nil {
		return "", fmt.Errorf("encoding the input of workflow %s: %w", start.Kind, err)
	}
	req := &flovynv1.StartWorkflowRequest{
		OrgId: start.Org, WorkflowKind: start.Kind, Input: input,
		Queue: cmp.Or(start.Queue, flovyn.DefaultQueue), Metadata: start.Metadata,
	}
	if start.IdempotencyKey != "" {
		req.IdempotencyKey = &start.IdempotencyKey
	}
	resp, err := c.Workflows.StartWorkflow(ctx, req)
	if err != nil {
		return "", fmt.Errorf("starting workflow %s: %w", start.Kind, err)
	}
	return resp.GetWorkflowExecutionId(), nil
}

// Signal sends a signal to an execution. The value is encoded as JSON.
func (c *Client) Signal(ctx context.Context, org, executionID, name string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding signal %s: %w", name, err)
	}
	_, err = c.Workflows.SignalWorkflow(ctx, &flovynv1.SignalWorkflowRequest{
		OrgId: org, WorkflowExecutionId: executionID, SignalName: name, SignalValue: encoded,
	})
	if err != nil {
		return fmt.Errorf("signalling %s to %s: %w", name, executionID, err)
	}
	return nil
}

// WorkflowError is an execution that ended without a result.
type WorkflowError struct {
	ExecutionID string
	// Cancelled tells a cancelled execution from a failed one.
	Cancelled bool
	// Message is the error, or the reason of the cancellation.
	Message string
	// FailureType is what kind of failure the worker reported.
	FailureType string
}

// Error says how the execution ended.
func (e *WorkflowError) Error() string {
	if e.Cancelled {
		return fmt.Sprintf("workflow %s was cancelled: %s", e.ExecutionID, e.Message)
	}
	return fmt.Sprintf("workflow %s failed: %s", e.ExecutionID, e.Message)
}

// How long WaitResult waits between two looks at the history.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// WaitResult waits for an execution to end and returns its output, or a
// *WorkflowError when it ended otherwise. While the server is away it goes on
// waiting; ctx limits that.
func (c *Client) WaitResult(ctx context.Context, executionID string) (json.RawMessage, error) {
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		events, err := c.Events(ctx, executionID)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for workflow %s: %w", executionID, context.Cause(ctx))
		case err != nil && connect.CodeOf(err) != connect.CodeUnavailable:
			return nil, err
		}
		if len(events) > 0 && events[len(events)-1].Type.Terminal() {
			return Result(executionID, events[len(events)-1])
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Result returns the output that the last event of an ended execution carries, or
// a *WorkflowError.
func Result(executionID string, last Event) (json.RawMessage, error) {
	data, err := last.Decode()
	switch {
	case err != nil:
		return nil, err
	case last.Type == WorkflowCompleted:
		return data.Output, nil
	case last.Type == WorkflowCancelled:
		return nil, &WorkflowError{ExecutionID: executionID, Cancelled: true, Message: data.Reason}
	case last.Type == WorkflowExecutionFailed:
		return nil, &WorkflowError{ExecutionID: executionID, Message: data.Error, FailureType: data.FailureType}
	default:
		return nil, fmt.Errorf("workflow %s has not ended: its last event is %s", executionID, last.Type)
	}
}
