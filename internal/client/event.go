package client

import (
	"context"
	"encoding/json"
	"fmt"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// EventType names an event of a history.
type EventType string

// The events that the protocol defines.
const (
	WorkflowStarted         EventType = "WORKFLOW_STARTED"
	WorkflowCompleted       EventType = "WORKFLOW_COMPLETED"
	WorkflowExecutionFailed EventType = "WORKFLOW_EXECUTION_FAILED"
	WorkflowCancelled       EventType = "WORKFLOW_CANCELLED"
	WorkflowSuspended       EventType = "WORKFLOW_SUSPENDED"
	CancellationRequested   EventType = "CANCELLATION_REQUESTED"
	OperationCompleted      EventType = "OPERATION_COMPLETED"
	StateSet                EventType = "STATE_SET"
	StateCleared            EventType = "STATE_CLEARED"
	TaskScheduled           EventType = "TASK_SCHEDULED"
	TaskCompleted           EventType = "TASK_COMPLETED"
	TaskFailed              EventType = "TASK_FAILED"
	TaskCancelled           EventType = "TASK_CANCELLED"
	PromiseCreated          EventType = "PROMISE_CREATED"
	PromiseResolved         EventType = "PROMISE_RESOLVED"
	PromiseRejected         EventType = "PROMISE_REJECTED"
	PromiseTimeout          EventType = "PROMISE_TIMEOUT"
	ChildWorkflowInitiated  EventType = "CHILD_WORKFLOW_INITIATED"
	ChildWorkflowStarted    EventType = "CHILD_WORKFLOW_STARTED"
	ChildWorkflowCompleted  EventType = "CHILD_WORKFLOW_COMPLETED"
	ChildWorkflowFailed     EventType = "CHILD_WORKFLOW_FAILED"
	ChildWorkflowCancelled  EventType = "CHILD_WORKFLOW_CANCELLED"
	TimerStarted            EventType = "TIMER_STARTED"
	TimerFired              EventType = "TIMER_FIRED"
	TimerCancelled          EventType = "TIMER_CANCELLED"
	SignalReceived          EventType = "SIGNAL_RECEIVED"
)

// Terminal reports whether nothing follows the event.
func (t EventType) Terminal() bool {
	return t == WorkflowCompleted || t == WorkflowExecutionFailed || t == WorkflowCancelled
}

// Event is one entry of a workflow execution's history.
type Event struct {
	// Seq counts from 1 without gaps.
	Seq  int
	Type EventType
	// Data is a JSON object.
	Data json.RawMessage
}

// EventData holds what the events carry. An event fills the members of its type.
type EventData struct {
	WorkflowKind       string          `json:"workflowKind"`
	Input              json.RawMessage `json:"input"`
	Output             json.RawMessage `json:"output"`
	Error              string          `json:"error"`
	StackTrace         string          `json:"stackTrace"`
	FailureType        string          `json:"failureType"`
	Reason             string          `json:"reason"`
	Kind               string          `json:"kind"`
	Queue              string          `json:"queue"`
	TaskExecutionID    string          `json:"taskExecutionId"`
	TimerID            string          `json:"timerId"`
	DurationMillis     int64           `json:"durationMs"`
	PromiseID          string          `json:"promiseId"`
	PromiseName        string          `json:"promiseName"`
	ChildExecutionName string          `json:"childExecutionName"`
	ChildExecutionID   string          `json:"childExecutionId"`
	ChildWorkflowKind  string          `json:"childWorkflowKind"`
	OperationName      string          `json:"operationName"`
	Result             json.RawMessage `json:"result"`
	Key                string          `json:"key"`
	Value              json.RawMessage `json:"value"`
	SignalName         string          `json:"signalName"`
	SignalValue        json.RawMessage `json:"signalValue"`
}

// Decode returns what the event carries.
func (e *Event) Decode() (*EventData, error) {
	data := &EventData{}
	if len(e.Data) == 0 {
		return data, nil
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return nil, fmt.Errorf("event %d (%s): %w", e.Seq, e.Type, err)
	}
	return data, nil
}

// Events returns the whole history of a workflow execution.
func (c *Client) Events(ctx context.Context, executionID string) ([]Event, error) {
	resp, err := c.Workflows.GetEvents(ctx, &flovynv1.GetEventsRequest{WorkflowExecutionId: executionID})
	if err != nil {
		return nil, fmt.Errorf("getting the history of %s: %w", executionID, err)
	}
	events := make([]Event, len(resp.GetEvents()))
	for i, e := range resp.GetEvents() {
		events[i] = Event{Seq: int(e.GetSequenceNumber()), Type: EventType(e.GetEventType()), Data: e.GetEventData()}
	}
	return events, nil
}
