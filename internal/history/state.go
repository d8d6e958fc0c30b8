package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// State is what a history means: its events folded into what is open and what
// was recorded. It is not safe for concurrent use.
type State struct {
	// LastSeq is the sequence number of the newest event folded.
	LastSeq flovyn.Seq
	// Bytes is the size of the data of all events.
	Bytes int64
	// Ended is the event that ended the execution, empty while it is open.
	Ended EventType
	// Signals counts the signals received.
	Signals int
	// Retried tells that the execution had failed before and was opened again.
	Retried bool

	// facts counts the events from outside that the workflow's code waits for.
	facts     int
	execution flovyn.ExecutionID
	tasks     map[flovyn.TaskID]bool // true while open
	timers    map[string]bool        // true while pending
	children  map[flovyn.ExecutionID]*childState
	byName    map[string]flovyn.ExecutionID
	promises  map[flovyn.PromiseID]*promiseState
	values    map[string][]byte
	// What SDKs match by ordinal and commands carry no identity for.
	promiseNames []string
	operations   []string
	stateChanges []stateChange
}

type childState struct {
	name  string
	open  bool
	began bool
}

type promiseState struct {
	name    string
	settled bool
}

type stateChange struct {
	kind EventType
	key  string
}

// NewState is the state of an execution without events.
func NewState(id flovyn.ExecutionID) *State {
	return &State{
		execution: id,
		tasks:     map[flovyn.TaskID]bool{},
		timers:    map[string]bool{},
		children:  map[flovyn.ExecutionID]*childState{},
		byName:    map[string]flovyn.ExecutionID{},
		promises:  map[flovyn.PromiseID]*promiseState{},
		values:    map[string][]byte{},
	}
}

// Fold returns the state that events lead to.
func Fold(id flovyn.ExecutionID, events []Event) (*State, error) {
	s := NewState(id)
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// eventData holds the members of event data that the fold reads.
type eventData struct {
	TaskExecutionID    string          `json:"taskExecutionId"`
	TimerID            string          `json:"timerId"`
	PromiseID          string          `json:"promiseId"`
	PromiseName        string          `json:"promiseName"`
	ChildExecutionID   string          `json:"childExecutionId"`
	ChildExecutionName string          `json:"childExecutionName"`
	OperationName      string          `json:"operationName"`
	Key                string          `json:"key"`
	Value              json.RawMessage `json:"value"`
	DurationMS         int64           `json:"durationMs"`
	Error              string          `json:"error"`
	Reason             string          `json:"reason"`
	// What a retry has taken back.
	Tasks    []string `json:"tasks"`
	Children []string `json:"children"`
}

// Apply folds the next event. It fails on a gap in the sequence and on data
// that is not what the protocol says, both of which mean a damaged history.
func (s *State) Apply(e Event) error {
	if e.Seq != s.LastSeq+1 {
		return fmt.Errorf("execution %s: event %d follows event %d", s.execution, e.Seq, s.LastSeq)
	}
	if err := s.apply(e); err != nil {
		return fmt.Errorf("execution %s, event %d (%s): %w", s.execution, e.Seq, e.Type, err)
	}
	s.LastSeq = e.Seq
	s.Bytes += int64(len(e.Data))
	if isFact(e.Type) {
		s.facts++
	}
	return nil
}

// isFact reports whether an event is one that a workflow's code may wait for.
func isFact(t EventType) bool {
	switch t {
	case TaskCompleted, TaskFailed, TimerFired, PromiseResolved, PromiseRejected, PromiseTimeout,
		ChildWorkflowCompleted, ChildWorkflowFailed, SignalReceived:
		return true
	default:
		return false
	}
}

func (s *State) apply(e Event) error {
	switch e.Type {
	case WorkflowStarted, WorkflowSuspended, CancellationRequested:
		return nil
	case WorkflowCompleted, WorkflowExecutionFailed, WorkflowCancelled:
		s.Ended = e.Type
		return nil
	case SignalReceived:
		s.Signals++
		return nil
	}
	var d eventData
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return err
	}
	switch e.Type {
	case OperationCompleted:
		s.operations = append(s.operations, d.OperationName)
	case StateSet, StateCleared:
		s.applyStateChange(e.Type, d)
	case TimerStarted, TimerFired, TimerCancelled:
		s.timers[d.TimerID] = e.Type == TimerStarted
	case TaskScheduled, TaskCompleted, TaskFailed, TaskCancelled:
		return s.applyTask(e.Type, d)
	case PromiseCreated, PromiseResolved, PromiseRejected, PromiseTimeout:
		return s.applyPromise(e, d)
	case ChildWorkflowInitiated, ChildWorkflowStarted, ChildWorkflowCompleted, ChildWorkflowFailed, ChildWorkflowCancelled:
		return s.applyChild(e.Type, d)
	case RetryRequested:
		return s.applyRetry(d)
	default:
		return errors.New("unknown event type")
	}
	return nil
}

