// Package oracle is a model of the engine: what may be asked of it, and what it
// must answer and record. The differential test of this package asks the same of
// the model and of the engine on PostgreSQL, and compares everything after each
// operation.
//
// The model is written from the promises of the engine, not from its code. It
// knows no database, clock, cache, batch or wire; it keeps each execution's
// history as a list and finds out whatever it needs to know by reading the list
// again. What takes the engine care to do fast is here done slowly and plainly.
//
// Things have names ("w3", "t17") in place of identifiers, chosen by whoever
// writes a program of operations, so that a program means the same after some of
// its operations were taken out: an operation on what is not there is answered
// as absent. Promises, which the engine names itself, are called after their
// execution and their ordinal ("w3/0").
//
// Like all rules it is pure: operations in, answers out.
package oracle

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Event is an entry of a history. Data holds strings, numbers as text, booleans
// and raw JSON as values of their own types.
type Event struct {
	Type string
	Data map[string]any
}

// Raw is JSON text that stands in an event as it came.
type Raw string

// Number is a JSON number.
type Number int64

// The states of executions, tasks and promises.
const (
	Pending   = "PENDING"
	Running   = "RUNNING"
	Waiting   = "WAITING"
	Completed = "COMPLETED"
	Failed    = "FAILED"
	Cancelled = "CANCELLED"
	Resolved  = "RESOLVED"
	Rejected  = "REJECTED"
	TimedOut  = "TIMED_OUT"
	// Suspended is how a worker leaves an execution; it is no state of one.
	Suspended = "SUSPENDED"
)

func over(status string) bool { return status == Completed || status == Failed || status == Cancelled }

// The kinds of failure that an operation may be answered with.
const (
	NotFound     = "not_found"
	Precondition = "precondition"
	Invalid      = "invalid"
)

// Execution is a workflow execution.
type Execution struct {
	Name, Kind, Queue, Status string
	Events                    []Event
	// News tells that the worker that holds the execution may not know all of its
	// history. Disputed tells that a worker which lost it may yet submit.
	News, Disputed    bool
	Parent, ChildName string
	// Claim is the name of the poll by which it was last taken up.
	Claim       string
	Activations int
	Key         string
	// Aged tells that it ended long ago.
	Aged  bool
	place place
}

// Task is a task execution; Workflow is empty for one that stands alone.
type Task struct {
	Name, Workflow, Kind, Queue, Status string
	Attempt, MaxRetries                 int
	Timeout                             bool
	Claim, Error                        string
	Input, Output                       Raw
	// Attempts are the failures that did not end it.
	Attempts []string
	place    place
}

// Promise is a durable promise.
type Promise struct {
	Name, Workflow, Label, Status string
	Timeout                       bool
}

// place orders the backlog: by creation, less priority.
type place struct{ op, part int }

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.op, q.op), cmp.Compare(p.part, q.part)) < 0
}

// Timer is something that is due at a time: "timer", "promise" or "task".
type Timer struct{ Owner, Kind, Name string }

// Key is an idempotency key, in the scope "workflow", "task" or "promise".
type Key struct{ Scope, Name string }

// claim is what a poll took up.
type claim struct{ class, name string }

// poller is a poll that waits, on a server.
type poller struct {
	claim  string
	server int
}

type line struct{ class, queue string }

// Model is everything that the engine of one organization should know.
type Model struct {
	Executions map[string]*Execution
	Tasks      map[string]*Task
	Promises   map[string]*Promise
	Timers     map[Timer]bool
	Keys       map[Key]string
	claims     map[string]claim
	pollers    map[line]poller
	ops, parts int
	// op is the one under way; served are the waiting polls that it served.
	op     *Op
	served []Served
}

// Served is a poll and the name of what it got.
type Served struct{ Claim, Name string }

// New returns the model of an organization in which nothing has happened.
func New() *Model {
	return &Model{
		Executions: map[string]*Execution{}, Tasks: map[string]*Task{}, Promises: map[string]*Promise{},
		Timers: map[Timer]bool{}, Keys: map[Key]string{}, claims: map[string]claim{}, pollers: map[line]poller{},
	}
}

