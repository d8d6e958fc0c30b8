package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// ending is how an execution ends.
type ending struct {
	status    flovyn.WorkflowStatus
	output    []byte
	errorText string
	// takesChildren has the open children cancelled, for that reason and in the
	// name of that caller.
	takesChildren       bool
	reason, requestedBy string
}

// end closes an execution whose terminal event is recorded: what it leaves
// behind is withdrawn and its parent is told. A key of an execution that did
// not complete is released, so that the same request may start anew.
func (e *Engine) end(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State, how ending) error {
	tx.UpdateExecution(w)
	w.Status, w.EndedAt, w.News, w.Disputed = how.status, tx.Now(), false, false
	w.Lost, w.ParkedAt, w.ParkedReason = 0, time.Time{}, ""
	e.traceEnd(tx, w, how)
	if w.IdempotencyKey != "" && how.status != flovyn.WorkflowCompleted {
		tx.DropKey(flovyn.Key{Org: w.Org, Scope: flovyn.KeyWorkflow, Name: w.IdempotencyKey}, w.ID.UUID())
		w.IdempotencyKey = ""
	}
	if !state.Idle() {
		tx.CloseOwned(w.ID)
	}
	if w.Parent.IsZero() {
		return nil
	}
	parent, err := tx.Execution(w.Org, w.Parent)
	if err != nil {
		return ignoreAbsent(err)
	}
	if state.Retried && !parent.Status.Terminal() {
		// The parent may have learned of the earlier failure and gone on.
		of, err := tx.State(parent)
		if err != nil || !of.Open(w.ID) {
			return err
		}
	}
	if how.status == flovyn.WorkflowCompleted {
		return e.Tell(tx, parent, history.ChildDone(w, how.output))
	}
	return e.Tell(tx, parent, history.ChildGaveUp(w, how.errorText))
}

// traceEnd sends the span of an execution, from its first activation to its end.
func (e *Engine) traceEnd(tx *postgres.Tx, w *flovyn.WorkflowExecution, how ending) {
	if !e.cfg.Tracer.Enabled() || w.Traceparent == "" {
		return
	}
	span := trace.Span{
		Parent: w.Traceparent, Name: "workflow." + strings.ToLower(string(how.status)), Start: w.CreatedAt, End: w.EndedAt,
		Attributes: map[string]any{
			"tenant.id": w.Org.String(), "workflow.id": w.ID.String(), "workflow.kind": w.Kind,
			"total_duration_ms": w.EndedAt.Sub(w.CreatedAt),
		},
	}
	if !w.StartedAt.IsZero() {
		span.Attributes["pending_duration_ms"] = w.StartedAt.Sub(w.CreatedAt)
	}
	if how.status == flovyn.WorkflowFailed {
		span.Error = errWorkflowFailed
	}
	tx.OnCommit(func() { e.cfg.Tracer.Record(span) })
}

// errWorkflowFailed marks spans. What the workflow itself said may be a
// customer's.
var errWorkflowFailed = errors.New("the workflow failed")

// Cancel ends an execution and its open children as cancelled. No worker is
// asked: what one still submits is ignored. Cancelling twice is no error;
// cancelling what ended otherwise is Precondition.
func (e *Engine) Cancel(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, reason, requestedBy string) error {
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}, Parents: []flovyn.ExecutionID{id}}
	return e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		if w.Status.Terminal() && w.Status != flovyn.WorkflowCancelled {
			return fault.New(fault.Precondition, "the workflow execution has ended (%s)", w.Status)
		}
		return e.cancelTree(tx, org, id, reason, requestedBy)
	})
}

// cancelTree cancels an execution before its children, which then have nobody
// left to tell.
func (e *Engine) cancelTree(tx *postgres.Tx, org flovyn.OrgID, id flovyn.ExecutionID, reason, requestedBy string) error {
	_, err := e.cancelCounting(tx, org, id, cancellation{reason, requestedBy, true})
	return err
}

// endWithChildren ends an execution, and its open children with it when it is
// cancelled or terminated. One that ended by itself leaves its children running.
func (e *Engine) endWithChildren(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State, how ending) error {
	_, err := e.endCounting(tx, w, state, how)
	return err
}

// FireTimer tells an execution that its timer is due. A timer that was
// withdrawn meanwhile, or that another server fired, is no error.
func (e *Engine) FireTimer(ctx context.Context, timer flovyn.Timer) error {
	id := flovyn.ExecutionID(timer.Owner)
	touch := postgres.Touch{Executions: []flovyn.ExecutionID{id}, Timers: []flovyn.TimerKey{timer.TimerKey}}
	err := e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		pending, err := tx.TimerPending(timer.TimerKey)
		if err != nil || !pending {
			return err
		}
		tx.DropTimer(timer.TimerKey)
		w, err := tx.Execution(timer.Org, id)
		if err != nil {
			return ignoreAbsent(err)
		}
		return e.Tell(tx, w, history.TimerRang(timer.Name))
	})
	if err != nil {
		return fmt.Errorf("firing timer %q of execution %s: %w", timer.Name, id, err)
	}
	return nil
}
