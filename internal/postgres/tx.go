package postgres

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Tx is what a step's closure sees: the rows it touches, locked, and the
// methods that change them. Nothing is written when the closure fails.
type Tx struct {
	w *work
	// What this step changed; it becomes part of the work when the step succeeds.
	executions map[flovyn.ExecutionID]*flovyn.WorkflowExecution
	tasks      map[flovyn.TaskID]*flovyn.TaskExecution
	promises   map[flovyn.PromiseID]*flovyn.Promise
	timers     map[flovyn.TimerKey]bool
	keys       map[flovyn.Key]flovyn.KeyTarget
	tainted    []flovyn.ExecutionID // histories whose state this step advanced
	out        *writes
	missing    *Touch

	onCommit, onRollback []func()
}

func newTx(w *work) *Tx {
	return &Tx{
		w:          w,
		executions: map[flovyn.ExecutionID]*flovyn.WorkflowExecution{},
		tasks:      map[flovyn.TaskID]*flovyn.TaskExecution{},
		promises:   map[flovyn.PromiseID]*flovyn.Promise{},
		timers:     map[flovyn.TimerKey]bool{},
		keys:       map[flovyn.Key]flovyn.KeyTarget{},
		out:        newWrites(),
	}
}

// Now is the database's time of this commit.
func (tx *Tx) Now() time.Time { return tx.w.now }

// OnCommit has fn called after the commit, without any lock held.
func (tx *Tx) OnCommit(fn func()) { tx.onCommit = append(tx.onCommit, fn) }

// OnRollback has fn called when what the step did in memory comes to nothing.
func (tx *Tx) OnRollback(fn func()) { tx.onRollback = append(tx.onRollback, fn) }

// need notes that the step must run again with more rows.
func (tx *Tx) need(more Touch) error {
	if tx.missing == nil {
		tx.missing = &Touch{}
	}
	tx.missing.merge(more)
	return fault.New(fault.Conflict, "too many concurrent changes, try again")
}

