package task

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// View returns a task with its input and output.
func (t *Tasks) View(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (postgres.TaskView, error) {
	return t.store.ViewTask(ctx, org, id)
}

// Find returns a task.
func (t *Tasks) Find(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (*flovyn.TaskExecution, error) {
	return t.store.Task(ctx, org, id)
}

// ViewStandalone is View for a task that belongs to no workflow; any other one is
// NotFound.
func (t *Tasks) ViewStandalone(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (postgres.TaskView, error) {
	view, err := t.store.ViewTask(ctx, org, id)
	if err == nil && !view.Standalone() {
		return postgres.TaskView{}, fault.New(fault.NotFound, "task execution %s is not a standalone task", id)
	}
	return view, err
}

// CancelWaiting ends a standalone task that no worker has yet; one that runs or
// has ended is Precondition.
func (t *Tasks) CancelWaiting(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	return t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		switch {
		case !task.Standalone():
			return fault.New(fault.Precondition, "the task belongs to a workflow, which is what can be cancelled")
		case task.Status != flovyn.TaskPending:
			return fault.New(fault.Precondition, "Task cannot be cancelled (not in PENDING state)")
		}
		return t.end(tx, task, flovyn.TaskCancelled, "Task cancelled", history.TaskGaveUp(task.ID, "Task cancelled", task.Attempt))
	})
}

// AttemptView is one try of a task, the last one included.
type AttemptView struct {
	flovyn.Attempt
	// Outcome is how management clients name it: RUNNING, COMPLETED, FAILED,
	// TIMEOUT or CANCELLED.
	Outcome string
	// Output is JSON, of the attempt that completed the task.
	Output []byte
}

// Attempts returns the tries of a task in order. The one that ended the task, or
// runs, is the task itself.
func (t *Tasks) Attempts(ctx context.Context, view *postgres.TaskView) ([]AttemptView, error) {
	recorded, err := t.store.TaskAttempts(ctx, view.Org, view.ID)
	if err != nil {
		return nil, err
	}
	views := make([]AttemptView, 0, len(recorded)+1)
	for _, a := range recorded {
		outcome := "FAILED"
		if a.Status == flovyn.AttemptLost {
			outcome = "TIMEOUT"
		}
		views = append(views, AttemptView{Attempt: a, Outcome: outcome})
	}
	if view.Status == flovyn.TaskPending || view.Attempt == 0 || (len(recorded) > 0 && recorded[len(recorded)-1].Number >= view.Attempt) {
		return views, nil // no worker has it, or it waits for its next try
	}
	last := AttemptView{
		Attempt: flovyn.Attempt{
			Task: view.ID, Org: view.Org, Number: view.Attempt, WorkerID: view.WorkerID,
			StartedAt: view.ClaimedAt, EndedAt: view.EndedAt,
		},
		Outcome: string(view.Status), Output: view.Output,
	}
	if view.Status.Terminal() {
		last.Error = view.Error
		if view.Status == flovyn.TaskFailed && view.Timeout > 0 && !view.EndedAt.Before(view.CreatedAt.Add(view.Timeout)) {
			last.Outcome = "TIMEOUT"
		}
	}
	return append(views, last), nil
}

// Logs returns lines of a task's log, oldest first, and how many there are in
// all. An empty level stands for every level.
func (t *Tasks) Logs(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, level string, limit, offset int) ([]postgres.LoggedLine, int64, error) {
	return t.store.TaskLogPage(ctx, org, id, level, limit, offset)
}
