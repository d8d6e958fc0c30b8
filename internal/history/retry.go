package history

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Retried is what the retry of a failed execution takes back, so that a worker
// that replays the history gets past the place where it failed.
//
// Whatever failed after the last thing the workflow's code did is what the code
// had to look at when it gave up: nothing it did depends on it yet. The tasks and
// children among these failures are opened again. An older failure stays: the
// code has seen it and gone on.
type Retried struct {
	Tasks    []flovyn.TaskID
	Children []flovyn.ExecutionID
	// Error is what the execution had failed with.
	Error string
}

// RetryOf decides what a retry of an execution that failed takes back.
func RetryOf(events []Event) Retried {
	var r Retried
	seen := map[uuid.UUID]bool{} // the last word on a task or child counts
	for _, e := range slices.Backward(events) {
		switch e.Type {
		case WorkflowExecutionFailed:
			if r.Error == "" {
				r.Error = dataOf(e).Error
			}
		case TaskCompleted, TaskFailed:
			id, err := uuid.Parse(dataOf(e).TaskExecutionID)
			if err == nil && !seen[id] && e.Type == TaskFailed {
				r.Tasks = append(r.Tasks, flovyn.TaskID(id))
			}
			seen[id] = true
		case ChildWorkflowCompleted, ChildWorkflowFailed:
			id, err := uuid.Parse(dataOf(e).ChildExecutionID)
			if err == nil && !seen[id] && e.Type == ChildWorkflowFailed {
				r.Children = append(r.Children, flovyn.ExecutionID(id))
			}
			seen[id] = true
		case WorkflowStarted, OperationCompleted, StateSet, StateCleared, TaskScheduled, PromiseCreated,
			ChildWorkflowInitiated, TimerStarted, TimerCancelled:
			return r
		default: // came from outside, or says nothing
		}
	}
	return r
}

func dataOf(e Event) (d eventData) {
	_ = json.Unmarshal(e.Data, &d) // it was folded before
	return d
}

// Event is the event of the retry. Note says why, in the words of who asked.
func (r Retried) Event(note, requestedBy string) Draft {
	o := newObject(len(note)+len(r.Error)+64*(len(r.Tasks)+len(r.Children))).
		text("note", note).text("requestedBy", requestedBy).text("previousError", r.Error)
	o.raw("tasks", list(r.Tasks)).raw("children", list(r.Children))
	return Draft{RetryRequested, o.bytes()}
}

func list[ID interface{ String() string }](ids []ID) []byte {
	text := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendString(text, id.String())
	}
	return append(text, ']')
}

func (s *State) applyRetry(d eventData) error {
	s.Ended, s.Retried = "", true
	for _, text := range d.Tasks {
		id, err := uuid.Parse(text)
		if err != nil {
			return err
		}
		s.tasks[flovyn.TaskID(id)] = true
	}
	for _, text := range d.Children {
		id, err := uuid.Parse(text)
		if err != nil {
			return err
		}
		if c, ok := s.children[flovyn.ExecutionID(id)]; ok {
			c.open = true
		}
	}
	return nil
}

// ForWorkers returns a history as workers and result waiters are to see it.
// Published SDKs know no retry: they take an unknown event for a result of the
// workflow's code, and an earlier end for the end. So what a retry has taken
// back, and the retry itself, read as WORKFLOW_SUSPENDED, which every SDK passes
// over. A history without a retry is returned as it is.
func ForWorkers(events []Event) []Event {
	isRetry := func(e Event) bool { return e.Type == RetryRequested }
	if !slices.ContainsFunc(events, isRetry) {
		return events
	}
	shown := slices.Clone(events)
	takenBack := map[string]bool{} // tasks and children, by a later retry
	retried := false
	passed := SuspendedFor("retried")
	for i, e := range slices.Backward(events) {
		hide := false
		switch e.Type {
		case RetryRequested:
			d := dataOf(e)
			for _, id := range slices.Concat(d.Tasks, d.Children) {
				takenBack[id] = true
			}
			hide, retried = true, true
		case WorkflowExecutionFailed:
			hide = retried
		case TaskFailed:
			hide = takenBack[dataOf(e).TaskExecutionID]
		case ChildWorkflowFailed:
			hide = takenBack[dataOf(e).ChildExecutionID]
		default:
		}
		if hide {
			shown[i].Type, shown[i].Data = passed.Type, passed.Data
		}
	}
	return shown
}

// Result returns what an ended execution's history says of its end: its output,
// or its error.
func Result(events []Event) (output []byte, errorText string) {
	for _, last := range slices.Backward(events) { // a late signal may come after the end
		switch last.Type {
		case WorkflowCompleted:
			return Member(last.Data, "output"), ""
		case WorkflowExecutionFailed:
			return nil, dataOf(last).Error
		case WorkflowCancelled:
			return nil, CancelledText(dataOf(last).Reason)
		default:
		}
	}
	return nil, ""
}

// TimersDue returns when the timers of a history are to fire, by their ids.
func TimersDue(events []Event) map[string]time.Time {
	due := map[string]time.Time{}
	for _, e := range events {
		if e.Type == TimerStarted {
			d := dataOf(e)
			due[d.TimerID] = e.At.Add(time.Duration(d.DurationMS) * time.Millisecond)
		}
	}
	return due
}
