package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgfault"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// TestWorkflowsThroughFaults runs workflows while connections break and the
// database refuses at every place: each of them completes with its result, its
// task once, and nothing is left behind.
func TestWorkflowsThroughFaults(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	proxy := pgfault.New(t, dsn, 7)
	b := setUpWith(t, proxy.DSN(), engine.Limits{WorkflowParkAfter: -1, TaskParkAfter: -1})
	proxy.Set(
		pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutAfter, Rate: 0.04},
		pgfault.Rule{Statement: "EventsInsert", Fault: pgfault.CutBefore, Rate: 0.04},
		pgfault.Rule{Statement: "ExecutionsUpdate", Fault: pgfault.Refuse, Rate: 0.04},
		pgfault.Rule{Statement: "ExecutionsClaim", Fault: pgfault.CutAfter, Rate: 0.1},
		pgfault.Rule{Statement: "TasksClaim", Fault: pgfault.CutAfter, Rate: 0.1},
	)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const workflows = 40
	working, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() { b.workThroughFaults(working) })
		workers.Go(func() { b.runTasksThroughFaults(working) })
	}
	ids := make([]flovyn.ExecutionID, workflows)
	for i := range ids {
		if err := persist(ctx, func() error {
			r, err := b.engine.Start(ctx, engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: string(rune('a' + i))})
			ids[i] = r.ID
			return err
		}); err != nil {
			t.Fatalf("starting: %v", err)
		}
	}
	direct := setUpWith(t, dsn, engine.Limits{}) // looks without faults
	completed := func() int { return direct.count("SELECT count(*) FROM workflow_execution WHERE status = 'COMPLETED'") }
	for completed() < workflows {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d workflows completed", completed(), workflows)
		}
	}
	stop()
	workers.Wait()
	proxy.Set()
	for _, id := range ids {
		b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskCompleted, history.WorkflowCompleted)
		b.closedBehind(id)
	}
	for _, statement := range []string{"COMMIT", "EventsInsert", "ExecutionsUpdate"} {
		if proxy.Hits(statement) == 0 {
			t.Errorf("nothing happened to %s", statement)
		}
	}
}

// persist does something again until the database does not come between.
func persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Conflict) || ctx.Err() != nil {
			return err
		}
	}
}

// workThroughFaults is a worker of workflows of one task each.
func (b *bench) workThroughFaults(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := b.engine.Poll(ctx, b.key(), wake.Poller{Worker: "w"}, time.Second)
		if err != nil || a == nil {
			continue
		}
		id := a.Execution.ID
		err = persist(ctx, func() error {
			events, err := b.engine.Events(ctx, b.org, id)
			switch {
			case err != nil:
				return err
			case len(events) == 1:
				return b.engine.Submit(ctx, b.org, id, []history.Command{history.ScheduleTask{ID: newTaskID(), Kind: "t", MaxRetries: 9}}, history.Suspended)
			case events[len(events)-1].Type == history.TaskCompleted:
				return b.engine.Submit(ctx, b.org, id, []history.Command{history.CompleteWorkflow{}}, history.Completed)
			case events[len(events)-1].Type == history.WorkflowCompleted: // the answer to it was lost
				return nil
			default:
				return b.engine.Submit(ctx, b.org, id, nil, history.Suspended)
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("a submission was answered %v", err)
		}
	}
}

// runTasksThroughFaults is a worker of tasks.
func (b *bench) runTasksThroughFaults(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := b.tasks.Poll(ctx, b.key(), wake.Poller{Worker: "t"}, time.Second)
		if err != nil || a == nil {
			continue
		}
		err = persist(ctx, func() error { return b.tasks.Complete(ctx, b.org, a.Task.ID, []byte(`1`)) })
		if err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("a result was answered %v", err)
		}
	}
}
