package task

import (
	"context"
	"fmt"
	"time"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// lose counts a lost attempt and parks the task when there were too many in a
// row. It reports whether it did.
func (t *Tasks) lose(tx *postgres.Tx, task *flovyn.TaskExecution) (parked bool) {
	task.Lost++
	tx.UpdateTask(task)
	if after := t.engine.TaskParkAfter(); after < 0 || int(task.Lost) < after {
		return false
	}
	reason := fmt.Sprintf("%d attempts in a row were lost: worker %s took the last one and fell silent", task.Lost, task.WorkerID)
	task.Status, task.ParkedAt, task.ParkedReason = flovyn.TaskPending, tx.Now(), reason
	id, kind, queue, org := task.ID, task.Kind, task.Queue, task.Org
	tx.OnCommit(func() {
		t.log.Error("parked a task", "task", id, "kind", kind, "queue", queue, "org", org, "reason", reason)
	})
	return true
}

// Release gives a parked task to workers again, with the attempts it has left.
// One that is not parked is Precondition.
func (t *Tasks) Release(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	released, err := t.release(ctx, org, id)
	if err == nil && !released {
		return fault.New(fault.Precondition, "the task is not parked")
	}
	return err
}

func (t *Tasks) release(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (released bool, err error) {
	err = t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		if released = task.Parked(); !released {
			return nil
		}
		task.Lost, task.ParkedAt, task.ParkedReason = 0, time.Time{}, ""
		t.engine.MakeTaskRunnable(tx, task, nil)
		return nil
	})
	return released && err == nil, err
}

// cancelParked is Cancel for a task that is still parked.
func (t *Tasks) cancelParked(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, reason string) (cancelled bool, err error) {
	err = t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		if cancelled = task.Parked(); !cancelled {
			return nil
		}
		return t.cancel(tx, task, reason)
	})
	return cancelled && err == nil, err
}

// ListParked lists parked tasks of an organization, the longest parked first.
func (t *Tasks) ListParked(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) ([]*flovyn.TaskExecution, error) {
	return t.store.ParkedTasks(ctx, org, q)
}

// ReleaseMany releases the parked tasks that a query selects, and returns how many
// it released. After a failure some may have been.
func (t *Tasks) ReleaseMany(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) (int, error) {
	return engine.EachParked(ctx, q, t.parkedPages(org), func(ctx context.Context, task *flovyn.TaskExecution) (bool, error) {
		return t.release(ctx, org, task.ID)
	})
}

// CancelMany cancels the parked tasks that a query selects.
func (t *Tasks) CancelMany(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery, reason string) (int, error) {
	reason = history.FreeText(reason, t.engine.MaxPayload())
	return engine.EachParked(ctx, q, t.parkedPages(org), func(ctx context.Context, task *flovyn.TaskExecution) (bool, error) {
		return t.cancelParked(ctx, org, task.ID, reason)
	})
}

func (t *Tasks) parkedPages(org flovyn.OrgID) func(context.Context, *flovyn.ParkedQuery) ([]*flovyn.TaskExecution, error) {
	return func(ctx context.Context, q *flovyn.ParkedQuery) ([]*flovyn.TaskExecution, error) {
		page, err := t.store.ParkedTasks(ctx, org, *q)
		if n := len(page); n > 0 {
			q.AfterAt, q.AfterID = page[n-1].ParkedAt, page[n-1].ID.UUID()
		}
		return page, err
	}
}
