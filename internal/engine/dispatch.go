package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// Poll waits up to hold for a runnable execution of a queue and claims it for
// the poller. It returns nil when none came. When too many polls of the
// organization wait, it is Exhausted.
func (e *Engine) Poll(ctx context.Context, key wake.Key, p wake.Poller, hold time.Duration) (*flovyn.Activation, error) {
	leave, err := e.enterPoll(key.Org)
	if err != nil {
		return nil, err
	}
	defer leave()
	activation, ok := e.workflows.Wait(ctx, key, p, hold)
	if !ok {
		return nil, ctx.Err()
	}
	return &activation, nil
}

// PollTask is Poll for tasks.
func (e *Engine) PollTask(ctx context.Context, key wake.Key, p wake.Poller, hold time.Duration) (*flovyn.Assignment, error) {
	leave, err := e.enterPoll(key.Org)
	if err != nil {
		return nil, err
	}
	defer leave()
	assignment, ok := e.tasks.Wait(ctx, key, p, hold)
	if !ok {
		return nil, ctx.Err()
	}
	return &assignment, nil
}

func (e *Engine) enterPoll(org flovyn.OrgID) (leave func(), err error) {
	leave, ok := e.polls.Enter(org)
	if !ok {
		return nil, fault.New(fault.Exhausted, "%d polls of the organization wait already, the most that may", e.cfg.MaxPollers)
	}
	return leave, nil
}

func (e *Engine) claim(ctx context.Context, key wake.Key, kinds, workers []string) ([]flovyn.Activation, error) {
	activations, err := e.store.ClaimExecutions(ctx, key.Org, key.Queue, kinds, workers)
	for i := range activations {
		e.noteChildBegan(&activations[i].Execution)
	}
	return activations, err
}

func (e *Engine) claimTasks(ctx context.Context, key wake.Key, kinds, workers []string) ([]flovyn.Assignment, error) {
	return e.store.ClaimTasks(ctx, key.Org, key.Queue, kinds, workers)
}

// noteChildBegan tells the parent that a child was taken up for the first time.
func (e *Engine) noteChildBegan(child *flovyn.WorkflowExecution) {
	if child.Parent.IsZero() || child.Activations != 1 {
		return
	}
	org, id, parent := child.Org, child.ID, child.Parent
	e.afterwards("noting that a child began", func(ctx context.Context) error {
		touch := postgres.Touch{Executions: []flovyn.ExecutionID{id}, Histories: []flovyn.ExecutionID{parent}}
		return e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
			c, err := tx.Execution(org, id)
			if err != nil {
				return err
			}
			p, err := tx.Execution(org, parent)
			if err != nil || c.Status.Terminal() || p.Status.Terminal() {
				return err
			}
			state, err := tx.State(p)
			if err != nil || state.Began(id) { // noted before, by a claim that was given back
				return err
			}
			if err := tx.Append(p, history.ChildBegan(c)); err != nil {
				return err
			}
			tx.UpdateExecution(p)
			return nil
		})
	})
}

// MakeRunnable hands an execution to a waiting poller, or lists it.
func (e *Engine) MakeRunnable(tx *postgres.Tx, w *flovyn.WorkflowExecution) error {
	key := wake.Key{Org: w.Org, Queue: w.Queue}
	tx.UpdateExecution(w)
	slot, ok := e.workflows.Reserve(key, w.Kind)
	if !ok {
		w.Status = flovyn.WorkflowPending
		tx.ListExecution(w)
		tx.OnCommit(func() {
			e.workflows.Wake(key)
			e.cfg.Publish(flovyn.ClassWorkflow, key)
		})
		return nil
	}
	input, err := tx.Input(w)
	if err != nil {
		slot.Release()
		return err
	}
	w.Status, w.WorkerID, w.ClaimedAt = flovyn.WorkflowRunning, slot.Worker, tx.Now()
	w.News = w.Disputed
	w.Activations++
	if w.StartedAt.IsZero() {
		w.StartedAt = tx.Now()
	}
	activation := flovyn.Activation{Execution: *w, Input: input, Now: tx.Now()}
	runnable := time.Now() //nolint:forbidigo // measures how long it takes until the worker has it
	tx.OnRollback(slot.Release)
	tx.OnCommit(func() {
		activation.Waited = time.Since(runnable)
		slot.Deliver(activation)
	})
	return nil
}

// MakeTaskRunnable hands a task to a waiting poller, or lists it. input is the
// task's input; nil has it read from where it is kept.
func (e *Engine) MakeTaskRunnable(tx *postgres.Tx, t *flovyn.TaskExecution, input []byte) {
	key := wake.Key{Org: t.Org, Queue: t.Queue}
	tx.UpdateTask(t)
	t.Status = flovyn.TaskPending
	if input != nil {
		if slot, ok := e.tasks.Reserve(key, t.Kind); ok {
			e.assign(tx, t, input, slot)
			return
		}
	}
	tx.ListTask(t)
	tx.OnCommit(func() {
		e.tasks.Wake(key)
		e.cfg.Publish(flovyn.ClassTask, key)
	})
}

