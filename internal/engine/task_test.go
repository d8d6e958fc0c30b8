package engine_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/upkeep"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// schedule starts a workflow that waits for one task.
func (b *bench) schedule(c history.ScheduleTask) (flovyn.ExecutionID, flovyn.TaskID) {
	b.Helper()
	id := b.begin("k")
	c.ID = newTaskID()
	if c.Kind == "" {
		c.Kind = "t"
	}
	b.submit(id, history.Suspended, c)
	return id, c.ID
}

func (b *bench) task(id flovyn.TaskID) *flovyn.TaskExecution {
	b.Helper()
	t, err := b.store.Task(b.Context(), b.org, id)
	b.must(err)
	return t
}

func (b *bench) wantTask(id flovyn.TaskID, want flovyn.TaskStatus) {
	b.Helper()
	if t := b.task(id); t.Status != want {
		b.Fatalf("task %s is %s (%s), not %s", id, t.Status, t.Error, want)
	}
}

func TestTaskRetries(t *testing.T) {
	b := setUp(t)
	id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 2})
	for attempt := int32(1); attempt <= 3; attempt++ {
		b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled)
		if a := b.pollTask(); a.Task.ID != taskID || a.Task.Attempt != attempt {
			t.Fatalf("attempt %d: %+v", attempt, a.Task)
		}
		b.must(b.tasks.Fail(t.Context(), b.org, taskID, "broke \x00 again"))
	}
	b.wantTask(taskID, flovyn.TaskFailed)
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskFailed)
	if got := b.data(id, history.TaskFailed, "executionCount"); got != "3" {
		t.Fatalf("after %s attempts", got)
	}
	attempts, err := b.store.TaskAttempts(t.Context(), b.org, taskID)
	b.must(err)
	if len(attempts) != 2 || attempts[0].Number != 1 || attempts[1].Number != 2 || attempts[0].Error != "broke \ufffd again" {
		t.Fatalf("attempts %+v", attempts)
	}
	// Too late: nothing changes any more.
	b.must(b.tasks.Complete(t.Context(), b.org, taskID, []byte(`1`)))
	b.must(b.tasks.Fail(t.Context(), b.org, taskID, "x"))
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskFailed)
	b.wantKind(b.tasks.Heartbeat(t.Context(), b.org, taskID), fault.Precondition)
	b.wantKind(b.tasks.Cancel(t.Context(), b.org, taskID, ""), fault.Precondition)
	for _, err := range []error{
		b.tasks.Complete(t.Context(), b.org, newTaskID(), nil), b.tasks.Fail(t.Context(), b.org, newTaskID(), ""),
	} {
		b.wantKind(err, fault.NotFound)
	}
}

// A task whose result arrives twice at once is completed once.
func TestCompletedOnce(t *testing.T) {
	b := setUp(t)
	second := b.another()
	id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 3})
	b.pollTask()
	var workers sync.WaitGroup
	for i := range 20 {
		workers.Go(func() {
			if err := []*bench{b, second}[i%2].tasks.Complete(context.WithoutCancel(t.Context()), b.org, taskID, []byte(`1`)); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskCompleted)
}

func TestTaskCancel(t *testing.T) {
	b := setUp(t)
	for _, running := range []bool{false, true} {
		id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 3, Timeout: time.Hour})
		if running {
			b.pollTask()
		}
		b.must(b.tasks.Cancel(t.Context(), b.org, taskID, "why"))
		b.must(b.tasks.Cancel(t.Context(), b.org, taskID, "again"))
		b.must(b.tasks.Complete(t.Context(), b.org, taskID, nil)) // late
		b.wantTask(taskID, flovyn.TaskCancelled)
		b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskCancelled, history.TaskFailed)
		if got := b.data(id, history.TaskFailed, "error"); got != `"Task cancelled: why"` {
			t.Fatalf("error %s", got)
		}
		if a := b.poll(); a.Execution.LastSeq != 4 {
			t.Fatalf("claimed at %d", a.Execution.LastSeq)
		}
		b.submit(id, history.Suspended)
		b.wantStatus(id, flovyn.WorkflowWaiting) // both events were one piece of news
	}
	if n := b.count("SELECT (SELECT count(*) FROM ready) + (SELECT count(*) FROM timer)"); n != 0 {
		t.Fatalf("%d rows are left of cancelled tasks", n)
	}
}

