package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/wake"
)

const tasksEach = 3

// decide is the code of the workflow under stress: some tasks, a timer, and, in
// a parent, a child of the same code. Its result is the sum of all results.
func decide(id flovyn.ExecutionID, kind string, events []history.Event) ([]history.Command, history.Status) {
	if len(events) == 1 || !scheduled(events) {
		cs := []history.Command{history.StartTimer{ID: "t"}}
		for i := range tasksEach {
			task := flovyn.TaskID(uuid.NewSHA1(id.UUID(), []byte(strconv.Itoa(i))))
			cs = append(cs, history.ScheduleTask{ID: task, Kind: "t", Input: []byte(strconv.Itoa(i + 1)), MaxRetries: 3})
		}
		if kind == "parent" {
			child := flovyn.ExecutionID(uuid.NewSHA1(id.UUID(), []byte("child")))
			cs = append(cs, history.ScheduleChild{ID: child, Name: "c", Kind: "child"})
		}
		return cs, history.Suspended
	}
	sum, tasks, timers, children := 0, 0, 0, 0
	for _, e := range events {
		n, _ := strconv.Atoi(string(history.Member(e.Data, "output")))
		sum += n
		switch e.Type {
		case history.TaskCompleted:
			tasks++
		case history.TimerFired:
			timers++
		case history.ChildWorkflowCompleted:
			children++
		}
	}
	if tasks == tasksEach && timers == 1 && (kind != "parent" || children == 1) {
		return []history.Command{history.CompleteWorkflow{Output: []byte(strconv.Itoa(sum))}}, history.Completed
	}
	return nil, history.Suspended
}

func scheduled(events []history.Event) bool {
	for _, e := range events {
		if e.Type == history.TimerStarted {
			return true
		}
	}
	return false
}

// TestStress runs workflows on two servers at once, with impatient workers,
// tasks that fail at first, and nothing but the sweep between the servers. All
// complete with the right result, and each task has exactly one effect.
func TestStress(t *testing.T) {
	b := setUp(t)
	servers := []*bench{b, b.another()}
	const workflows = 40
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var workers sync.WaitGroup
	var mu sync.Mutex
	effects := map[flovyn.TaskID]int{}
	for i := range 16 {
		s, random := servers[i%2], rand.New(rand.NewPCG(5, uint64(i)))
		impatient := func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Duration(1+random.IntN(60))*time.Millisecond)
		}
		poller := wake.Poller{Worker: fmt.Sprint("w", i)}
		step := func() error {
			patience, stop := impatient()
			a, _ := s.engine.Poll(patience, b.key(), poller, 50*time.Millisecond)
			stop()
			if a == nil {
				return nil
			}
			events, err := s.engine.Events(ctx, b.org, a.Execution.ID)
			if err != nil {
				return err
			}
			cs, status := decide(a.Execution.ID, a.Execution.Kind, events)
			return s.engine.Submit(ctx, b.org, a.Execution.ID, cs, status)
		}
		if i >= 8 {
			step = func() error {
				patience, stop := impatient()
				a, _ := s.tasks.Poll(patience, b.key(), poller, 50*time.Millisecond)
				stop()
				switch {
				case a == nil:
					return nil
				case a.Task.Attempt == 1 && a.Task.ID[0]%3 == 0:
					return s.tasks.Fail(ctx, b.org, a.Task.ID, "at first")
				}
				mu.Lock()
				effects[a.Task.ID]++
				mu.Unlock()
				return s.tasks.Complete(ctx, b.org, a.Task.ID, a.Input)
			}
		}
		workers.Go(func() {
			for ctx.Err() == nil {
				if err := step(); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for _, s := range servers {
		workers.Go(func() {
			for ctx.Err() == nil {
				if err := s.upkeep.FireTimers(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				if err := s.upkeep.WakeBacklog(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	var ids []flovyn.ExecutionID
	for i := range workflows {
		r, err := servers[i%2].engine.Start(ctx, engine.StartRequest{Org: b.org, Kind: "parent"})
		b.must(err)
		ids = append(ids, r.ID)
	}
	deadline := time.Now().Add(2 * patience)
	open := func() int { return b.count("SELECT count(*) FROM workflow_execution WHERE ended_at IS NULL") }
	for open() > 0 && time.Now().Before(deadline) {
		if err := b.store.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	workers.Wait()
	for _, id := range ids {
		b.wantStatus(id, flovyn.WorkflowCompleted)
		if got := b.data(id, history.WorkflowCompleted, "output"); got != "12" {
			t.Errorf("the result of %s is %s", id, got)
		}
		b.closedBehind(id)
	}
	if len(effects) != 2*workflows*tasksEach {
		t.Errorf("%d tasks had an effect", len(effects))
	}
	for id, n := range effects {
		if n != 1 {
			t.Errorf("task %s had its effect %d times", id, n)
		}
	}
	if n := b.count("SELECT count(*) FROM ready"); n != 0 {
		t.Errorf("%d rows are left in the backlog", n)
	}
}
