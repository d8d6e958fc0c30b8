package engine_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// loseActivation claims the one runnable execution and lets it be taken back.
func (b *bench) loseActivation() {
	b.Helper()
	b.poll()
	b.exec("UPDATE workflow_execution SET claimed_at = claimed_at - interval '1 hour' WHERE status = 'RUNNING'")
	b.must(b.upkeep.ReclaimActivations(b.Context()))
}

// park starts an execution whose workers get lost until it is parked.
func (b *bench) park(kind string) flovyn.ExecutionID {
	b.Helper()
	id := b.start(kind, `null`)
	for range 10 {
		b.loseActivation()
	}
	b.empty()
	return id
}

func (b *bench) parked(q flovyn.ParkedQuery) []*flovyn.WorkflowExecution {
	b.Helper()
	q.Limit = 100
	parked, err := b.engine.ListParked(b.Context(), b.org, q)
	b.must(err)
	return parked
}

func TestParkedAfterLostActivationsInARow(t *testing.T) {
	b := setUp(t)
	id := b.start("poison", `null`)
	for range 9 {
		b.loseActivation()
	}
	b.poll()
	b.submit(id, history.Suspended, history.CreatePromise{Name: "p"}) // not in a row
	b.must(b.engine.ResolvePromise(t.Context(), b.org, b.promise(id), nil))
	for range 9 {
		b.loseActivation()
	}
	if n := len(b.parked(flovyn.ParkedQuery{})); n != 0 {
		t.Fatalf("%d executions are parked too early", n)
	}
	b.loseActivation()
	list := b.parked(flovyn.ParkedQuery{})
	if len(list) != 1 || list[0].ID != id || list[0].Status != flovyn.WorkflowPending || !list[0].Parked() ||
		!strings.Contains(list[0].ParkedReason, "10 activations in a row were lost: worker w1") {
		t.Fatalf("parked: %+v", list)
	}
	// It holds up nobody, is told what happens, and nothing gives it to a worker.
	other := b.begin("fine")
	b.submit(other, history.Completed, history.CompleteWorkflow{})
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", nil); err != nil {
		t.Fatal(err)
	}
	b.submitNothingFor(id)
	b.must(b.upkeep.WakeBacklog(t.Context()))
	b.must(b.upkeep.ReclaimActivations(t.Context()))
	b.empty()

	b.must(b.engine.Release(t.Context(), b.org, id))
	b.wantKind(b.engine.Release(t.Context(), b.org, id), fault.Precondition)
	b.wantKind(b.engine.Release(t.Context(), flovyn.OrgID(uuid.New()), id), fault.NotFound)
	a := b.poll()
	if a.Execution.ID != id || a.Execution.Parked() || a.Execution.Lost != 0 || a.Execution.LastSeq != 4 {
		t.Fatalf("released: %+v", a.Execution)
	}
	b.submit(id, history.Completed, history.CompleteWorkflow{})
	b.wantStatus(id, flovyn.WorkflowCompleted)
}

// A worker whose submissions are refused loses its activations too; the reason
// says what it was told.
func TestParkedForRefusedSubmissions(t *testing.T) {
	b := setUp(t)
	id := b.start("k", `null`)
	for range 9 {
		b.loseActivation()
	}
	b.poll()
	err := b.engine.Submit(t.Context(), b.org, id, []history.Command{history.StartTimer{}}, history.Suspended)
	b.wantKind(err, fault.Invalid)
	b.exec("UPDATE workflow_execution SET claimed_at = claimed_at - interval '1 hour'")
	b.must(b.upkeep.ReclaimActivations(t.Context()))
	if list := b.parked(flovyn.ParkedQuery{}); len(list) != 1 || !strings.Contains(list[0].ParkedReason, "commands[0].timer_id: must not be empty") {
		t.Fatalf("parked: %+v", list)
	}
}

