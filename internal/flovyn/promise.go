package flovyn

import "time"

// PromiseStatus is the state of a durable promise.
type PromiseStatus string

// The states of a promise. The first settlement wins.
const (
	PromisePending   PromiseStatus = "PENDING"
	PromiseResolved  PromiseStatus = "RESOLVED"
	PromiseRejected  PromiseStatus = "REJECTED"
	PromiseTimedOut  PromiseStatus = "TIMED_OUT"
	PromiseCancelled PromiseStatus = "CANCELLED"
)

// Promise is a one-shot value that something outside a workflow provides.
type Promise struct {
	ID        PromiseID
	Org       OrgID
	Execution ExecutionID
	Name      string
	Status    PromiseStatus
	// TimeoutAt is zero when the promise waits forever.
	TimeoutAt      time.Time
	IdempotencyKey string
	CreatedAt      time.Time
	SettledAt      time.Time
}
