package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgfault"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// faulty is a store whose way to the database breaks as told.
func faulty(t *testing.T) (*pgfault.Proxy, *postgres.Store) {
	t.Helper()
	proxy := pgfault.New(t, pgtest.New(t), 1)
	return proxy, open(t, proxy.DSN())
}

// bounded is a context in which a test's deed must have ended.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Every place at which a step can lose its connection or be refused: it happens
// exactly once, and its caller hears of it.
func TestFaultsOfAStep(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule pgfault.Rule
		runs int32 // of the closure
	}{
		"before it begins":        {pgfault.Rule{Statement: "BEGIN", Fault: pgfault.CutBefore}, 1},
		"while it loads":          {pgfault.Rule{Statement: "ExecutionsLock", Fault: pgfault.CutBefore}, 1},
		"after it has loaded":     {pgfault.Rule{Statement: "ExecutionsLock", Fault: pgfault.CutAfter}, 1},
		"while it writes":         {pgfault.Rule{Statement: "EventsInsert", Fault: pgfault.CutBefore}, 2},
		"before the commit":       {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutBefore}, 2},
		"after the commit":        {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutAfter}, 1},
		"refused while it loads":  {pgfault.Rule{Statement: "ExecutionsLock", Fault: pgfault.Refuse}, 1},
		"refused while it writes": {pgfault.Rule{Statement: "EventsInsert", Fault: pgfault.Refuse}, 2},
		"refused at the commit":   {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.Refuse}, 2},
		"a deadlock":              {pgfault.Rule{Statement: "ExecutionsUpdate", Fault: pgfault.Refuse, State: "40P01"}, 2},
		"the disk is full":        {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.Refuse, State: "53100"}, 2},
		"it takes long":           {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.Delay, Delay: 20 * time.Millisecond}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, s := faulty(t)
			id := create(t, s)
			test.rule.Times = 1
			proxy.Set(test.rule)
			var runs atomic.Int32
			err := s.Do(bounded(t), postgres.Touch{Executions: []flovyn.ExecutionID{id}}, func(tx *postgres.Tx) error {
				runs.Add(1)
				return appendSignal(tx, id, "s")
			})
			if err != nil {
				t.Fatal(err)
			}
			if proxy.Hits(test.rule.Statement) != 1 {
				t.Error("the fault did not happen")
			}
			if n := len(eventsOf(t, s, id)); n != 2 || runs.Load() != test.runs {
				t.Errorf("%d events after %d runs, want 2 after %d", n, runs.Load(), test.runs)
			}
		})
	}
}

// A database that refuses again and again is an answer, and leaves nothing.
func TestFaultsThatStay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules []pgfault.Rule
		kind  fault.Kind
		want  int // events
	}{
		"conflicts": {[]pgfault.Rule{{Statement: "EventsInsert", Fault: pgfault.Refuse}}, fault.Conflict, 1},
		"no connection lasts": {
			[]pgfault.Rule{{Statement: "EventsInsert", Fault: pgfault.CutBefore}}, fault.Unavailable, 1,
		},
		"the outcome cannot be found out": {[]pgfault.Rule{
			{Statement: "COMMIT", Fault: pgfault.CutAfter, Times: 1},
			{Statement: "XactStatus", Fault: pgfault.Refuse, State: "XX000"},
		}, fault.Unavailable, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, s := faulty(t)
			id := create(t, s)
			proxy.Set(test.rules...)
			if err := signal(bounded(t), s, id, "s"); !fault.Is(err, test.kind) {
				t.Errorf("answered %v, not %s", err, test.kind)
			}
			proxy.Set()
			if n := len(eventsOf(t, s, id)); n != test.want {
				t.Errorf("%d events, want %d", n, test.want)
			}
		})
	}
}

// A step without events is found by the rows it wrote.
func TestFaultAfterACommitWithoutEvents(t *testing.T) {
	t.Parallel()
	proxy, s := faulty(t)
	id := create(t, s)
	touch := func(worker string, runs *int) error {
		return s.Do(bounded(t), postgres.Touch{Executions: []flovyn.ExecutionID{id}}, func(tx *postgres.Tx) error {
			*runs++
			e, err := tx.Execution(org, id)
			if err != nil {
				return err
			}
			e.WorkerID = worker
			tx.UpdateExecution(e)
			return nil
		})
	}
	var runs int
	proxy.Set(pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutAfter, Times: 1})
	if err := touch("a", &runs); err != nil || runs != 1 {
		t.Fatalf("%v after %d runs", err, runs)
	}
	if e, err := s.Execution(t.Context(), org, id); err != nil || e.WorkerID != "a" {
		t.Fatalf("%+v, %v", e, err)
	}
}

