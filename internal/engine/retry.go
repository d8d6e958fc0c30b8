package engine

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Terminate ends an execution at once, as failed, and cancels its open children.
// No worker is asked: what one still submits is ignored. It reports whether it
// ended the execution; one that had ended already stays as it is.
func (e *Engine) Terminate(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, reason, requestedBy string) (bool, error) {
	reason = history.FreeText(reason, e.cfg.MaxPayload)
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}, Parents: []flovyn.ExecutionID{id}}
	var ended bool
	err := e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		ended = !w.Status.Terminal()
		return e.terminate(tx, w, reason, requestedBy)
	})
	if err != nil { // the step of a caller who went away may still write the result
		return false, err
	}
	return ended, nil
}

func (e *Engine) terminate(tx *postgres.Tx, w *flovyn.WorkflowExecution, reason, requestedBy string) error {
	return e.fail(tx, w, history.EndedTerminated(reason, requestedBy), ending{
		errorText: history.TerminatedText(reason), reason: reason, requestedBy: requestedBy,
	})
}

// fail ends an execution as failed on behalf of the server, and its open children
// as cancelled: nobody is left to wait for them.
func (e *Engine) fail(tx *postgres.Tx, w *flovyn.WorkflowExecution, last history.Draft, how ending) error {
	if w.Status.Terminal() {
		return nil
	}
	state, err := tx.State(w)
	if err != nil {
		return err
	}
	if w.Status == flovyn.WorkflowPending {
		tx.UnlistExecution(w.ID)
	}
	if err := tx.Append(w, last); err != nil {
		return err
	}
	how.status, how.takesChildren = flovyn.WorkflowFailed, true
	return e.endWithChildren(tx, w, state, how)
}

// Retry opens a failed execution again: a worker replays its history, and the
// tasks and children whose failure it had just seen are tried anew (see
// history.Retried). Everything that its failure had withdrawn is back: tasks
// start over, timers and promises keep their times. An execution in another
// state is Precondition; so is a child whose parent goes on, which has been told
// of the failure.
func (e *Engine) Retry(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, note, requestedBy string) error {
	note = history.FreeText(note, e.cfg.MaxPayload)
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}, Parents: []flovyn.ExecutionID{id}}
	return e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		if w.Status != flovyn.WorkflowFailed {
			return fault.New(fault.Precondition, "only a failed workflow execution can be retried, this one is %s", w.Status)
		}
		if !w.Parent.IsZero() {
			parent, err := tx.Execution(org, w.Parent)
			if ignoreAbsent(err) != nil {
				return err
			}
			if err == nil && !parent.Status.Terminal() {
				return fault.New(fault.Precondition, "its parent %s has been told of the failure and goes on", parent.ID)
			}
		}
		return e.retry(tx, w, note, requestedBy)
	})
}

func (e *Engine) retry(tx *postgres.Tx, w *flovyn.WorkflowExecution, note, requestedBy string) error {
	events, err := tx.Events(w)
	if err != nil {
		return err
	}
	retried := history.RetryOf(events)
	if err := tx.Append(w, retried.Event(note, requestedBy)); err != nil {
		return err
	}
	state, err := tx.State(w)
	if err != nil {
		return err
	}
	// A worker may yet submit what it did before the execution was terminated.
	w.Status, w.EndedAt, w.Disputed = flovyn.WorkflowPending, time.Time{}, true
	tx.UpdateExecution(w)
	if err := tx.Preload(postgres.Touch{
		Tasks: state.OpenTasks(), Promises: state.OpenPromises(), Histories: state.OpenChildren(),
	}); err != nil {
		return err
	}
	if err := e.reopenTasks(tx, w, state); err != nil {
		return err
	}
	due := history.TimersDue(events)
	for _, id := range state.OpenTimers() {
		e.SetTimer(tx, w.Org, sleepTimer(w.ID, id), due[id].Sub(tx.Now()))
	}
	if err := e.reopenPromises(tx, w, state); err != nil {
		return err
	}
	if err := e.reopenChildren(tx, w, state, retried, note, requestedBy); err != nil {
		return err
	}
	return e.MakeRunnable(tx, w)
}

// reopenTasks gives the tasks that the history has open to workers again, with as
// many attempts as they had at first. A result that came after the workflow's
// end was not kept: such a task is executed once more.
func (e *Engine) reopenTasks(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State) error {
	for _, id := range state.OpenTasks() {
		t, err := tx.Task(w.Org, id)
		if err != nil {
			return err
		}
		if t.Timeout > 0 {
			e.SetTimer(tx, w.Org, flovyn.TimerKey{Owner: w.ID.UUID(), Kind: flovyn.TimerTask, Name: id.String()}, t.Timeout)
		}
		if !t.Status.Terminal() { // a worker has it
			continue
		}
		if t.Status == flovyn.TaskFailed && t.Attempt > 0 {
			tx.AddAttempt(flovyn.Attempt{
				Task: id, Org: t.Org, Number: t.Attempt, Status: flovyn.AttemptFailed, Error: t.Error,
				WorkerID: t.WorkerID, StartedAt: t.ClaimedAt, EndedAt: t.EndedAt,
			})
		}
		t.MaxRetries += t.Attempt
		t.EndedAt, t.Lost = time.Time{}, 0
		e.MakeTaskRunnable(tx, t, nil)
	}
	return nil
}

func (e *Engine) reopenPromises(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State) error {
	for _, id := range state.OpenPromises() {
		p, err := tx.Promise(w.Org, id)
		if err != nil {
			return err
		}
		p.Status, p.SettledAt = flovyn.PromisePending, time.Time{}
		tx.UpdatePromise(p)
		if !p.TimeoutAt.IsZero() {
			e.SetTimer(tx, w.Org, promiseTimer(w.ID, id), p.TimeoutAt.Sub(tx.Now()))
		}
	}
	return nil
}

// reopenChildren retries the children whose failure is taken back, and tells of
// those that ended while nobody listened.
func (e *Engine) reopenChildren(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State, retried history.Retried,
	note, requestedBy string,
) error {
	again := map[flovyn.ExecutionID]bool{}
	for _, id := range retried.Children {
		again[id] = true
	}
	for _, id := range state.OpenChildren() {
		child, err := tx.Execution(w.Org, id)
		if err != nil {
			return err
		}
		if !child.Status.Terminal() {
			continue
		}
		if again[id] && child.Status == flovyn.WorkflowFailed {
			if err := e.retry(tx, child, note, requestedBy); err != nil {
				return err
			}
			continue
		}
		events, err := tx.Events(child)
		if err != nil {
			return err
		}
		output, errorText := history.Result(events)
		fact := history.ChildDone(child, output)
		if child.Status != flovyn.WorkflowCompleted {
			fact = history.ChildGaveUp(child, errorText)
		}
		if err := tx.Append(w, fact); err != nil {
			return err
		}
	}
	return nil
}
