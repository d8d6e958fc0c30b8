package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// lose counts a lost activation and parks the execution when there were too many
// in a row. It reports whether it did.
func (e *Engine) lose(tx *postgres.Tx, w *flovyn.WorkflowExecution) (parked bool) {
	w.Lost++
	tx.UpdateExecution(w)
	if e.cfg.WorkflowParkAfter < 0 || int(w.Lost) < e.cfg.WorkflowParkAfter {
		return false
	}
	reason := fmt.Sprintf("%d activations in a row were lost: worker %s took the last one and did not submit it", w.Lost, w.WorkerID)
	if refusal, ok := e.refusals.Get(refusalKey{w.Org, w.ID}); ok {
		reason += "; the last submission was refused: " + refusal
	}
	w.Status, w.ParkedAt, w.ParkedReason = flovyn.WorkflowPending, tx.Now(), reason
	id, kind, queue, org := w.ID, w.Kind, w.Queue, w.Org
	tx.OnCommit(func() {
		e.log.Error("parked a workflow execution", "execution", id, "kind", kind, "queue", queue, "org", org, "reason", reason)
	})
	return true
}

// Release gives a parked execution to workers again. One that is not parked is
// Precondition.
func (e *Engine) Release(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) error {
	released, err := e.release(ctx, org, id)
	if err == nil && !released {
		return fault.New(fault.Precondition, "the workflow execution is not parked")
	}
	return err
}

func (e *Engine) release(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (released bool, err error) {
	err = e.store.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{id}}, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		if released = w.Parked(); !released {
			return nil
		}
		w.Lost, w.ParkedAt, w.ParkedReason = 0, time.Time{}, ""
		return e.MakeRunnable(tx, w)
	})
	return released && err == nil, err
}

// terminateParked is Terminate for an execution that is still parked.
func (e *Engine) terminateParked(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, reason, requestedBy string) (ended bool, err error) {
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}, Parents: []flovyn.ExecutionID{id}}
	err = e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		if ended = w.Parked(); !ended {
			return nil
		}
		return e.terminate(tx, w, reason, requestedBy)
	})
	return ended && err == nil, err
}

// ListParked lists parked executions of an organization, the longest parked first.
func (e *Engine) ListParked(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) ([]*flovyn.WorkflowExecution, error) {
	return e.store.ParkedExecutions(ctx, org, q)
}

// ReleaseMany releases the parked executions that a query selects, and returns how
// many it released. After a failure some may have been.
func (e *Engine) ReleaseMany(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) (int, error) {
	return EachParked(ctx, q, e.parkedPages(org), func(ctx context.Context, w *flovyn.WorkflowExecution) (bool, error) {
		return e.release(ctx, org, w.ID)
	})
}

// TerminateMany terminates the parked executions that a query selects.
func (e *Engine) TerminateMany(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery, reason, requestedBy string) (int, error) {
	reason = history.FreeText(reason, e.cfg.MaxPayload)
	return EachParked(ctx, q, e.parkedPages(org), func(ctx context.Context, w *flovyn.WorkflowExecution) (bool, error) {
		return e.terminateParked(ctx, org, w.ID, reason, requestedBy)
	})
}

func (e *Engine) parkedPages(org flovyn.OrgID) func(context.Context, *flovyn.ParkedQuery) ([]*flovyn.WorkflowExecution, error) {
	return func(ctx context.Context, q *flovyn.ParkedQuery) ([]*flovyn.WorkflowExecution, error) {
		page, err := e.store.ParkedExecutions(ctx, org, *q)
		if n := len(page); n > 0 {
			q.AfterAt, q.AfterID = page[n-1].ParkedAt, page[n-1].ID.UUID()
		}
		return page, err
	}
}

const (
	// parkedPage and parkedAtOnce bound how much a deed on many takes on at once.
	parkedPage   = 500
	parkedAtOnce = 32
)

// EachParked does something with all that a query selects, some at once, and
// counts where it was done. next returns a page and moves the query on behind it.
func EachParked[T any](ctx context.Context, q flovyn.ParkedQuery, next func(context.Context, *flovyn.ParkedQuery) ([]T, error),
	do func(context.Context, T) (bool, error),
) (int, error) {
	if len(q.IDs) == 0 && q.Kind == "" && q.Queue == "" && !q.All {
		return 0, fault.New(fault.Invalid, "name what is meant: ids, a kind, a queue, or all")
	}
	q.Limit = parkedPage
	var count atomic.Int64
	for {
		page, err := next(ctx, &q)
		if err != nil {
			return int(count.Load()), err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(parkedAtOnce)
		for _, item := range page {
			group.Go(func() error {
				done, err := do(ctx, item)
				if done {
					count.Add(1)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil || len(page) < parkedPage {
			return int(count.Load()), err
		}
	}
}
