package history

import (
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// The functions below make the events of the protocol. Keys that no SDK reads
// are there for people and for the management API.

// Started is the first event of every history.
func Started(kind string, input []byte) Draft {
	return Draft{WorkflowStarted, newObject(len(input)).raw("input", input).text("workflowKind", kind).bytes()}
}

// EndedCompleted is the result of an execution.
func EndedCompleted(output []byte) Draft {
	return Draft{WorkflowCompleted, newObject(len(output)).raw("output", output).bytes()}
}

// EndedFailed is the error of an execution.
func EndedFailed(errorText, stackTrace, failureType string) Draft {
	return Draft{WorkflowExecutionFailed, newObject(len(errorText)+len(stackTrace)).
		text("error", errorText).text("stackTrace", stackTrace).text("failureType", failureType).bytes()}
}

// EndedTerminated is the error of an execution that somebody ended from outside.
// All SDKs know a failure for the end; not all know WORKFLOW_CANCELLED.
func EndedTerminated(reason, requestedBy string) Draft {
	return Draft{WorkflowExecutionFailed, newObject(2*len(reason)+len(requestedBy)).
		text("error", TerminatedText(reason)).text("stackTrace", "").text("failureType", "TERMINATED").
		text("requestedBy", requestedBy).bytes()}
}

// TerminatedText is the error text of a terminated execution.
func TerminatedText(reason string) string {
	if reason == "" {
		return "the workflow was terminated"
	}
	return "the workflow was terminated: " + reason
}

// EndedCancelled is the last event of a cancelled execution.
func EndedCancelled(reason string) Draft {
	return Draft{WorkflowCancelled, newObject(len(reason)).text("reason", reason).bytes()}
}

// SuspendedFor notes that an activation ended without a result.
func SuspendedFor(reason string) Draft {
	return Draft{WorkflowSuspended, newObject(len(reason)).text("reason", reason).bytes()}
}

// CancelRequested notes who asked for a cancellation.
func CancelRequested(reason, requestedBy string) Draft {
	return Draft{CancellationRequested, newObject(len(reason)).
		text("reason", reason).text("requestedBy", requestedBy).bytes()}
}

func operationDone(c RecordOperation) Draft {
	return Draft{OperationCompleted, newObject(len(c.Result)).
		text("operationName", c.Name).raw("result", c.Result).bytes()}
}

func stateSet(c SetState) Draft {
	return Draft{StateSet, newObject(len(c.Value)).text("key", c.Key).raw("value", c.Value).bytes()}
}

func stateCleared(key string) Draft {
	return Draft{StateCleared, newObject(len(key)).text("key", key).bytes()}
}

// taskScheduled repeats the kind as taskType for the oldest native cores.
func taskScheduled(c ScheduleTask) Draft {
	return Draft{TaskScheduled, newObject(len(c.Input)+160).
		text("kind", c.Kind).text("taskType", c.Kind).text("taskExecutionId", c.ID.String()).
		raw("input", c.Input).text("queue", c.Queue).bytes()}
}

// TaskDone says that a task of the workflow completed.
func TaskDone(id flovyn.TaskID, output []byte) Draft {
	return Draft{TaskCompleted, newObject(len(output)+64).
		text("taskExecutionId", id.String()).raw("output", output).bytes()}
}

// TaskGaveUp says that a task failed for good on its last attempt.
func TaskGaveUp(id flovyn.TaskID, errorText string, attempt int32) Draft {
	return Draft{TaskFailed, newObject(len(errorText)+128).
		text("taskExecutionId", id.String()).text("error", errorText).
		boolean("retryable", false).number("executionCount", int64(attempt)).bytes()}
}

// TaskWithdrawn says that a task was cancelled. No SDK treats it as the task's
// end, so it is always followed by TaskGaveUp.
func TaskWithdrawn(id flovyn.TaskID, kind, reason string) Draft {
	return Draft{TaskCancelled, newObject(len(reason)+96).
		text("taskExecutionId", id.String()).text("taskType", kind).text("reason", reason).bytes()}
}

func promiseCreated(id flovyn.PromiseID, c CreatePromise) Draft {
	o := newObject(128).text("promiseId", id.String()).text("promiseName", c.Name)
	if c.HasTimeout {
		o.number("timeoutMs", c.Timeout.Milliseconds())
	}
	if c.Key != "" {
		o.text("idempotencyKey", c.Key)
	}
	return Draft{PromiseCreated, o.bytes()}
}

// PromiseKept says that a promise was resolved with a value.
func PromiseKept(p *flovyn.Promise, value []byte) Draft {
	return Draft{PromiseResolved, newObject(len(value)+96).
		text("promiseId", p.ID.String()).text("promiseName", p.Name).raw("value", value).bytes()}
}

// PromiseBroken says that a promise was rejected.
func PromiseBroken(p *flovyn.Promise, errorText string) Draft {
	return Draft{PromiseRejected, newObject(len(errorText)+96).
		text("promiseId", p.ID.String()).text("promiseName", p.Name).text("error", errorText).bytes()}
}

// PromiseExpired says that nobody settled a promise in time.
func PromiseExpired(p *flovyn.Promise) Draft {
	return Draft{PromiseTimeout, newObject(96).
		text("promiseId", p.ID.String()).text("promiseName", p.Name).bytes()}
}

// ChildAsked says that a child was asked for.
func ChildAsked(c ScheduleChild) Draft {
	return Draft{ChildWorkflowInitiated, newObject(len(c.Input)+200).
		text("childExecutionName", c.Name).text("childExecutionId", c.ID.String()).
		text("childWorkflowKind", c.Kind).raw("input", c.Input).text("queue", c.Queue).bytes()}
}

// ChildBegan says that a worker took up a child for the first time. It wakes
// nobody: no SDK reads it.
func ChildBegan(child *flovyn.WorkflowExecution) Draft {
	return Draft{ChildWorkflowStarted, newObject(96).
		text("childExecutionName", child.ChildName).text("childExecutionId", child.ID.String()).bytes()}
}

// ChildDone says that a child completed.
func ChildDone(child *flovyn.WorkflowExecution, output []byte) Draft {
	return Draft{ChildWorkflowCompleted, newObject(len(output)+96).
		text("childExecutionName", child.ChildName).text("childExecutionId", child.ID.String()).
		raw("output", output).bytes()}
}

// ChildGaveUp says that a child failed or was cancelled. The oddly spelled key
// is what the Rust SDK reads for its error text.
func ChildGaveUp(child *flovyn.WorkflowExecution, errorText string) Draft {
	id := child.ID.String()
	return Draft{ChildWorkflowFailed, newObject(len(errorText)+160).
		text("childExecutionName", child.ChildName).text("childExecutionId", id).
		text("childworkflowExecutionId", id).text("error", errorText).bytes()}
}

func timerStarted(c StartTimer) Draft {
	return Draft{TimerStarted, newObject(64).
		text("timerId", c.ID).number("durationMs", int64(c.After/time.Millisecond)).bytes()}
}

// TimerRang says that a timer fired.
func TimerRang(id string) Draft {
	return Draft{TimerFired, newObject(len(id)).text("timerId", id).bytes()}
}

func timerWithdrawn(id string) Draft {
	return Draft{TimerCancelled, newObject(len(id)).text("timerId", id).bytes()}
}

// Signalled says that a signal arrived.
func Signalled(name string, value []byte) Draft {
	return Draft{SignalReceived, newObject(len(value)+64).
		text("signalName", name).raw("signalValue", value).bytes()}
}
