package history

import (
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Command is what a worker asks for on behalf of a workflow. Payloads in
// commands have passed Payload.
type Command interface{ command() }

// The commands of the worker protocol.
type (
	// RecordOperation remembers the result of a side effect.
	RecordOperation struct {
		Name   string
		Result []byte
	}
	// SetState sets a key of the workflow's state.
	SetState struct {
		Key   string
		Value []byte
	}
	// ClearState removes a key of the workflow's state.
	ClearState struct{ Key string }
	// ScheduleTask asks for a task under an id made by the worker.
	ScheduleTask struct {
		ID         flovyn.TaskID
		Kind       string
		Queue      string
		Input      []byte
		MaxRetries int32
		Timeout    time.Duration
		// Key is an optional organization-wide idempotency key.
		Key    string
		KeyTTL time.Duration
	}
	// CompleteWorkflow ends the execution with a result.
	CompleteWorkflow struct{ Output []byte }
	// FailWorkflow ends the execution with an error.
	FailWorkflow struct{ Error, StackTrace, FailureType string }
	// SuspendWorkflow notes why the activation ended.
	SuspendWorkflow struct{ Reason string }
	// CancelWorkflow ends the execution as cancelled.
	CancelWorkflow struct{ Reason string }
	// CreatePromise asks for a promise; the server makes its id.
	CreatePromise struct {
		Name    string
		Timeout time.Duration
		// HasTimeout tells a timeout of zero from none.
		HasTimeout bool
		Key        string
		KeyTTL     time.Duration
	}
	// ResolvePromise settles a promise from within a workflow.
	ResolvePromise struct {
		ID    flovyn.PromiseID
		Value []byte
	}
	// ScheduleChild asks for a child execution under an id made by the worker.
	ScheduleChild struct {
		ID       flovyn.ExecutionID
		Name     string
		Kind     string
		Queue    string
		Input    []byte
		Priority time.Duration
	}
	// StartTimer asks to be woken after a duration.
	StartTimer struct {
		ID    string
		After time.Duration
	}
	// CancelTimer withdraws a timer that has not fired.
	CancelTimer struct{ ID string }
	// CancelChild asks for the cancellation of a child execution.
	CancelChild struct {
		ID     flovyn.ExecutionID
		Name   string
		Reason string
	}
)

func (RecordOperation) command()  {}
func (SetState) command()         {}
func (ClearState) command()       {}
func (ScheduleTask) command()     {}
func (CompleteWorkflow) command() {}
func (FailWorkflow) command()     {}
func (SuspendWorkflow) command()  {}
func (CancelWorkflow) command()   {}
func (CreatePromise) command()    {}
func (ResolvePromise) command()   {}
func (ScheduleChild) command()    {}
func (StartTimer) command()       {}
func (CancelTimer) command()      {}
func (CancelChild) command()      {}

// Status is the state in which a worker leaves the execution it held.
type Status uint8

// The states a submission can announce.
const (
	// Running keeps the execution with its worker: more commands will follow.
	Running Status = iota + 1
	// Suspended gives the execution back until something happens.
	Suspended
	// Completed, Failed and Cancelled end it.
	Completed
	Failed
	Cancelled
)
