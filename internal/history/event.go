package history

import (
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// EventType names an event. Published SDKs know exactly these names; a name
// unknown to them is read as another event and breaks replay.
type EventType string

// The events of the worker protocol.
const (
	WorkflowStarted         EventType = "WORKFLOW_STARTED"
	WorkflowCompleted       EventType = "WORKFLOW_COMPLETED"
	WorkflowExecutionFailed EventType = "WORKFLOW_EXECUTION_FAILED"
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
	// ChildWorkflowCancelled is part of the protocol but never written: no SDK
	// treats it as the child's end, so a cancelled child is a failed one.
	ChildWorkflowCancelled EventType = "CHILD_WORKFLOW_CANCELLED"
	TimerStarted           EventType = "TIMER_STARTED"
	TimerFired             EventType = "TIMER_FIRED"
	TimerCancelled         EventType = "TIMER_CANCELLED"
	SignalReceived         EventType = "SIGNAL_RECEIVED"
	// WorkflowCancelled is not one of the events that SDKs replay. It is only
	// ever the last event of a cancelled execution, which no worker replays
	// again; clients waiting for a result recognize it.
	WorkflowCancelled EventType = "WORKFLOW_CANCELLED"
	// RetryRequested opens a failed execution again. Workers never see it; see
	// ForWorkers.
	RetryRequested EventType = "RETRY_REQUESTED"
)

// EventTypes lists every event type, in the order of the protocol's table, of
// which RetryRequested is no part.
func EventTypes() []EventType {
	return []EventType{
		WorkflowStarted, WorkflowCompleted, WorkflowExecutionFailed, WorkflowSuspended,
		CancellationRequested, OperationCompleted, StateSet, StateCleared, TaskScheduled,
		TaskCompleted, TaskFailed, TaskCancelled, PromiseCreated, PromiseResolved,
		PromiseRejected, PromiseTimeout, ChildWorkflowInitiated, ChildWorkflowStarted,
		ChildWorkflowCompleted, ChildWorkflowFailed, ChildWorkflowCancelled, TimerStarted,
		TimerFired, TimerCancelled, SignalReceived, WorkflowCancelled,
	}
}

// Terminal reports whether the event ends its execution.
func (t EventType) Terminal() bool {
	return t == WorkflowCompleted || t == WorkflowExecutionFailed || t == WorkflowCancelled
}

// Event is one entry of a history.
type Event struct {
	Seq  flovyn.Seq
	Type EventType
	// Data is a JSON object with camelCase keys; payloads stand in it as they
	// came, byte for byte.
	Data []byte
	At   time.Time
}

// Draft is an event that has no sequence number yet.
type Draft struct {
	Type EventType
	Data []byte
}
