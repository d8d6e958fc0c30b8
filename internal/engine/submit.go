package engine

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Submit takes what a worker decided in an activation: commands, and the state
// in which it leaves the execution. A submission for an execution that no
// worker holds is stale (its activation was taken back, or a second copy
// arrived); what it says is ignored without an error, because the work it stands
// for is done or will be done by someone else. But an execution that waits is
// looked at again: somebody with an older view has submitted in this one's place.
//
// What a limit refuses leaves no trace; but an execution whose history is full
// fails, since it can never go on.
func (e *Engine) Submit(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, commands []history.Command, status history.Status) error {
	err := e.submit(ctx, org, id, commands, status)
	if full, ok := errors.AsType[*historyFullError](err); ok {
		if err := e.overflow(ctx, org, id, full); err != nil {
			return err
		}
		return full.error
	}
	if err != nil {
		e.NoteRefusal(org, id, err)
		return err
	}
	e.refusals.Remove(refusalKey{org, id})
	return nil
}

// historyFullError refuses a submission for which the history has no room.
type historyFullError struct{ error }

func (e *historyFullError) Unwrap() error { return e.error }

func (e *Engine) submit(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, commands []history.Command, status history.Status) error {
	if len(commands) > e.cfg.MaxCommands {
		return fault.New(fault.Exhausted, "commands: %d exceed the limit of %d in one submission", len(commands), e.cfg.MaxCommands)
	}
	for i, c := range commands {
		if err := checkCommand("commands["+strconv.Itoa(i)+"]", c); err != nil {
			return err
		}
	}
	return e.store.Do(ctx, touchOf(org, id, commands, status), func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		if w.Status != flovyn.WorkflowRunning {
			e.log.Debug("ignoring a stale submission", "execution", id, "status", w.Status)
			return e.lookAgain(tx, w)
		}
		return e.apply(tx, w, withQueues(w, commands), status)
	})
}

// lookAgain makes an execution runnable that waits on the word of a worker who
// may not have seen what the one whose word comes too late has seen.
func (e *Engine) lookAgain(tx *postgres.Tx, w *flovyn.WorkflowExecution) error {
	if w.Status != flovyn.WorkflowWaiting {
		return nil
	}
	return e.MakeRunnable(tx, w)
}

// checkCommand checks the names in a command; payloads were checked when the
// command was made.
func checkCommand(field string, c history.Command) error {
	switch c := c.(type) {
	case history.ScheduleTask:
		if err := CheckName(field+".kind", c.Kind, true); err != nil {
			return err
		}
		if _, err := CheckKey(field+".idempotency_key", c.Key, c.KeyTTL); err != nil {
			return err
		}
		return CheckName(field+".queue", c.Queue, false)
	case history.ScheduleChild:
		if err := CheckName(field+".workflow_kind", c.Kind, true); err != nil {
			return err
		}
		if err := CheckName(field+".queue", c.Queue, false); err != nil {
			return err
		}
		return CheckName(field+".child_execution_name", c.Name, false)
	case history.StartTimer:
		return CheckName(field+".timer_id", c.ID, true)
	case history.CreatePromise:
		if _, err := CheckKey(field+".idempotency_key", c.Key, c.KeyTTL); err != nil {
			return err
		}
		return CheckName(field+".promise_id", c.Name, false)
	case history.SetState:
		return CheckName(field+".key", c.Key, false)
	case history.RecordOperation:
		return CheckName(field+".operation_name", c.Name, false)
	}
	return nil
}

// touchOf names all rows that a submission may look at.
func touchOf(org flovyn.OrgID, id flovyn.ExecutionID, commands []history.Command, status history.Status) postgres.Touch {
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}}
	ends := status == history.Completed || status == history.Failed || status == history.Cancelled
	for _, c := range commands {
		switch c := c.(type) {
		case history.ScheduleTask:
			touch.Tasks = append(touch.Tasks, c.ID)
			if c.Key != "" {
				touch.Keys = append(touch.Keys, flovyn.Key{Org: org, Scope: flovyn.KeyTask, Name: c.Key})
			}
		case history.CreatePromise:
			if c.Key != "" {
				touch.Keys = append(touch.Keys, flovyn.Key{Org: org, Scope: flovyn.KeyPromise, Name: c.Key})
			}
		case history.ScheduleChild:
			touch.Executions = append(touch.Executions, c.ID)
		case history.CancelChild:
			if !c.ID.IsZero() {
				touch.Histories = append(touch.Histories, c.ID)
			}
		case history.ResolvePromise:
			touch.Promises = append(touch.Promises, c.ID)
		case history.CompleteWorkflow, history.FailWorkflow, history.CancelWorkflow:
			ends = true
		}
	}
	if ends {
		touch.Parents = append(touch.Parents, id)
	}
	return touch
}