// next is the place of what is created now.
func (m *Model) next(priority int) place {
	m.parts++
	return place{m.ops - priority*1_000_000, m.parts}
}

func (w *Execution) add(kind string, data map[string]any) {
	w.Events = append(w.Events, Event{kind, data})
}

// tell is how an execution learns of something from outside.
func (m *Model) tell(w *Execution, kind string, data map[string]any) {
	if over(w.Status) {
		return
	}
	w.add(kind, data)
	switch w.Status {
	case Running:
		w.News = true
	case Waiting:
		m.runnable(w)
	}
}

// runnable lets the poll that waits on the operation's own server have an
// execution; otherwise it joins the backlog.
func (m *Model) runnable(w *Execution) {
	at := line{"workflow", w.Queue}
	if p, ok := m.pollers[at]; ok && p.server == m.op.Server {
		m.serve(at, w)
		return
	}
	w.Status = Pending
}

func (m *Model) serve(at line, w *Execution) {
	p := m.pollers[at]
	delete(m.pollers, at)
	m.take(w, p.claim)
	m.served = append(m.served, Served{p.claim, w.Name})
}

func (m *Model) take(w *Execution, by string) {
	w.Status, w.Claim, w.News = Running, by, w.Disputed
	w.Activations++
	m.claims[by] = claim{"workflow", w.Name}
}

// claimFirst takes the first execution of a queue off the backlog and lets its
// parent know that it began.
func (m *Model) claimFirst(queue, kind, by string) string {
	var first *Execution
	for _, w := range m.Executions {
		if w.Status == Pending && w.Queue == queue && (kind == "" || w.Kind == kind) && (first == nil || w.place.before(first.place)) {
			first = w
		}
	}
	if first == nil {
		return ""
	}
	m.take(first, by)
	if p := m.Executions[first.Parent]; p != nil && first.Activations == 1 && !over(p.Status) && !p.knows("CHILD_WORKFLOW_STARTED", first.Name) {
		p.began(first)
	}
	return first.Name
}

func (w *Execution) began(child *Execution) {
	w.add("CHILD_WORKFLOW_STARTED", map[string]any{"childExecutionName": child.ChildName, "childExecutionId": child.Name})
}

func (m *Model) claimTask(queue, kind, by string) string {
	var first *Task
	for _, t := range m.Tasks {
		if t.Status == Pending && t.Queue == queue && (kind == "" || t.Kind == kind) && (first == nil || t.place.before(first.place)) {
			first = t
		}
	}
	if first == nil {
		return ""
	}
	first.Status, first.Claim = Running, by
	first.Attempt++
	m.claims[by] = claim{"task", first.Name}
	return first.Name
}

// settle lets polls that still wait have what the operation left in the backlog:
// on another server than the operation's, or tried again.
func (m *Model) settle() {
	for _, at := range m.lines() {
		p := m.pollers[at]
		take := m.claimFirst
		if at.class == "task" {
			take = m.claimTask
		}
		if name := take(at.queue, "", p.claim); name != "" {
			delete(m.pollers, at)
			m.served = append(m.served, Served{p.claim, name})
		}
	}
}

func (m *Model) lines() []line {
	var all []line
	for at := range m.pollers {
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b line) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.queue, b.queue)) })
	return all
}

// The questions below are answered by reading a history.

// last returns the type of the newest event that names id under key, empty
// without one.
func (w *Execution) last(key, id string, types ...string) (kind string) {
	for _, e := range w.Events {
		if e.Data[key] == id && slices.Contains(types, e.Type) {
			kind = e.Type
		}
	}
	return kind
}

func (w *Execution) knows(kind, child string) bool {
	return w.last("childExecutionId", child, kind) != ""
}

func (w *Execution) openTimer(id string) bool {
	return w.last("timerId", id, "TIMER_STARTED", "TIMER_FIRED", "TIMER_CANCELLED") == "TIMER_STARTED"
}

func (w *Execution) openChild(id string) bool {
	kind := w.last("childExecutionId", id, "CHILD_WORKFLOW_INITIATED", "CHILD_WORKFLOW_COMPLETED", "CHILD_WORKFLOW_FAILED")
	return kind == "CHILD_WORKFLOW_INITIATED"
}

