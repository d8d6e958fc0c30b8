package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// TimerKind says what happens when a timer fires.
type TimerKind string

// The kinds of timer.
const (
	// TimerSleep is a workflow's own timer.
	TimerSleep TimerKind = "timer"
	// TimerPromise is the timeout of a promise.
	TimerPromise TimerKind = "promise"
	// TimerTask is the deadline of a task.
	TimerTask TimerKind = "task"
)

// TimerKey identifies a timer. Owner is the workflow execution, or the task
// itself when it stands alone; Name is the timer, promise or task id.
type TimerKey struct {
	Owner uuid.UUID
	Kind  TimerKind
	Name  string
}

// Timer is something that is due at a time.
type Timer struct {
	TimerKey
	Org    OrgID
	FireAt time.Time
}