// withQueues fills in the queue of tasks and children that name none.
func withQueues(w *flovyn.WorkflowExecution, commands []history.Command) []history.Command {
	filled := make([]history.Command, len(commands))
	for i, c := range commands {
		switch known := c.(type) {
		case history.ScheduleTask:
			known.Queue = cmp.Or(known.Queue, w.Queue)
			c = known
		case history.ScheduleChild:
			known.Queue = childQueue(known.Queue, w)
			c = known
		}
		filled[i] = c
	}
	return filled
}

// apply carries out an accepted submission.
func (e *Engine) apply(tx *postgres.Tx, w *flovyn.WorkflowExecution, commands []history.Command, status history.Status) error {
	state, err := tx.State(w)
	if err != nil {
		return err
	}
	if err := e.checkIdentities(tx, w, commands); err != nil {
		return err
	}
	wasNearlyFull := e.nearlyFull(state.LastSeq, state.Bytes)
	out, err := state.Submit(commands, status)
	if err != nil {
		return err
	}
	if out.End == "" {
		if err := e.checkPending(state, out); err != nil {
			return err
		}
		if err := e.historyFull(state.LastSeq, state.Bytes); err != nil {
			return &historyFullError{err}
		}
	}
	tx.Record(w, out.Events...)
	w.HistoryBytes = state.Bytes // a server that does not count them may have added some
	tx.UpdateExecution(w)
	e.warnGrowth(tx, w, wasNearlyFull)
	if out.End != "" {
		w.Status = out.End // so that what follows appends nothing after the end
	}
	for _, do := range []func(*postgres.Tx, *flovyn.WorkflowExecution, *history.Outcome) error{
		e.createTasks, e.setTimers, e.createPromises, e.settlePromises, e.createChildren, e.cancelChildren,
	} {
		if err := do(tx, w, out); err != nil {
			return err
		}
	}
	switch {
	case out.End != "":
		return e.endWithChildren(tx, w, state, ending{
			status: out.End, output: out.Output, errorText: out.Error, takesChildren: out.End == flovyn.WorkflowCancelled,
		})
	case status == history.Running:
		w.News = w.News || out.News // for the submission that will suspend it
		return nil
	default:
		return e.suspend(tx, w, w.News || out.News)
	}
}

// suspend gives the execution back: to the next worker when there is something
// new to see, else to wait.
func (e *Engine) suspend(tx *postgres.Tx, w *flovyn.WorkflowExecution, news bool) error {
	w.News, w.Disputed, w.Lost = false, false, 0
	if news {
		return e.MakeRunnable(tx, w)
	}
	w.Status = flovyn.WorkflowWaiting
	return nil
}

// checkIdentities refuses task and child ids that belong to something else.
func (e *Engine) checkIdentities(tx *postgres.Tx, w *flovyn.WorkflowExecution, commands []history.Command) error {
	for i, c := range commands {
		switch c := c.(type) {
		case history.ScheduleTask:
			taken, err := tx.TaskTaken(c.ID)
			if err != nil {
				return err
			}
			if t, err := tx.Task(w.Org, c.ID); taken && (err != nil || t.Workflow != w.ID) {
				return fault.New(fault.Precondition, "commands[%d]: task id %s is taken", i, c.ID)
			}
		case history.ScheduleChild:
			taken, err := tx.ExecutionTaken(c.ID)
			if err != nil {
				return err
			}
			if child, err := tx.Execution(w.Org, c.ID); taken && (err != nil || child.Parent != w.ID) {
				return fault.New(fault.Precondition, "commands[%d]: execution id %s is taken", i, c.ID)
			}
		}
	}
	return nil
}

func (e *Engine) createTasks(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	for _, c := range out.Tasks {
		t := &flovyn.TaskExecution{
			ID: c.ID, Org: w.Org, Workflow: w.ID, Kind: c.Kind, Queue: c.Queue, Status: flovyn.TaskPending,
			MaxRetries: c.MaxRetries, Timeout: c.Timeout, HistoryMonth: w.HistoryMonth, ScheduledSeq: c.Seq,
			IdempotencyKey: c.Key, CreatedAt: tx.Now(), Traceparent: w.Traceparent,
		}
		tx.InsertTask(t, nil)
		if out.End != "" {
			continue // withdrawn with the rest of what the execution leaves behind
		}
		if t.Timeout > 0 {
			e.SetTimer(tx, w.Org, flovyn.TimerKey{Owner: w.ID.UUID(), Kind: flovyn.TimerTask, Name: c.ID.String()}, t.Timeout)
		}
		key := flovyn.Key{Org: w.Org, Scope: flovyn.KeyTask, Name: c.Key}
		if err := e.registerKey(tx, key, flovyn.KeyTarget{ID: c.ID.UUID()}, c.KeyTTL); err != nil {
			return err
		}
		e.MakeTaskRunnable(tx, t, history.OrNull(c.Input))
	}
	return nil
}

