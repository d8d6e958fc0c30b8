package flovyn

import "time"

// TaskStatus is the state of a task execution.
type TaskStatus string

// The states of a task execution.
//
//	PENDING -> RUNNING -> COMPLETED | FAILED | CANCELLED, or back to PENDING
const (
	// TaskPending can be claimed by a worker.
	TaskPending TaskStatus = "PENDING"
	// TaskRunning is held by a worker.
	TaskRunning   TaskStatus = "RUNNING"
	TaskCompleted TaskStatus = "COMPLETED"
	TaskFailed    TaskStatus = "FAILED"
	TaskCancelled TaskStatus = "CANCELLED"
)

// Terminal reports whether nothing can happen to the task any more.
func (s TaskStatus) Terminal() bool {
	return s == TaskCompleted || s == TaskFailed || s == TaskCancelled
}

// TaskExecution is a unit of work outside a workflow's deterministic code. Its
// input and output are in the history of its workflow, or, when it stands
// alone, in its payload.
type TaskExecution struct {
	ID  TaskID
	Org OrgID
	// Workflow is zero for a task that belongs to no workflow.
	Workflow ExecutionID
	Kind     string
	Queue    string
	Status   TaskStatus
	// Attempt counts how often the task was claimed; the first attempt is 1.
	Attempt int32
	// MaxRetries allows 1 + MaxRetries attempts.
	MaxRetries int32
	// Timeout is counted from creation; zero means none.
	Timeout        time.Duration
	HistoryMonth   int32
	ScheduledSeq   Seq
	WorkerID       string
	ClaimedAt      time.Time
	HeartbeatAt    time.Time
	Error          string
	IdempotencyKey string
	Metadata       []byte
	// Traceparent is as an execution's; a workflow's tasks belong to its trace.
	Traceparent string
	CreatedAt   time.Time
	StartedAt   time.Time
	EndedAt     time.Time
	// Lost counts the attempts in a row whose worker fell silent.
	Lost int32
	// ParkedAt is set while no worker gets the task any more, for the reason that
	// ParkedReason says. A parked task is PENDING.
	ParkedAt     time.Time
	ParkedReason string
}

// Parked reports whether no worker gets the task until it is released.
func (t *TaskExecution) Parked() bool { return !t.ParkedAt.IsZero() && !t.Status.Terminal() }

// Standalone reports whether the task belongs to no workflow.
func (t *TaskExecution) Standalone() bool { return t.Workflow.IsZero() }

// Assignment is what a worker receives when it claims a task.
type Assignment struct {
	Task TaskExecution
	// Input is the task's JSON input, byte for byte.
	Input []byte
	// Waited is how long the task was runnable before it was handed over.
	Waited time.Duration
}

// Attempt is one finished try of a task that did not end it.
type Attempt struct {
	Task      TaskID
	Org       OrgID
	Number    int32
	Status    AttemptStatus
	Error     string
	WorkerID  string
	StartedAt time.Time
	EndedAt   time.Time
}

// AttemptStatus says how an attempt ended.
type AttemptStatus string

// The ways in which an attempt ends without ending its task.
const (
	AttemptFailed AttemptStatus = "FAILED"
	// AttemptLost is an attempt whose worker fell silent.
	AttemptLost AttemptStatus = "LOST"
)
