package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// What the live streams read, and what they are told.

// Change says that a commit changed something that people may be watching.
type Change struct {
	Org flovyn.OrgID
	// Class and ID name an execution, or a task that stands alone.
	Class flovyn.Class
	ID    uuid.UUID
	// First is the first new place in an execution's history, or the one that will
	// be next; 1 for a task.
	First flovyn.Seq
	// Ended says that the execution or task has ended.
	Ended bool
}

// History returns an execution of the organization and its whole history.
func (s *Store) History(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, []history.Event, error) {
	w, err := s.Execution(ctx, org, id)
	if err != nil {
		return nil, nil, err
	}
	events, err := s.eventsOf(ctx, w)
	return w, events, err
}

// TaskHistory returns a task of the organization and its attempts that did not
// end it.
func (s *Store) TaskHistory(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (*flovyn.TaskExecution, []flovyn.Attempt, error) {
	t, err := s.Task(ctx, org, id)
	if err != nil {
		return nil, nil, err
	}
	attempts, err := s.TaskAttempts(ctx, org, id)
	return t, attempts, err
}

// Stamps returns a text for each execution and task that is another one after
// each change.
func (s *Store) Stamps(ctx context.Context, executions, tasks []uuid.UUID) (map[uuid.UUID]string, error) {
	stamps := make(map[uuid.UUID]string, len(executions)+len(tasks))
	if len(executions) > 0 {
		rows, err := s.q.ExecutionStamps(ctx, s.pool, executions)
		if err != nil {
			return nil, fmt.Errorf("comparing executions: %w", translate(err))
		}
		for _, r := range rows {
			stamps[r.ID] = r.Stamp
		}
	}
	if len(tasks) > 0 {
		rows, err := s.q.TaskStamps(ctx, s.pool, tasks)
		if err != nil {
			return nil, fmt.Errorf("comparing tasks: %w", translate(err))
		}
		for _, r := range rows {
			stamps[r.ID] = r.Stamp
		}
	}
	return stamps, nil
}

// changes are what a commit changed.
func (w *work) changes(events map[flovyn.ExecutionID][]history.Event) []Change {
	var changes []Change
	executions := set[flovyn.ExecutionID]{}
	for id := range w.out.newExecutions {
		executions.add(id)
	}
	for id := range w.out.executions {
		executions.add(id)
	}
	for id := range executions {
		row, ok := w.executions[id]
		if !ok {
			continue
		}
		first := row.LastSeq + 1
		if fresh := events[id]; len(fresh) > 0 {
			first = fresh[0].Seq
		}
		changes = append(changes, Change{row.Org, flovyn.ClassWorkflow, id.UUID(), first, row.Status.Terminal()})
	}
	tasks := set[flovyn.TaskID]{}
	for id := range w.out.newTasks {
		tasks.add(id)
	}
	for id := range w.out.tasks {
		tasks.add(id)
	}
	for id := range tasks {
		if t, ok := w.tasks[id]; ok && t.Standalone() {
			changes = append(changes, Change{t.Org, flovyn.ClassTask, id.UUID(), 1, t.Status.Terminal()})
		}
	}
	return changes
}

// liveChannel carries what tasks say while they run, between replicas.
const liveChannel = "flovyn_live"

// NotifyLive sends live frames to every replica, this one included.
func (s *Store) NotifyLive(ctx context.Context, payloads []string) error {
	return s.notify(ctx, liveChannel, payloads)
}

// ListenLive receives live frames on a connection of its own until ctx ends or
// the connection is lost.
func (s *Store) ListenLive(ctx context.Context, ready func(), receive func(payload string)) error {
	return s.listen(ctx, liveChannel, ready, receive)
}
