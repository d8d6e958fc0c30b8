package postgres

import (
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

type eventRow struct {
	month     int32
	execution flovyn.ExecutionID
	event     history.Event
}

type readyKey struct {
	class flovyn.Class
	id    uuid.UUID
}

type readyRow struct {
	org         flovyn.OrgID
	queue, kind string
	score       time.Time
}

type payloadRow struct {
	org     flovyn.OrgID
	payload []byte
}

// writes is what a group commit will write. Rows that change several times are
// written once, as they stand in the end.
type writes struct {
	newExecutions, executions set[flovyn.ExecutionID]
	newTasks, tasks           set[flovyn.TaskID]
	newPromises, promises     set[flovyn.PromiseID]
	events                    []eventRow
	inputs, outputs           map[flovyn.TaskID]payloadRow
	attempts                  []flovyn.Attempt
	ready                     map[readyKey]readyRow
	unready                   set[readyKey]
	timers                    map[flovyn.TimerKey]flovyn.Timer
	goneTimers                set[flovyn.TimerKey]
	keys                      map[flovyn.Key]flovyn.KeyTarget
	goneKeys                  map[flovyn.Key]uuid.UUID
	ended                     set[flovyn.ExecutionID] // whose open parts are to be closed
}

func newWrites() *writes {
	return &writes{
		newExecutions: set[flovyn.ExecutionID]{}, executions: set[flovyn.ExecutionID]{},
		newTasks: set[flovyn.TaskID]{}, tasks: set[flovyn.TaskID]{},
		newPromises: set[flovyn.PromiseID]{}, promises: set[flovyn.PromiseID]{},
		inputs: map[flovyn.TaskID]payloadRow{}, outputs: map[flovyn.TaskID]payloadRow{},
		ready: map[readyKey]readyRow{}, unready: set[readyKey]{},
		timers: map[flovyn.TimerKey]flovyn.Timer{}, goneTimers: set[flovyn.TimerKey]{},
		keys: map[flovyn.Key]flovyn.KeyTarget{}, goneKeys: map[flovyn.Key]uuid.UUID{},
		ended: set[flovyn.ExecutionID]{},
	}
}

func (o *writes) empty() bool {
	return len(o.newExecutions)+len(o.executions)+len(o.newTasks)+len(o.tasks)+len(o.newPromises)+len(o.promises)+
		len(o.events)+len(o.inputs)+len(o.outputs)+len(o.attempts)+len(o.ready)+len(o.unready)+len(o.timers)+
		len(o.goneTimers)+len(o.keys)+len(o.goneKeys)+len(o.ended) == 0
}

// merge adds what a later step writes.
func (o *writes) merge(later *writes) {
	maps.Copy(o.newExecutions, later.newExecutions)
	maps.Copy(o.executions, later.executions)
	maps.Copy(o.newTasks, later.newTasks)
	maps.Copy(o.tasks, later.tasks)
	maps.Copy(o.newPromises, later.newPromises)
	maps.Copy(o.promises, later.promises)
	o.events = append(o.events, later.events...)
	maps.Copy(o.inputs, later.inputs)
	maps.Copy(o.outputs, later.outputs)
	o.attempts = append(o.attempts, later.attempts...)
	for key := range later.unready {
		delete(o.ready, key)
	}
	maps.Copy(o.unready, later.unready)
	maps.Copy(o.ready, later.ready)
	for key := range later.goneTimers {
		delete(o.timers, key)
	}
	maps.Copy(o.goneTimers, later.goneTimers)
	maps.Copy(o.timers, later.timers)
	for key := range later.goneKeys {
		delete(o.keys, key)
	}
	maps.Copy(o.goneKeys, later.goneKeys)
	maps.Copy(o.keys, later.keys)
	maps.Copy(o.ended, later.ended)
}

// eventsByExecution groups the events, each group in sequence.
func (o *writes) eventsByExecution() map[flovyn.ExecutionID][]history.Event {
	groups := make(map[flovyn.ExecutionID][]history.Event)
	for _, row := range o.events {
		groups[row.execution] = append(groups[row.execution], row.event)
	}
	return groups
}

// InsertExecution creates a workflow execution.
func (tx *Tx) InsertExecution(e *flovyn.WorkflowExecution) {
	tx.executions[e.ID] = e
	tx.out.newExecutions.add(e.ID)
}

// UpdateExecution writes what changed in an execution.
func (tx *Tx) UpdateExecution(e *flovyn.WorkflowExecution) {
	tx.executions[e.ID] = e
	tx.out.executions.add(e.ID)
}

// CloseOwned withdraws what an ended execution leaves behind: pending tasks,
// timers, unsettled promises.
func (tx *Tx) CloseOwned(id flovyn.ExecutionID) { tx.out.ended.add(id) }

// InsertTask creates a task. Only a standalone task brings its input; that of a
// workflow's task is in the history.
func (tx *Tx) InsertTask(t *flovyn.TaskExecution, input []byte) {
	tx.tasks[t.ID] = t
	tx.out.newTasks.add(t.ID)
	if t.Standalone() {
		tx.out.inputs[t.ID] = payloadRow{t.Org, history.OrNull(input)}
	}
}

// UpdateTask writes what changed in a task.
func (tx *Tx) UpdateTask(t *flovyn.TaskExecution) {
	tx.tasks[t.ID] = t
	tx.out.tasks.add(t.ID)
}

// SetTaskOutput stores the result of a standalone task.
func (tx *Tx) SetTaskOutput(t *flovyn.TaskExecution, output []byte) {
	tx.out.outputs[t.ID] = payloadRow{t.Org, history.OrNull(output)}
}

// AddAttempt notes an attempt that did not end its task.
func (tx *Tx) AddAttempt(a flovyn.Attempt) { tx.out.attempts = append(tx.out.attempts, a) }

// InsertPromise creates a promise.
func (tx *Tx) InsertPromise(p *flovyn.Promise) {
	tx.promises[p.ID] = p
	tx.out.newPromises.add(p.ID)
}

// UpdatePromise writes a promise's settlement.
func (tx *Tx) UpdatePromise(p *flovyn.Promise) {
	tx.promises[p.ID] = p
	tx.out.promises.add(p.ID)
}

// SetTimer sets a timer.
func (tx *Tx) SetTimer(t flovyn.Timer) {
	tx.timers[t.TimerKey] = true
	tx.out.timers[t.TimerKey] = t
}

// DropTimer withdraws a timer; one that is not set is no error.
func (tx *Tx) DropTimer(key flovyn.TimerKey) {
	tx.timers[key] = false
	delete(tx.out.timers, key)
	tx.out.goneTimers.add(key)
}

// SetKey lets an idempotency key stand for a resource.
func (tx *Tx) SetKey(key flovyn.Key, target flovyn.KeyTarget) {
	tx.keys[key] = target
	tx.out.keys[key] = target
}

// DropKey releases an idempotency key if it stands for target.
func (tx *Tx) DropKey(key flovyn.Key, target uuid.UUID) {
	current, known := tx.keys[key]
	if !known {
		current, known = tx.w.keys[key]
	}
	if known && current.ID != target {
		return // it stands for something else by now, perhaps since an earlier step of this commit
	}
	tx.keys[key] = flovyn.KeyTarget{}
	delete(tx.out.keys, key)
	tx.out.goneKeys[key] = target
}

// ListExecution puts a runnable execution into the backlog.
func (tx *Tx) ListExecution(e *flovyn.WorkflowExecution) {
	tx.out.ready[readyKey{flovyn.ClassWorkflow, e.ID.UUID()}] = readyRow{e.Org, e.Queue, e.Kind, e.Score()}
}

// UnlistExecution takes an execution off the backlog.
func (tx *Tx) UnlistExecution(id flovyn.ExecutionID) {
	key := readyKey{flovyn.ClassWorkflow, id.UUID()}
	delete(tx.out.ready, key)
	tx.out.unready.add(key)
}

// ListTask puts a runnable task into the backlog.
func (tx *Tx) ListTask(t *flovyn.TaskExecution) {
	tx.out.ready[readyKey{flovyn.ClassTask, t.ID.UUID()}] = readyRow{t.Org, t.Queue, t.Kind, t.CreatedAt}
}

// UnlistTask takes a task off the backlog.
func (tx *Tx) UnlistTask(id flovyn.TaskID) {
	key := readyKey{flovyn.ClassTask, id.UUID()}
	delete(tx.out.ready, key)
	tx.out.unready.add(key)
}
