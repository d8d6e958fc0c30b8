package flow

import "fmt"

// The failure types that this library reports; the protocol has free text there.
const (
	failureError          = "ERROR"
	failurePanic          = "PANIC"
	failureNondeterminism = "NONDETERMINISM"
	failureUnknownKind    = "UNKNOWN_KIND"
	failureRefused        = "REFUSED"
)

// Reason says why a future has no value.
type Reason string

// The reasons.
const (
	// TaskFailed is a task that failed for good.
	TaskFailed Reason = "failed"
	// TaskCancelled is a task that somebody cancelled.
	TaskCancelled Reason = "was cancelled"
	// ChildFailed is a child workflow that failed or was cancelled.
	ChildFailed Reason = "did not complete"
	// PromiseRejected is a promise that was settled with an error.
	PromiseRejected Reason = "was rejected"
	// PromiseTimedOut is a promise that nobody settled in time.
	PromiseTimedOut Reason = "timed out"
	// Cancelled is a future that the workflow itself has cancelled.
	Cancelled Reason = "was cancelled by the workflow"
)

// Failure is the error of a future that was settled without a value.
type Failure struct {
	Reason Reason
	// What names the awaited thing: task charge, promise approval.
	What string
	// Message is what its other side reported.
	Message string
}

// Error says what failed, and why.
func (f *Failure) Error() string {
	if f.Message == "" {
		return fmt.Sprintf("%s %s", f.What, f.Reason)
	}
	return fmt.Sprintf("%s %s: %s", f.What, f.Reason, f.Message)
}

// Cancel makes the error by which a workflow function ends its execution as
// cancelled instead of failed.
func Cancel(reason string) error { return &cancellation{reason} }

type cancellation struct{ reason string }

func (c *cancellation) Error() string { return "cancelled: " + c.reason }
