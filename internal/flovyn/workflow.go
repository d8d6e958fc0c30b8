package flovyn

import "time"

// Seq is the position of an event in its execution's history: contiguous from 1.
type Seq int32

// WorkflowStatus is the state of a workflow execution.
type WorkflowStatus string

// The states of a workflow execution.
//
//	PENDING -> RUNNING -> WAITING -> PENDING ... -> COMPLETED | FAILED | CANCELLED
const (
	// WorkflowPending can be claimed by a worker.
	WorkflowPending WorkflowStatus = "PENDING"
	// WorkflowRunning is held by a worker.
	WorkflowRunning WorkflowStatus = "RUNNING"
	// WorkflowWaiting is suspended until something happens.
	WorkflowWaiting   WorkflowStatus = "WAITING"
	WorkflowCompleted WorkflowStatus = "COMPLETED"
	WorkflowFailed    WorkflowStatus = "FAILED"
	WorkflowCancelled WorkflowStatus = "CANCELLED"
)

// Terminal reports whether nothing can happen to the execution any more.
func (s WorkflowStatus) Terminal() bool {
	return s == WorkflowCompleted || s == WorkflowFailed || s == WorkflowCancelled
}

// WorkflowExecution is the small row that changes with every step. Its input,
// output and error are in its history.
type WorkflowExecution struct {
	ID     ExecutionID
	Org    OrgID
	Kind   string
	Queue  string
	Status WorkflowStatus
	// LastSeq is the sequence number of the newest event.
	LastSeq Seq
	// News is set when an outside event arrived while a worker held the
	// execution: its activation may not have seen that event.
	News bool
	// Disputed is set when an activation was taken back from a silent worker,
	// which may yet submit.
	Disputed bool
	// HistoryMonth is the partition that holds the history: year*12 + month-1.
	HistoryMonth int32
	Priority     time.Duration
	Version      string
	Parent       ExecutionID
	ChildName    string
	// WorkerID is the name or id, as given in its poll, of the worker that
	// holds or last held the execution.
	WorkerID       string
	ClaimedAt      time.Time
	Activations    int32
	IdempotencyKey string
	// Metadata is a JSON object of strings, or nil.
	Metadata []byte
	// Traceparent is the trace that the execution belongs to, in the form of the
	// W3C header; empty when it belongs to none.
	Traceparent string
	CreatedAt   time.Time
	StartedAt   time.Time
	EndedAt     time.Time
	UpdatedAt   time.Time
	// HistoryBytes is the size of the data of all events.
	HistoryBytes int64
	// Lost counts the activations in a row that were taken back from silent
	// workers.
	Lost int32
	// ParkedAt is set while no worker gets the execution any more, for the
	// reason that ParkedReason says. A parked execution is PENDING.
	ParkedAt     time.Time
	ParkedReason string
}

// Parked reports whether no worker gets the execution until it is released.
func (w *WorkflowExecution) Parked() bool { return !w.ParkedAt.IsZero() && !w.Status.Terminal() }

// Score orders the backlog: earlier created and higher priority first.
func (w *WorkflowExecution) Score() time.Time { return w.CreatedAt.Add(-w.Priority) }

// HistoryMonth returns the history partition of an execution created at t.
func HistoryMonth(t time.Time) int32 {
	t = t.UTC()
	return int32(t.Year()*12 + int(t.Month()) - 1)
}

// Activation is what a worker receives when it claims a workflow execution.
type Activation struct {
	Execution WorkflowExecution
	// Input is the JSON the execution was started with, byte for byte.
	Input []byte
	// Now is the one clock value of this activation.
	Now time.Time
	// Waited is how long the execution was runnable before it was handed over.
	Waited time.Duration
}