func (s *State) applyStateChange(t EventType, d eventData) {
	s.stateChanges = append(s.stateChanges, stateChange{t, d.Key})
	if t == StateCleared {
		delete(s.values, d.Key)
		return
	}
	s.values[d.Key] = slices.Clone(OrNull(d.Value))
}

func (s *State) applyTask(t EventType, d eventData) error {
	id, err := uuid.Parse(d.TaskExecutionID)
	if err != nil {
		return err
	}
	s.tasks[flovyn.TaskID(id)] = t == TaskScheduled
	return nil
}

func (s *State) applyPromise(e Event, d eventData) error {
	id, err := uuid.Parse(d.PromiseID)
	if err != nil {
		return err
	}
	if e.Type == PromiseCreated {
		s.promises[flovyn.PromiseID(id)] = &promiseState{name: d.PromiseName}
		s.promiseNames = append(s.promiseNames, d.PromiseName)
		return nil
	}
	p, ok := s.promises[flovyn.PromiseID(id)]
	if !ok {
		return fmt.Errorf("promise %s was never created", id)
	}
	p.settled = true
	return nil
}

func (s *State) applyChild(t EventType, d eventData) error {
	id, err := uuid.Parse(d.ChildExecutionID)
	if err != nil {
		return err
	}
	child := flovyn.ExecutionID(id)
	switch t {
	case ChildWorkflowInitiated:
		s.children[child] = &childState{name: d.ChildExecutionName, open: true}
		s.byName[d.ChildExecutionName] = child
	case ChildWorkflowStarted:
		if c, ok := s.children[child]; ok {
			c.began = true
		}
	default:
		c, ok := s.children[child]
		if !ok {
			return fmt.Errorf("child %s was never initiated", id)
		}
		c.open = false
	}
	return nil
}

// OpenTasks returns the tasks that were scheduled and have not ended.
func (s *State) OpenTasks() []flovyn.TaskID { return openKeys(s.tasks) }

// OpenTimers returns the ids of the timers that are pending.
func (s *State) OpenTimers() []string { return openKeys(s.timers) }

func openKeys[K comparable](m map[K]bool) []K {
	var open []K
	for k, isOpen := range m {
		if isOpen {
			open = append(open, k)
		}
	}
	return open
}

// OpenPromises returns the promises that nobody has settled.
func (s *State) OpenPromises() []flovyn.PromiseID {
	var open []flovyn.PromiseID
	for id, p := range s.promises {
		if !p.settled {
			open = append(open, id)
		}
	}
	return open
}

// OpenChildren returns the children that have not ended.
func (s *State) OpenChildren() []flovyn.ExecutionID {
	var open []flovyn.ExecutionID
	for id, c := range s.children {
		if c.open {
			open = append(open, id)
		}
	}
	return open
}

// Open reports whether a child has not ended.
func (s *State) Open(child flovyn.ExecutionID) bool {
	c, ok := s.children[child]
	return ok && c.open
}

// Began reports whether a worker was seen to take up a child.
func (s *State) Began(child flovyn.ExecutionID) bool {
	c, ok := s.children[child]
	return ok && c.began
}

// Idle reports whether nothing is open that the end of the execution leaves behind.
func (s *State) Idle() bool {
	return len(s.OpenTasks()) == 0 && len(s.OpenTimers()) == 0 && len(s.OpenPromises()) == 0
}

// Value returns the JSON of a key of the workflow's state.
func (s *State) Value(key string) (value []byte, ok bool) {
	value, ok = s.values[key]
	return value, ok
}

// Values returns the workflow's state as a JSON object, keys sorted.
func (s *State) Values() []byte {
	o := &object{buf: []byte{'{'}}
	for i, key := range slices.Sorted(maps.Keys(s.values)) {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendString(o.buf, key)
		o.buf = append(o.buf, ':')
		o.buf = append(o.buf, s.values[key]...)
	}
	return o.bytes()
}