// Nobody knows how far the database was when the connection was lost, again and
// again: what is acknowledged is there once, and nothing is there twice.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	proxy, s := faulty(t)
	id := create(t, s)
	proxy.Set(
		pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutBlind, Rate: 0.05},
		pgfault.Rule{Statement: "EventsInsert", Fault: pgfault.Refuse, Rate: 0.05},
		pgfault.Rule{Statement: "ExecutionsLock", Fault: pgfault.CutAfter, Rate: 0.03},
		pgfault.Rule{Statement: "XactStatus", Fault: pgfault.CutAfter, Rate: 0.2},
	)
	ctx := bounded(t)
	var steps sync.WaitGroup
	acknowledged := make([][]string, 8)
	for w := range acknowledged {
		steps.Go(func() {
			for n := range 40 {
				name := fmt.Sprint(w, "/", n)
				switch err := signal(ctx, s, id, name); {
				case err == nil:
					acknowledged[w] = append(acknowledged[w], name)
				case !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Conflict):
					t.Error(err)
				}
			}
		})
	}
	steps.Wait()
	proxy.Set()
	there := map[string]int{}
	for _, e := range eventsOf(t, s, id)[1:] {
		there[string(history.Member(e.Data, "signalName"))]++
	}
	total := 0
	for _, names := range acknowledged {
		total += len(names)
		for _, name := range names {
			if there[`"`+name+`"`] != 1 {
				t.Errorf("%s was acknowledged and is there %d times", name, there[`"`+name+`"`])
			}
		}
	}
	for name, n := range there {
		if n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	if total < 250 || proxy.Hits("COMMIT") == 0 || proxy.Hits("EventsInsert") == 0 {
		t.Errorf("%d acknowledged, %d commits cut, %d writes refused", total, proxy.Hits("COMMIT"), proxy.Hits("EventsInsert"))
	}
}

// A claim whose answer is lost has its work all the same; one that was not made
// leaves it to others.
func TestFaultsOfAClaim(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule pgfault.Rule
		took bool
	}{
		"before the commit": {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutBefore}, false},
		"after the commit":  {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutAfter}, true},
		"refused":           {pgfault.Rule{Statement: "COMMIT", Fault: pgfault.Refuse}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, s := faulty(t)
			id, task := newID(), flovyn.TaskID(uuid.New())
			err := s.Do(bounded(t), postgres.Touch{}, func(tx *postgres.Tx) error {
				if err := insert(tx, id); err != nil {
					return err
				}
				w, err := tx.Execution(org, id)
				if err != nil {
					return err
				}
				tx.ListExecution(w)
				standalone := &flovyn.TaskExecution{ID: task, Org: org, Kind: "t", Queue: "q", Status: flovyn.TaskPending, CreatedAt: tx.Now()}
				tx.InsertTask(standalone, []byte(`{"n":2}`))
				tx.ListTask(standalone)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			test.rule.Times = 1
			proxy.Set(test.rule)
			activations, err := s.ClaimExecutions(bounded(t), org, "q", nil, []string{"w"})
			took := len(activations) == 1 && activations[0].Execution.ID == id && string(activations[0].Input) == `{"n":1}`
			if took != test.took || test.took && err != nil {
				t.Errorf("claimed %v, %v", activations, err)
			}
			proxy.Set(test.rule)
			assignments, err := s.ClaimTasks(bounded(t), org, "q", nil, []string{"w"})
			took = len(assignments) == 1 && assignments[0].Task.ID == task && string(assignments[0].Input) == `{"n":2}`
			if took != test.took || test.took && err != nil {
				t.Errorf("claimed %v, %v", assignments, err)
			}
			proxy.Set()
			activations, err = s.ClaimExecutions(bounded(t), org, "q", nil, []string{"w"})
			if (len(activations) == 1) == test.took || err != nil {
				t.Errorf("then claimed %v, %v", activations, err)
			}
			assignments, err = s.ClaimTasks(bounded(t), org, "q", nil, []string{"w"})
			if (len(assignments) == 1) == test.took || err != nil {
				t.Errorf("then claimed %v, %v", assignments, err)
			}
		})
	}
}

// While nobody reaches the database, steps are refused; then all is as before.
func TestDatabaseOutOfReach(t *testing.T) {
	t.Parallel()
	proxy, s := faulty(t)
	id := create(t, s)
	proxy.Down()
	if err := signal(bounded(t), s, id, "lost"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("answered %v", err)
	}
	proxy.Up()
	if err := signal(bounded(t), s, id, "kept"); err != nil {
		t.Error(err)
	}
	if n := len(eventsOf(t, s, id)); n != 2 {
		t.Errorf("%d events", n)
	}
}