// A cancelled task is one piece of news also for a poller that waits.
func TestTaskCancelWithAPoller(t *testing.T) {
	b := setUp(t)
	id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 3})
	b.empty()
	polled := make(chan *flovyn.Activation, 1)
	go func() {
		a, _ := b.engine.Poll(context.WithoutCancel(t.Context()), b.key(), wake.Poller{Worker: "w"}, patience)
		polled <- a
	}()
	b.until(func() bool { return b.engine.Waiting() == 1 })
	b.must(b.tasks.Cancel(t.Context(), b.org, taskID, ""))
	if a := <-polled; a == nil || a.Execution.LastSeq != 4 {
		t.Fatalf("handed over %+v", a)
	}
	b.submit(id, history.Suspended)
	b.empty()
}

func TestTaskDeadline(t *testing.T) {
	b := setUp(t)
	for _, running := range []bool{false, true} {
		id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 3, Timeout: 10 * time.Millisecond})
		if running {
			b.pollTask()
		}
		b.until(func() bool {
			b.fireTimers()
			return b.task(taskID).Status.Terminal()
		})
		b.wantTask(taskID, flovyn.TaskFailed)
		if got := b.data(id, history.TaskFailed, "error"); !strings.Contains(got, "timed out") {
			t.Fatalf("error %s", got)
		}
		b.must(b.tasks.Complete(t.Context(), b.org, taskID, nil))
		b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskFailed)
		b.poll()
		b.submit(id, history.Suspended)
	}
	if n := b.count("SELECT (SELECT count(*) FROM ready) + (SELECT count(*) FROM timer)"); n != 0 {
		t.Fatalf("%d rows are left", n)
	}
}

// What a workflow that ended leaves running is not tried again.
func TestTaskOutlivesItsWorkflow(t *testing.T) {
	b := setUp(t)
	returned, failing := newTaskID(), newTaskID()
	id := b.begin("k")
	b.submit(id, history.Running, history.ScheduleTask{ID: returned, Kind: "t", MaxRetries: 3}, history.ScheduleTask{ID: failing, Kind: "t", MaxRetries: 3})
	held := map[flovyn.TaskID]*flovyn.Assignment{}
	for range 2 {
		a := b.pollTask()
		held[a.Task.ID] = a
	}
	b.submit(id, history.Completed)
	b.must(b.tasks.Fail(t.Context(), b.org, failing, "x"))
	b.wantTask(failing, flovyn.TaskCancelled)
	b.tasks.Return(t.Context(), *held[returned])
	b.wantTask(returned, flovyn.TaskCancelled)
	b.closedBehind(id)
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskScheduled, history.WorkflowCompleted)
}

func TestReturn(t *testing.T) {
	b := setUp(t)
	id := b.start("k", `{"a":1}`)
	a := b.poll()
	b.engine.Return(t.Context(), *a)
	again := b.poll()
	if again.Execution.ID != id || again.Execution.Activations != 1 || string(again.Input) != `{"a":1}` {
		t.Fatalf("%+v", again)
	}
	b.engine.Return(t.Context(), *a) // of an earlier claim
	b.wantStatus(id, flovyn.WorkflowRunning)
	b.submit(id, history.Suspended, history.ScheduleTask{ID: newTaskID(), Kind: "t", Input: []byte(`{"b": 2}`), MaxRetries: 3})
	b.engine.Return(t.Context(), *again) // as if another one had submitted in its place: looked at again
	b.poll()
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
	first := b.pollTask()
	b.tasks.Return(t.Context(), *first)
	second := b.pollTask()
	if second.Task.Attempt != 1 || string(second.Input) != `{"b": 2}` {
		t.Fatalf("%+v with %s", second.Task, second.Input)
	}
	b.tasks.Return(t.Context(), *first)
	b.wantTask(first.Task.ID, flovyn.TaskRunning)
}

// An activation taken back, and a late submission of its first worker.
func TestReclaim(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	reclaim := func() {
		t.Helper()
		b.until(func() bool {
			b.must(b.upkeep.ReclaimActivations(t.Context()))
			return b.status(id) == flovyn.WorkflowPending
		})
	}
	reclaim()
	b.submitNothingFor(id) // the first worker, before anybody else claimed it
	b.poll()
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", nil); err != nil {
		t.Fatal(err)
	}
	task := newTaskID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 3}) // the first worker, while the second one holds it
	b.poll()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 3}) // the second worker
	b.wantTypes(id, history.WorkflowStarted, history.SignalReceived, history.TaskScheduled)
	// A worker that never comes back: the next activation is followed by another.
	b.must(b.tasks.Cancel(t.Context(), b.org, task, ""))
	b.until(func() bool { return b.status(id) == flovyn.WorkflowPending })
	b.poll()
	reclaim()
	b.poll()
	b.submit(id, history.Suspended)
	b.poll()
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
	stale, err := b.store.StaleExecutions(t.Context(), 0, 10)
	b.must(err)
	if len(stale) != 0 {
		t.Fatalf("stale: %+v", stale)
	}
	// Reclaiming what was submitted meanwhile does nothing.
	b.must(b.engine.Reclaim(t.Context(), postgres.StaleExecution{Org: b.org, ID: id, ClaimedAt: time.Now()}))
	b.wantStatus(id, flovyn.WorkflowWaiting)
}