func (e *Engine) assign(tx *postgres.Tx, t *flovyn.TaskExecution, input []byte, slot wake.Slot[flovyn.Assignment]) {
	t.Status, t.WorkerID, t.ClaimedAt, t.HeartbeatAt = flovyn.TaskRunning, slot.Worker, tx.Now(), tx.Now()
	t.Attempt++
	if t.StartedAt.IsZero() {
		t.StartedAt = tx.Now()
	}
	assignment := flovyn.Assignment{Task: *t, Input: input}
	runnable := time.Now() //nolint:forbidigo // measures how long it takes until the worker has it
	tx.OnRollback(slot.Release)
	tx.OnCommit(func() {
		assignment.Waited = time.Since(runnable)
		slot.Deliver(assignment)
	})
}

// Tell appends facts to an execution's history and sees to it that a worker
// looks at them. An execution that has ended is told nothing.
func (e *Engine) Tell(tx *postgres.Tx, w *flovyn.WorkflowExecution, facts ...history.Draft) error {
	if w.Status.Terminal() || len(facts) == 0 {
		return nil
	}
	for _, fact := range facts {
		if err := tx.Append(w, fact); err != nil {
			return err
		}
	}
	tx.UpdateExecution(w)
	switch w.Status {
	case flovyn.WorkflowRunning:
		w.News = true
	case flovyn.WorkflowWaiting:
		return e.MakeRunnable(tx, w)
	}
	return nil
}

// Return undoes the claim of an activation that reached nobody.
func (e *Engine) Return(ctx context.Context, a flovyn.Activation) {
	err := e.store.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{a.Execution.ID}}, func(tx *postgres.Tx) error {
		w, err := tx.Execution(a.Execution.Org, a.Execution.ID)
		if err != nil {
			return err
		}
		if !heldSince(w, a.Execution.ClaimedAt) {
			return e.lookAgain(tx, w)
		}
		w.Activations--
		return e.MakeRunnable(tx, w)
	})
	if err != nil {
		e.log.Warn("an unclaimed activation waits for its timeout", "execution", a.Execution.ID, "error", err)
	}
}

// ReturnTask undoes the claim of a task that reached nobody.
func (e *Engine) ReturnTask(ctx context.Context, a flovyn.Assignment) {
	err := e.store.Do(ctx, postgres.Touch{Tasks: []flovyn.TaskID{a.Task.ID}}, func(tx *postgres.Tx) error {
		t, err := tx.Task(a.Task.Org, a.Task.ID)
		if err != nil || t.Status != flovyn.TaskRunning || !t.ClaimedAt.Equal(a.Task.ClaimedAt) {
			return err
		}
		t.Attempt--
		if over, err := e.Over(tx, t); err != nil || over {
			t.Status, t.Error, t.EndedAt = flovyn.TaskCancelled, "the workflow ended", tx.Now()
			tx.UpdateTask(t)
			return err
		}
		e.MakeTaskRunnable(tx, t, history.OrNull(a.Input))
		return nil
	})
	if err != nil {
		e.log.Warn("an unclaimed task waits for its timeout", "task", a.Task.ID, "error", err)
	}
}

// Over reports whether a task's workflow has ended, so that nobody waits for its
// result any more.
func (e *Engine) Over(tx *postgres.Tx, t *flovyn.TaskExecution) (bool, error) {
	if t.Standalone() {
		return false, nil
	}
	w, err := tx.Execution(t.Org, t.Workflow)
	if err != nil {
		return false, err
	}
	return w.Status.Terminal(), nil
}

func heldSince(w *flovyn.WorkflowExecution, claimedAt time.Time) bool {
	return w.Status == flovyn.WorkflowRunning && w.ClaimedAt.Equal(claimedAt)
}

// Reclaim takes an activation back from a worker that has not submitted. It
// does nothing when the activation has ended meanwhile.
func (e *Engine) Reclaim(ctx context.Context, stale postgres.StaleExecution) error {
	err := e.store.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{stale.ID}}, func(tx *postgres.Tx) error {
		w, err := tx.Execution(stale.Org, stale.ID)
		if err != nil || !heldSince(w, stale.ClaimedAt) {
			return err
		}
		e.log.Warn("taking back an activation that was not submitted",
			"execution", w.ID, "kind", w.Kind, "worker", w.WorkerID, "activations", w.Activations)
		w.Disputed = true
		if e.lose(tx, w) {
			return nil
		}
		return e.MakeRunnable(tx, w)
	})
	if err != nil {
		return fmt.Errorf("reclaiming execution %s: %w", stale.ID, err)
	}
	return nil
}

// ignoreAbsent passes every error but NotFound.
func ignoreAbsent(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// WaitingFor returns how many polls wait for work of a class here.
func (e *Engine) WaitingFor(class flovyn.Class) int {
	switch class {
	case flovyn.ClassWorkflow:
		return e.workflows.Waiting()
	case flovyn.ClassTask:
		return e.tasks.Waiting()
	default:
		return 0
	}
}

// Waiting returns how many polls wait for work here.
func (e *Engine) Waiting() int { return e.workflows.Waiting() + e.tasks.Waiting() }