// PreloadHistories asks for all histories that are not loaded yet at once, where
// looking at one after the other would run the step again for each.
func (tx *Tx) PreloadHistories(ids []flovyn.ExecutionID) error {
	var missing []flovyn.ExecutionID
	for _, id := range ids {
		if !tx.w.touched.histories.has(id) && !tx.inserted(id) {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return tx.need(Touch{Histories: missing})
}

// Preload asks for all that is not loaded yet at once, where looking at one after
// the other would run the step again for each.
func (tx *Tx) Preload(wanted Touch) error {
	t := tx.w.touched
	missing := Touch{
		Executions: absent(wanted.Executions, t.executions), Histories: absent(wanted.Histories, t.histories),
		Tasks: absent(wanted.Tasks, t.tasks), Promises: absent(wanted.Promises, t.promises),
	}
	if len(missing.Executions)+len(missing.Histories)+len(missing.Tasks)+len(missing.Promises) == 0 {
		return nil
	}
	return tx.need(missing)
}

func absent[K comparable](wanted []K, known set[K]) []K {
	return slices.DeleteFunc(slices.Clone(wanted), known.has)
}

// inserted reports whether this commit creates the execution.
func (tx *Tx) inserted(id flovyn.ExecutionID) bool {
	return tx.out.newExecutions.has(id) || tx.w.out.newExecutions.has(id)
}

// Execution returns a workflow execution of the organization, to be changed and
// given back to UpdateExecution. An absent and a foreign one are NotFound alike.
func (tx *Tx) Execution(org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, error) {
	e, ok := tx.executions[id]
	if !ok {
		loaded, found := tx.w.executions[id]
		switch {
		case !found && !tx.w.touched.executions.has(id):
			return nil, tx.need(Touch{Executions: []flovyn.ExecutionID{id}})
		case !found:
			return nil, fault.New(fault.NotFound, "workflow execution %s not found", id)
		}
		e = new(*loaded)
		tx.executions[id] = e
	}
	if e.Org != org {
		return nil, fault.New(fault.NotFound, "workflow execution %s not found", id)
	}
	return e, nil
}

// ExecutionTaken reports whether any execution, of whatever organization, has
// the id.
func (tx *Tx) ExecutionTaken(id flovyn.ExecutionID) (bool, error) {
	if _, ok := tx.executions[id]; ok {
		return true, nil
	}
	if _, ok := tx.w.executions[id]; ok {
		return true, nil
	}
	if !tx.w.touched.executions.has(id) {
		return false, tx.need(Touch{Executions: []flovyn.ExecutionID{id}})
	}
	return false, nil
}

// Task returns a task of the organization, to be changed and given back to
// UpdateTask. An absent and a foreign one are NotFound alike.
func (tx *Tx) Task(org flovyn.OrgID, id flovyn.TaskID) (*flovyn.TaskExecution, error) {
	t, ok := tx.tasks[id]
	if !ok {
		loaded, found := tx.w.tasks[id]
		switch {
		case !found && !tx.w.touched.tasks.has(id):
			return nil, tx.need(Touch{Tasks: []flovyn.TaskID{id}})
		case !found:
			return nil, fault.New(fault.NotFound, "task execution %s not found", id)
		}
		t = new(*loaded)
		tx.tasks[id] = t
	}
	if t.Org != org {
		return nil, fault.New(fault.NotFound, "task execution %s not found", id)
	}
	return t, nil
}

// TaskTaken reports whether any task, of whatever organization, has the id.
func (tx *Tx) TaskTaken(id flovyn.TaskID) (bool, error) {
	if _, ok := tx.tasks[id]; ok {
		return true, nil
	}
	if _, ok := tx.w.tasks[id]; ok {
		return true, nil
	}
	if !tx.w.touched.tasks.has(id) {
		return false, tx.need(Touch{Tasks: []flovyn.TaskID{id}})
	}
	return false, nil
}

// Promise returns a promise of the organization, to be changed and given back
// to UpdatePromise. An absent and a foreign one are NotFound alike.
func (tx *Tx) Promise(org flovyn.OrgID, id flovyn.PromiseID) (*flovyn.Promise, error) {
	p, ok := tx.promises[id]
	if !ok {
		loaded, found := tx.w.promises[id]
		switch {
		case !found && !tx.w.touched.promises.has(id):
			return nil, tx.need(Touch{Promises: []flovyn.PromiseID{id}})
		case !found:
			return nil, fault.New(fault.NotFound, "promise %s not found", id)
		}
		p = new(*loaded)
		tx.promises[id] = p
	}
	if p.Org != org {
		return nil, fault.New(fault.NotFound, "promise %s not found", id)
	}
	return p, nil
}

// TimerPending reports whether a timer is set.
func (tx *Tx) TimerPending(key flovyn.TimerKey) (bool, error) {
	if pending, ok := tx.timers[key]; ok {
		return pending, nil
	}
	if !tx.w.touched.timers.has(key) {
		return false, tx.need(Touch{Timers: []flovyn.TimerKey{key}})
	}
	return tx.w.timers.has(key), nil
}

// KeyTarget returns what an idempotency key stands for. A key that has expired
// stands for nothing.
func (tx *Tx) KeyTarget(key flovyn.Key) (target uuid.UUID, ok bool, err error) {
	t, known := tx.keys[key]
	if !known {
		if !tx.w.touched.keys.has(key) {
			return uuid.Nil, false, tx.need(Touch{Keys: []flovyn.Key{key}})
		}
		t, known = tx.w.keys[key]
	}
	if !known || t.ID == uuid.Nil || !t.ExpiresAt.After(tx.Now()) {
		return uuid.Nil, false, nil
	}
	return t.ID, true, nil
}

// State returns what the execution's history means, including what this commit
// has appended. Only history.State.Submit may change it, and what that returns
// must be given to Record.
func (tx *Tx) State(e *flovyn.WorkflowExecution) (*history.State, error) {
	h, ok := tx.w.histories[e.ID]
	if !ok || h.state == nil || h.state.LastSeq != e.LastSeq {
		return nil, tx.need(Touch{Histories: []flovyn.ExecutionID{e.ID}})
	}
	tx.tainted = append(tx.tainted, e.ID)
	return h.state, nil
}

// Events returns the committed history of an execution, from its first event to
// the one its row names.
func (tx *Tx) Events(e *flovyn.WorkflowExecution) ([]history.Event, error) {
	if tx.w.touched.histories.has(e.ID) {
		if known := tx.w.hold(e.ID).snapshot(); len(known) >= int(e.LastSeq) {
			return known, nil
		}
	}
	return nil, tx.need(Touch{Histories: []flovyn.ExecutionID{e.ID}})
}

// Input returns the JSON an execution was started with.
func (tx *Tx) Input(e *flovyn.WorkflowExecution) ([]byte, error) {
	for _, row := range tx.out.events {
		if row.execution == e.ID && row.event.Seq == 1 {
			return history.Member(row.event.Data, "input"), nil
		}
	}
	for _, row := range tx.w.out.events {
		if row.execution == e.ID && row.event.Seq == 1 {
			return history.Member(row.event.Data, "input"), nil
		}
	}
	if events := tx.w.hold(e.ID).snapshot(); len(events) > 0 {
		return history.Member(events[0].Data, "input"), nil
	}
	return nil, tx.need(Touch{Histories: []flovyn.ExecutionID{e.ID}})
}

// Append adds an event to an execution's history.
func (tx *Tx) Append(e *flovyn.WorkflowExecution, d history.Draft) error {
	event := history.Event{Seq: e.LastSeq + 1, Type: d.Type, Data: d.Data}
	h := tx.w.history(e)
	if h.state != nil && h.state.LastSeq == e.LastSeq {
		tx.tainted = append(tx.tainted, e.ID)
		if err := h.state.Apply(event); err != nil {
			return fmt.Errorf("appending an event: %w", err)
		}
	}
	tx.Record(e, event)
	return nil
}

// Record writes events that are already part of the execution's state.
func (tx *Tx) Record(e *flovyn.WorkflowExecution, events ...history.Event) {
	for _, event := range events {
		event.At = tx.Now()
		tx.out.events = append(tx.out.events, eventRow{month: e.HistoryMonth, execution: e.ID, event: event})
		e.LastSeq = event.Seq
		e.HistoryBytes += int64(len(event.Data))
	}
	tx.executions[e.ID] = e
}

// discard takes back what a failed step did in memory.
func (tx *Tx) discard() {
	for _, id := range tx.tainted {
		if h := tx.w.histories[id]; h != nil {
			h.state = nil
		}
	}
	for _, fn := range tx.onRollback {
		fn()
	}
}

// accept makes the step's changes part of the work.
func (tx *Tx) accept() {
	w := tx.w
	for id, e := range tx.executions {
		w.executions[id] = e
		w.touched.executions.add(id)
	}
	for id, t := range tx.tasks {
		w.tasks[id] = t
		w.touched.tasks.add(id)
	}
	for id, p := range tx.promises {
		w.promises[id] = p
		w.touched.promises.add(id)
	}
	for key, pending := range tx.timers {
		w.touched.timers.add(key)
		if pending {
			w.timers.add(key)
		} else {
			delete(w.timers, key)
		}
	}
	maps.Copy(w.keys, tx.keys)
	w.out.merge(tx.out)
	w.onCommit = append(w.onCommit, tx.onCommit...)
	w.onRollback = append(w.onRollback, tx.onRollback...)
}