func TestReclaimTasks(t *testing.T) {
	b := setUp(t)
	id, taskID := b.schedule(history.ScheduleTask{MaxRetries: 1})
	for attempt := range 2 {
		b.pollTask()
		b.until(func() bool {
			b.must(b.upkeep.ReclaimTasks(t.Context()))
			return b.task(taskID).Status != flovyn.TaskRunning
		})
		if attempt == 0 {
			b.wantTask(taskID, flovyn.TaskPending)
			b.must(b.tasks.Complete(t.Context(), b.org, taskID, nil)) // the lost worker comes back: nobody holds it
			b.wantTask(taskID, flovyn.TaskPending)
		}
	}
	b.wantTask(taskID, flovyn.TaskFailed)
	b.wantTypes(id, history.WorkflowStarted, history.TaskScheduled, history.TaskFailed)
	attempts, err := b.store.TaskAttempts(t.Context(), b.org, taskID)
	b.must(err)
	if len(attempts) != 1 || attempts[0].Status != flovyn.AttemptLost || attempts[0].WorkerID != "w1" {
		t.Fatalf("attempts %+v", attempts)
	}
}

func TestStandaloneTasks(t *testing.T) {
	b := setUp(t)
	submit := func(key string) task.SubmitResult {
		t.Helper()
		r, err := b.tasks.Submit(t.Context(), task.SubmitRequest{Org: b.org, Kind: "t", Input: []byte(`{"n": 1.0}`), IdempotencyKey: key, Timeout: time.Hour})
		b.must(err)
		return r
	}
	first, again := submit("K"), submit("K")
	if !first.KeyUsed || !first.KeyNew || again.ID != first.ID || again.KeyNew {
		t.Fatalf("%+v %+v", first, again)
	}
	a := b.pollTask()
	if a.Task.ID != first.ID || string(a.Input) != `{"n": 1.0}` || !a.Task.Standalone() || a.Task.MaxRetries != 3 {
		t.Fatalf("%+v with %s", a.Task, a.Input)
	}
	b.must(b.tasks.Fail(t.Context(), b.org, first.ID, "once"))
	if a := b.pollTask(); a.Task.Attempt != 2 || string(a.Input) != `{"n": 1.0}` {
		t.Fatalf("%+v with %s", a.Task, a.Input)
	}
	b.must(b.tasks.Heartbeat(t.Context(), b.org, first.ID))
	b.must(b.tasks.ReportProgress(t.Context(), b.org, first.ID, 0.5, "half"))
	b.must(b.tasks.Log(t.Context(), b.org, first.ID, "INFO", "hello"))
	b.must(b.tasks.Complete(t.Context(), b.org, first.ID, []byte(`"out"`)))
	_, out, err := b.store.TaskPayload(t.Context(), b.org, first.ID)
	if err != nil || string(out) != `"out"` {
		t.Fatalf("output %s, %v", out, err)
	}
	if n := b.count("SELECT count(*) FROM timer"); n != 0 {
		t.Fatalf("%d deadlines are left", n)
	}
	b.must(b.tasks.ReportProgress(t.Context(), b.org, first.ID, 0.7, "late"))
	if n := b.count("SELECT count(*) FROM task_execution WHERE progress = 0.5"); n != 1 {
		t.Fatal("a task that has ended took progress")
	}
	for name, req := range map[string]task.SubmitRequest{
		"of a workflow": {Kind: "t", Workflow: newID()}, "no kind": {}, "retries": {Kind: "t", MaxRetries: -1},
		"timeout": {Kind: "t", Timeout: -1}, "input": {Kind: "t", Input: []byte(`{`)}, "a nul": {Kind: "\x00"},
	} {
		req.Org = b.org
		if _, err := b.tasks.Submit(t.Context(), req); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Submitting under one key from two servers at once makes one task.
func TestStandaloneAtOnce(t *testing.T) {
	b := setUp(t)
	second := b.another()
	var mu sync.Mutex
	ids, fresh := map[flovyn.TaskID]bool{}, 0
	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			r, err := []*bench{b, second}[i%2].tasks.Submit(context.WithoutCancel(t.Context()), task.SubmitRequest{Org: b.org, Kind: "t", IdempotencyKey: "K"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			ids[r.ID] = true
			if r.KeyNew {
				fresh++
			}
		})
	}
	clients.Wait()
	if n := b.count("SELECT count(*) FROM task_execution"); len(ids) != 1 || fresh != 1 || n != 1 {
		t.Fatalf("%d ids, %d new, %d tasks", len(ids), fresh, n)
	}
}

func TestTaskState(t *testing.T) {
	b := setUp(t)
	_, id := b.schedule(history.ScheduleTask{MaxRetries: 3})
	ctx := t.Context()
	for _, key := range []string{"b", "a", ""} {
		b.must(b.tasks.SetState(ctx, b.org, id, key, []byte(` {"k": 1.10} `)))
	}
	b.must(b.tasks.SetState(ctx, b.org, id, "a", nil))
	for key, want := range map[string]string{"a": "null", "b": `{"k": 1.10}`} {
		if v, found, err := b.tasks.GetState(ctx, b.org, id, key); err != nil || !found || string(v) != want {
			t.Errorf("%s is %s, %v, %v", key, v, found, err)
		}
	}
	if _, found, err := b.tasks.GetState(ctx, b.org, id, "c"); err != nil || found {
		t.Errorf("an absent key: %v, %v", found, err)
	}
	b.must(b.tasks.ClearState(ctx, b.org, id, "b"))
	b.must(b.tasks.ClearState(ctx, b.org, id, "b"))
	keys, err := b.tasks.StateKeys(ctx, b.org, id)
	b.must(err)
	if diff := cmp.Diff([]string{"", "a"}, keys); diff != "" {
		t.Fatal(diff)
	}
	b.must(b.tasks.ClearAllState(ctx, b.org, id))
	if keys, err := b.tasks.StateKeys(ctx, b.org, id); err != nil || len(keys) != 0 {
		t.Fatalf("%v, %v", keys, err)
	}
	b.wantKind(b.tasks.SetState(ctx, b.org, id, "k", []byte(`{`)), fault.Invalid)
	b.wantKind(b.tasks.Stream(ctx, b.org, flovyn.TaskID(uuid.New()), task.Frame{}), fault.NotFound)
	b.must(b.tasks.Stream(ctx, b.org, id, task.Frame{Type: "data", Payload: []byte(`{}`)}))
}

// A task that names no queue goes to its workflow's.
func TestTaskQueue(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Suspended, history.ScheduleTask{ID: newTaskID(), Kind: "t"}, history.ScheduleTask{ID: newTaskID(), Kind: "t", Queue: "other"})
	b.pollTask()
	a, err := b.tasks.Poll(t.Context(), wake.Key{Org: b.org, Queue: "other"}, wake.Poller{Worker: "w", Kinds: []string{"t"}}, patience)
	b.must(err)
	if a == nil || a.Task.Queue != "other" || a.Task.MaxRetries != 0 {
		t.Fatalf("%+v", a)
	}
}