// registerKey lets a key stand for something that a command created. A key that
// is taken is no failure: the command has its own identity.
func (e *Engine) registerKey(tx *postgres.Tx, key flovyn.Key, target flovyn.KeyTarget, ttl time.Duration) error {
	if key.Name == "" {
		return nil
	}
	_, taken, err := tx.KeyTarget(key)
	if err != nil {
		return err
	}
	if taken {
		e.log.Info("an idempotency key is taken", "scope", key.Scope, "target", target.ID)
		return nil
	}
	if ttl == 0 {
		ttl = flovyn.DefaultIdempotencyTTL
	}
	target.ExpiresAt = tx.Now().Add(ttl)
	tx.SetKey(key, target)
	return nil
}

// SetTimer sets a timer that is due after a duration.
func (e *Engine) SetTimer(tx *postgres.Tx, org flovyn.OrgID, key flovyn.TimerKey, after time.Duration) {
	tx.SetTimer(flovyn.Timer{TimerKey: key, Org: org, FireAt: tx.Now().Add(after)})
	tx.OnCommit(func() { e.cfg.TimerSet(after) })
}

func (e *Engine) setTimers(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	if out.End == "" {
		for _, c := range out.Timers {
			e.SetTimer(tx, w.Org, sleepTimer(w.ID, c.ID), c.After)
		}
	}
	// Also at the end: nothing else would withdraw a timer that is no longer open.
	for _, id := range out.CancelledTimers {
		tx.DropTimer(sleepTimer(w.ID, id))
	}
	return nil
}

func sleepTimer(owner flovyn.ExecutionID, id string) flovyn.TimerKey {
	return flovyn.TimerKey{Owner: owner.UUID(), Kind: flovyn.TimerSleep, Name: id}
}

func (e *Engine) createPromises(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	for _, c := range out.Promises {
		p := &flovyn.Promise{
			ID: c.ID, Org: w.Org, Execution: w.ID, Name: c.Name, Status: flovyn.PromisePending,
			IdempotencyKey: c.Key, CreatedAt: tx.Now(),
		}
		if c.HasTimeout {
			p.TimeoutAt = tx.Now().Add(c.Timeout)
			e.SetTimer(tx, w.Org, promiseTimer(w.ID, c.ID), c.Timeout)
		}
		tx.InsertPromise(p)
		key := flovyn.Key{Org: w.Org, Scope: flovyn.KeyPromise, Name: c.Key}
		if err := e.registerKey(tx, key, flovyn.KeyTarget{ID: c.ID.UUID()}, c.KeyTTL); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) settlePromises(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	for _, id := range out.SettledPromises {
		p, err := tx.Promise(w.Org, id)
		if err != nil {
			return err
		}
		e.markSettled(tx, p, flovyn.PromiseResolved)
	}
	for _, c := range out.ForeignPromises {
		err := e.settle(tx, w.Org, c.ID, flovyn.PromiseResolved, func(p *flovyn.Promise) history.Draft {
			return history.PromiseKept(p, c.Value)
		})
		if err := ignoreAbsent(err); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) createChildren(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	for _, c := range out.Children {
		if err := e.createChild(tx, w, c); err != nil {
			return err
		}
	}
	return nil
}

func idsOf(cs []history.CancelChild) []flovyn.ExecutionID {
	ids := make([]flovyn.ExecutionID, len(cs))
	for i, c := range cs {
		ids[i] = c.ID
	}
	return ids
}

func (e *Engine) cancelChildren(tx *postgres.Tx, w *flovyn.WorkflowExecution, out *history.Outcome) error {
	if err := tx.PreloadHistories(idsOf(out.CancelChildren)); err != nil {
		return err
	}
	for _, c := range out.CancelChildren {
		if err := ignoreAbsent(e.cancelTree(tx, w.Org, c.ID, c.Reason, "workflow:"+w.ID.String())); err != nil {
			return err
		}
	}
	return nil
}