func TestParkedInBulk(t *testing.T) {
	b := setUp(t)
	a1, a2, c := b.park("a"), b.park("a"), b.park("c")
	ids := func(q flovyn.ParkedQuery) (ids []flovyn.ExecutionID) {
		for _, w := range b.parked(q) {
			ids = append(ids, w.ID)
		}
		return ids
	}
	for name, test := range map[string]struct {
		query flovyn.ParkedQuery
		want  []flovyn.ExecutionID
	}{
		"all":     {flovyn.ParkedQuery{}, []flovyn.ExecutionID{a1, a2, c}},
		"kind":    {flovyn.ParkedQuery{Kind: "a"}, []flovyn.ExecutionID{a1, a2}},
		"queue":   {flovyn.ParkedQuery{Queue: "elsewhere"}, nil},
		"ids":     {flovyn.ParkedQuery{IDs: []uuid.UUID{c.UUID(), uuid.New()}}, []flovyn.ExecutionID{c}},
		"a page":  {flovyn.ParkedQuery{AfterAt: b.parked(flovyn.ParkedQuery{})[0].ParkedAt, AfterID: a1.UUID()}, []flovyn.ExecutionID{a2, c}},
		"nothing": {flovyn.ParkedQuery{Kind: "a", Queue: "elsewhere"}, nil},
	} {
		if diff := cmp.Diff(test.want, ids(test.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	foreign := flovyn.OrgID(uuid.New())
	for name, many := range map[string]func(org flovyn.OrgID, q flovyn.ParkedQuery) (int, error){
		"release": func(org flovyn.OrgID, q flovyn.ParkedQuery) (int, error) {
			return b.engine.ReleaseMany(t.Context(), org, q)
		},
		"terminate": func(org flovyn.OrgID, q flovyn.ParkedQuery) (int, error) {
			return b.engine.TerminateMany(t.Context(), org, q, "poison", "user:alice")
		},
	} {
		_, err := many(b.org, flovyn.ParkedQuery{})
		b.wantKind(err, fault.Invalid)
		if n, err := many(foreign, flovyn.ParkedQuery{All: true}); n != 0 || err != nil {
			t.Errorf("%s of another organization: %d, %v", name, n, err)
		}
	}
	if n, err := b.engine.TerminateMany(t.Context(), b.org, flovyn.ParkedQuery{Kind: "c"}, "poison", "user:alice"); n != 1 || err != nil {
		t.Fatalf("terminated %d, %v", n, err)
	}
	b.wantStatus(c, flovyn.WorkflowFailed)
	if n, err := b.engine.ReleaseMany(t.Context(), b.org, flovyn.ParkedQuery{All: true}); n != 2 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	if left := ids(flovyn.ParkedQuery{}); left != nil {
		t.Errorf("still parked: %v", left)
	}
	b.poll()
	b.poll()
	b.empty()
}

// loseTask claims the one runnable task and lets it be taken back.
func (b *bench) loseTask() {
	b.Helper()
	b.pollTask()
	b.exec("UPDATE task_execution SET heartbeat_at = heartbeat_at - interval '2 hours' WHERE status = 'RUNNING'")
	b.must(b.upkeep.ReclaimTasks(b.Context()))
}

func (b *bench) noTask() {
	b.Helper()
	a, err := b.tasks.Poll(b.Context(), b.key(), wake.Poller{Worker: "w1"}, 0)
	b.must(err)
	if a != nil {
		b.Fatalf("task %s is runnable and should not be", a.Task.ID)
	}
}

func TestTaskParkedAfterLostAttemptsInARow(t *testing.T) {
	b := setUp(t)
	workflow, id := b.schedule(history.ScheduleTask{ID: newTaskID(), Kind: "poison", MaxRetries: 100})
	b.loseTask()
	b.loseTask()
	b.pollTask()
	b.must(b.tasks.Fail(t.Context(), b.org, id, "no")) // not in a row
	b.loseTask()
	b.loseTask()
	if b.task(id).Parked() {
		t.Fatal("parked too early")
	}
	b.loseTask()
	list, err := b.tasks.ListParked(t.Context(), b.org, flovyn.ParkedQuery{Kind: "poison", Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Status != flovyn.TaskPending ||
		!strings.Contains(list[0].ParkedReason, "3 attempts in a row were lost: worker w1") {
		t.Fatalf("parked: %+v, %v", list, err)
	}
	b.noTask()
	b.must(b.tasks.Release(t.Context(), b.org, id))
	b.wantKind(b.tasks.Release(t.Context(), b.org, id), fault.Precondition)
	b.wantKind(b.tasks.Release(t.Context(), flovyn.OrgID(uuid.New()), id), fault.NotFound)
	if a := b.pollTask(); a.Task.ID != id || a.Task.Attempt != 7 || a.Task.Lost != 0 {
		t.Fatalf("released: %+v", a.Task)
	}
	b.must(b.tasks.Complete(t.Context(), b.org, id, nil))
	b.poll()
	b.submit(workflow, history.Completed, history.CompleteWorkflow{})
}

func TestParkedTasksInBulk(t *testing.T) {
	b := setUp(t)
	_, one := b.schedule(history.ScheduleTask{ID: newTaskID(), Kind: "a", MaxRetries: 100})
	for range 3 {
		b.loseTask()
	}
	workflow, two := b.schedule(history.ScheduleTask{ID: newTaskID(), Kind: "b", MaxRetries: 100})
	for range 3 {
		b.loseTask()
	}
	b.noTask()
	if n, err := b.tasks.CancelMany(t.Context(), b.org, flovyn.ParkedQuery{Kind: "b"}, "poison"); n != 1 || err != nil {
		t.Fatalf("cancelled %d, %v", n, err)
	}
	b.wantTask(two, flovyn.TaskCancelled)
	b.wantTypes(workflow, history.WorkflowStarted, history.TaskScheduled, history.TaskCancelled, history.TaskFailed)
	if n, err := b.tasks.ReleaseMany(t.Context(), b.org, flovyn.ParkedQuery{All: true}); n != 1 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	if a := b.pollTask(); a.Task.ID != one {
		t.Fatalf("released %s", a.Task.ID)
	}
}

// A parked task ends with its workflow, and at its last attempt a task fails
// rather than being parked, so that its workflow goes on.
func TestParkedTaskEndsWithItsWorkflow(t *testing.T) {
	b := setUp(t)
	workflow, id := b.schedule(history.ScheduleTask{ID: newTaskID(), Kind: "a", MaxRetries: 100})
	for range 3 {
		b.loseTask()
	}
	b.must(b.engine.Cancel(t.Context(), b.org, workflow, "", ""))
	if task := b.task(id); task.Status != flovyn.TaskCancelled || task.Parked() {
		t.Errorf("left behind: %+v", task)
	}
	_, last := b.schedule(history.ScheduleTask{ID: newTaskID(), Kind: "a", MaxRetries: 2})
	for range 3 {
		b.loseTask()
	}
	b.wantTask(last, flovyn.TaskFailed)
}

// An operator may want nothing parked.
func TestNeverParked(t *testing.T) {
	b := setUpLimited(t, engine.Limits{WorkflowParkAfter: -1, TaskParkAfter: -1})
	id := b.start("k", `null`)
	for range 12 {
		b.loseActivation()
	}
	if a := b.poll(); a.Execution.ID != id || a.Execution.Lost != 12 {
		t.Fatalf("claimed %+v", a.Execution)
	}
	task := newTaskID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 100})
	for range 5 {
		b.loseTask()
	}
	if b.task(task).Parked() {
		t.Fatal("parked")
	}
}
