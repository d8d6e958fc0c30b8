package engine_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/upkeep"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is one server's deeds on a database of the test's own.
type bench struct {
	*testing.T
	store   *postgres.Store
	engine  *engine.Engine
	tasks   *task.Tasks
	workers *worker.Registry
	upkeep  *upkeep.Upkeep
	org     flovyn.OrgID
	dsn     string
	conn    *pgx.Conn // behind the engine's back
}

// another is a second server on the same database.
func (b *bench) another() *bench {
	b.Helper()
	second := setUpOn(b.T, b.dsn)
	second.org = b.org
	return second
}

func setUp(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	return setUpOn(t, pgtest.New(t))
}

// setUpLimited is setUp with limits that a test can reach.
func setUpLimited(t *testing.T, limits engine.Limits) *bench {
	t.Helper()
	t.Parallel()
	return setUpWith(t, pgtest.New(t), limits)
}

func setUpOn(t *testing.T, dsn string) *bench {
	t.Helper()
	return setUpWith(t, dsn, engine.Limits{})
}

func setUpWith(t *testing.T, dsn string, limits engine.Limits) *bench {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Config{Store: store, Limits: limits, Logger: log})
	b := &bench{T: t, store: store, engine: e, org: flovyn.OrgID(uuid.New()), dsn: dsn}
	b.tasks = task.New(store, e, log)
	b.workers = worker.New(worker.Config{Store: store, Logger: log})
	b.upkeep = upkeep.New(upkeep.Config{
		Store: store, Engine: e, Tasks: b.tasks, Workers: b.workers, Logger: log,
		ActivationTimeout: time.Millisecond, TaskSilence: time.Millisecond,
	})
	b.connect()
	t.Cleanup(func() {
		e.ClosePolls()
		e.Close()
		store.Close()
	})
	return b
}

func (b *bench) key() wake.Key { return wake.Key{Org: b.org, Queue: "default"} }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start(kind, input string) flovyn.ExecutionID {
	b.Helper()
	r, err := b.engine.Start(b.Context(), engine.StartRequest{Org: b.org, Kind: kind, Input: []byte(input)})
	b.must(err)
	return r.ID
}

// patience is how long a poll of a test waits for work that must come.
const patience = 20 * time.Second

// poll claims the next execution, which must come.
func (b *bench) poll() *flovyn.Activation {
	b.Helper()
	a, err := b.engine.Poll(b.Context(), b.key(), wake.Poller{Worker: "w1"}, patience)
	b.must(err)
	if a == nil {
		b.Fatal("no execution to poll")
	}
	return a
}

// empty checks that no execution is runnable.
func (b *bench) empty() {
	b.Helper()
	a, err := b.engine.Poll(b.Context(), b.key(), wake.Poller{Worker: "w1"}, 30*time.Millisecond)
	b.must(err)
	if a != nil {
		b.Fatalf("execution %s is runnable and should not be", a.Execution.ID)
	}
}

func (b *bench) pollTask() *flovyn.Assignment {
	b.Helper()
	a, err := b.tasks.Poll(b.Context(), b.key(), wake.Poller{Worker: "w1"}, patience)
	b.must(err)
	if a == nil {
		b.Fatal("no task to poll")
	}
	return a
}

func (b *bench) submit(id flovyn.ExecutionID, status history.Status, commands ...history.Command) {
	b.Helper()
	b.must(b.engine.Submit(b.Context(), b.org, id, commands, status))
}

func (b *bench) events(id flovyn.ExecutionID) []history.Event {
	b.Helper()
	events, err := b.engine.Events(b.Context(), b.org, id)
	b.must(err)
	for i, e := range events {
		if int(e.Seq) != i+1 {
			b.Fatalf("event %d of %s has sequence number %d", i+1, id, e.Seq)
		}
		if !json.Valid(e.Data) {
			b.Fatalf("event %d is not JSON: %s", e.Seq, e.Data)
		}
	}
	return events
}

func (b *bench) wantTypes(id flovyn.ExecutionID, want ...history.EventType) {
	b.Helper()
	var got []history.EventType
	for _, e := range b.events(id) {
		got = append(got, e.Type)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.Fatalf("history (-want +got):\n%s", diff)
	}
}

func (b *bench) status(id flovyn.ExecutionID) flovyn.WorkflowStatus {
	b.Helper()
	w, err := b.store.Execution(b.Context(), b.org, id)
	b.must(err)
	return w.Status
}

func newTaskID() flovyn.TaskID { return flovyn.TaskID(uuid.New()) }

func TestOneTask(t *testing.T) {
	b := setUp(t)
	id := b.start("order", `{"id": 9007199254740993}`)
	a := b.poll()
	if a.Execution.ID != id || string(a.Input) != `{"id": 9007199254740993}` {
		t.Fatalf("claimed %s with input %s", a.Execution.ID, a.Input)
	}
	taskID := newTaskID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: taskID, Kind: "pay", Input: []byte(`[1.10]`), MaxRetries: 3})
	if s := b.status(id); s != flovyn.WorkflowWaiting {
		t.Fatalf("status %s after suspending", s)
	}
	got := b.pollTask()
	if got.Task.ID != taskID || string(got.Input) != `[1.10]` || got.Task.Attempt != 1 || got.Task.Workflow != id {
		t.Fatalf("assigned %+v with input %s", got.Task, got.Input)
	}
	b.must(b.tasks.Complete(t.Context(), b.org, taskID, []byte(`{"ok":true}`)))
	if again := b.poll(); again.Execution.ID != id || again.Execution.LastSeq != 3 {
		t.Fatalf("claimed %+v", again.Execution)
	}
	b.submit(id, history.Completed, history.CompleteWorkflow{Output: []byte(`"done"`)})
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskCompleted, history.WorkflowCompleted)
	b.empty()
}

func TestHandOver(t *testing.T) {
	b := setUp(t)
	polled := make(chan *flovyn.Activation, 1)
	b.empty() // the queue is now known to be drained
	go func() {
		a, _ := b.engine.Poll(context.WithoutCancel(t.Context()), b.key(), wake.Poller{Worker: "waiting"}, patience)
		polled <- a
	}()
	b.until(func() bool { return b.engine.Waiting() == 1 })
	id := b.start("order", `null`)
	a := <-polled
	if a == nil || a.Execution.ID != id || a.Execution.WorkerID != "waiting" || a.Execution.Activations != 1 {
		t.Fatalf("handed over %+v", a)
	}
	backlogs, err := b.store.Backlogs(t.Context())
	b.must(err)
	if len(backlogs) != 0 {
		t.Fatalf("work handed to a waiting poller is in the backlog: %v", backlogs)
	}
}

// until waits for a condition that another goroutine brings about.
func (b *bench) until(condition func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			b.Fatal("the condition never came about")
		}
		if _, err := b.store.Now(b.Context()); err != nil { // a round trip, instead of a sleep
			b.Fatal(err)
		}
	}
}