// list returns what the events of the given types say under key.
func (w *Execution) list(key string, types ...string) (all []string) {
	for _, e := range w.Events {
		if slices.Contains(types, e.Type) {
			text, _ := e.Data[key].(string)
			all = append(all, text)
		}
	}
	return all
}

// changes are the changes of the workflow's state, as "SET key" and "CLEAR key".
func (w *Execution) changes() (all []string) {
	for _, e := range w.Events {
		key, _ := e.Data["key"].(string)
		switch e.Type {
		case "STATE_SET":
			all = append(all, "SET "+key)
		case "STATE_CLEARED":
			all = append(all, "CLEAR "+key)
		}
	}
	return all
}

// State is the workflow's state: JSON by key.
func (w *Execution) State() map[string]Raw {
	state := map[string]Raw{}
	for _, e := range w.Events {
		key, _ := e.Data["key"].(string)
		switch e.Type {
		case "STATE_SET":
			state[key], _ = e.Data["value"].(Raw)
		case "STATE_CLEARED":
			delete(state, key)
		}
	}
	return state
}

// finish is the end of an execution whose last event is written.
func (m *Model) finish(w *Execution, status string, how end) {
	w.Status, w.News, w.Disputed = status, false, false
	if w.Key != "" && status != Completed {
		if m.Keys[Key{"workflow", w.Key}] == w.Name {
			delete(m.Keys, Key{"workflow", w.Key})
		}
		w.Key = ""
	}
	m.withdraw(w)
	p := m.Executions[w.Parent]
	if p == nil {
		return
	}
	names := map[string]any{"childExecutionName": w.ChildName, "childExecutionId": w.Name}
	if status == Completed {
		names["output"] = orNull(how.output)
		m.tell(p, "CHILD_WORKFLOW_COMPLETED", names)
		return
	}
	names["childworkflowExecutionId"], names["error"] = w.Name, how.text
	m.tell(p, "CHILD_WORKFLOW_FAILED", names)
}

// end is how an execution ends, as its parent is told.
type end struct {
	output Raw
	text   string
}

// withdraw takes back what an ended execution leaves behind. A task that runs is
// left to its worker.
func (m *Model) withdraw(w *Execution) {
	for _, t := range m.Tasks {
		if t.Workflow == w.Name && t.Status == Pending {
			t.Status, t.Error = Cancelled, "the workflow ended"
		}
	}
	for timer := range m.Timers {
		if timer.Owner == w.Name {
			delete(m.Timers, timer)
		}
	}
	for _, p := range m.Promises {
		if p.Workflow == w.Name && p.Status == Pending {
			p.Status = Cancelled
		}
	}
}

// cancel ends an execution as cancelled, and its open children with it.
func (m *Model) cancel(w *Execution, reason, requestedBy string) {
	if over(w.Status) {
		return
	}
	w.add("CANCELLATION_REQUESTED", map[string]any{"reason": reason, "requestedBy": requestedBy})
	w.add("WORKFLOW_CANCELLED", map[string]any{"reason": reason})
	m.finish(w, Cancelled, end{text: cancelledText(reason)})
	m.cancelChildren(w, reason, requestedBy)
}

func (m *Model) cancelChildren(w *Execution, reason, requestedBy string) {
	for _, id := range w.list("childExecutionId", "CHILD_WORKFLOW_INITIATED") {
		if child := m.Executions[id]; child != nil && w.openChild(id) {
			m.cancel(child, reason, cmp.Or(requestedBy, "workflow:"+w.Name))
		}
	}
}

func cancelledText(reason string) string {
	if reason == "" {
		return "the workflow was cancelled"
	}
	return "the workflow was cancelled: " + reason
}

func orNull(r Raw) Raw { return cmp.Or(r, "null") }

// promiseName is the name of an execution's promise.
func promiseName(w string, ordinal int) string { return w + "/" + strconv.Itoa(ordinal) }

// ownerOf returns the execution of a promise's name.
func ownerOf(promise string) string {
	w, _, _ := strings.Cut(promise, "/")
	return w
}
