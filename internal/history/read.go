package history

import (
	"encoding/json"
)

// What readers of a history make of its events.

// TaskPayload returns the task that an event is about, and the input or output
// that came with it.
func TaskPayload(e Event) (id string, payload []byte) {
	var d struct {
		TaskExecutionID string          `json:"taskExecutionId"`
		Input           json.RawMessage `json:"input"`
		Output          json.RawMessage `json:"output"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return "", nil
	}
	if e.Type == TaskCompleted {
		return d.TaskExecutionID, d.Output
	}
	return d.TaskExecutionID, d.Input
}

// Ending returns what the event that ended an execution says: the output of one
// that completed, the error of any other.
func Ending(d Draft) (output []byte, errorText string) {
	var data struct {
		Output json.RawMessage `json:"output"`
		Error  string          `json:"error"`
		Reason string          `json:"reason"`
	}
	if json.Unmarshal(d.Data, &data) != nil {
		return nil, ""
	}
	switch d.Type {
	case WorkflowCompleted:
		return OrNull(data.Output), ""
	case WorkflowCancelled:
		return nil, CancelledText(data.Reason)
	default:
		return nil, data.Error
	}
}

// Waiting says what a suspended execution waits for, as management clients name
// it: the first of its open tasks, children, promises and timers that there is,
// and otherwise a signal.
func (s *State) Waiting() string {
	switch {
	case len(s.OpenTasks()) > 0:
		return "SUSPEND_TYPE_TASK"
	case len(s.OpenChildren()) > 0:
		return "SUSPEND_TYPE_CHILD_WORKFLOW"
	case len(s.OpenPromises()) > 0:
		return "SUSPEND_TYPE_PROMISE"
	case len(s.OpenTimers()) > 0:
		return "SUSPEND_TYPE_TIMER"
	default:
		return "SUSPEND_TYPE_SIGNAL"
	}
}

// Pairs returns the workflow's state by key; the values are JSON.
func (s *State) Pairs() map[string][]byte { return s.values }