// A worker that lives but never reports on a task keeps it for a long time, and
// not forever.
func TestReclaimOfALostResult(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	b := setUpOn(t, dsn)
	submitted, err := b.tasks.Submit(t.Context(), task.SubmitRequest{Org: b.org, Kind: "t"})
	b.must(err)
	b.pollTask()
	conn, err := pgx.Connect(t.Context(), dsn)
	b.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	_, err = conn.Exec(t.Context(), "UPDATE task_execution SET heartbeat_at = heartbeat_at - interval '2 hours'")
	b.must(err)

	reclaim := func(abandon time.Duration) flovyn.TaskStatus {
		// A poll is a sign of life of the worker.
		_, end, err := b.workers.BeginPoll(t.Context(), worker.PollRequest{Org: b.org, Worker: "w1", Class: flovyn.ClassTask})
		b.must(err)
		end()
		b.must(upkeep.New(upkeep.Config{
			Store: b.store, Engine: b.engine, Tasks: b.tasks, Workers: b.workers, Logger: slog.New(slog.DiscardHandler),
			TaskSilence: time.Minute, TaskAbandon: abandon,
		}).ReclaimTasks(t.Context()))
		row, err := b.store.Task(t.Context(), b.org, submitted.ID)
		b.must(err)
		return row.Status
	}
	if s := reclaim(3 * time.Hour); s != flovyn.TaskRunning {
		t.Fatalf("the task of a living worker is %s", s)
	}
	if s := reclaim(time.Hour); s != flovyn.TaskPending {
		t.Fatalf("a task of which nothing is heard is %s", s)
	}
	if again := b.pollTask(); again.Task.ID != submitted.ID || again.Task.Attempt != 2 {
		t.Fatalf("polled %+v", again.Task)
	}
}
