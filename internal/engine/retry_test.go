package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/wake"
)

func (b *bench) retry(id flovyn.ExecutionID) {
	b.Helper()
	b.must(b.engine.Retry(b.Context(), b.org, id, "try again", "user:alice"))
}

// shown is the history as workers see it.
func (b *bench) shown(id flovyn.ExecutionID) []history.EventType {
	b.Helper()
	var types []history.EventType
	for _, e := range history.ForWorkers(b.events(id)) {
		types = append(types, e.Type)
	}
	return types
}

// failTask lets a task fail for good.
func (b *bench) failTask(id flovyn.TaskID) {
	b.Helper()
	a := b.pollTask()
	if a.Task.ID != id {
		b.Fatalf("polled task %s, not %s", a.Task.ID, id)
	}
	b.must(b.tasks.Fail(b.Context(), b.org, id, "no"))
}

// take claims an execution from a queue of its own.
func (b *bench) take(queue string, id flovyn.ExecutionID) {
	b.Helper()
	if a := b.pollQueue(queue); a.Execution.ID != id {
		b.Fatalf("claimed %s, not %s", a.Execution.ID, id)
	}
}

func TestTerminate(t *testing.T) {
	b := setUp(t)
	id, child := b.begin("k"), newID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: newTaskID(), Kind: "t", MaxRetries: 1},
		history.StartTimer{ID: "t", After: time.Hour}, history.CreatePromise{Name: "p"},
		history.ScheduleChild{ID: child, Name: "kid", Kind: "sub", Queue: "kids"})
	done, err := b.engine.Terminate(t.Context(), b.org, id, "stuck", "user:alice")
	if err != nil || !done {
		t.Fatal(done, err)
	}
	b.wantStatus(id, flovyn.WorkflowFailed)
	b.wantStatus(child, flovyn.WorkflowCancelled)
	b.closedBehind(id)
	if got := b.data(id, history.WorkflowExecutionFailed, "error"); got != `"the workflow was terminated: stuck"` {
		t.Errorf("error %s", got)
	}
	if done, err := b.engine.Terminate(t.Context(), b.org, id, "again", "user:bob"); err != nil || done {
		t.Errorf("terminated twice: %v %v", done, err)
	}
	if n := len(b.events(id)); n != 6 {
		t.Errorf("%d events", n)
	}
	_, err = b.engine.Terminate(t.Context(), flovyn.OrgID(newID()), id, "", "")
	b.wantKind(err, fault.NotFound)
}

// A pending execution that is terminated is out of the backlog, and a held one
// ignores what its worker submits.
func TestTerminateTakesItFromWorkers(t *testing.T) {
	b := setUp(t)
	held := b.begin("k")
	pending := b.start("k", `null`)
	for _, id := range []flovyn.ExecutionID{pending, held} {
		if done, err := b.engine.Terminate(t.Context(), b.org, id, "", "x"); err != nil || !done {
			t.Fatal(done, err)
		}
	}
	b.submitNothingFor(held)
	b.empty()
}

// A retry takes the failure back that the code gave up on, restores what its end
// had withdrawn, and shows workers only what they know.
func TestRetryFromWhereItFailed(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	handled, fatal, waiting := newTaskID(), newTaskID(), newTaskID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: handled, Kind: "t"})
	b.failTask(handled)
	b.poll()
	// The code has seen that failure and goes on.
	b.submit(id, history.Suspended, history.ScheduleTask{ID: fatal, Kind: "t"}, history.ScheduleTask{ID: waiting, Kind: "t", Queue: "later", Timeout: time.Hour},
		history.StartTimer{ID: "past", After: time.Millisecond}, history.StartTimer{ID: "t", After: time.Hour},
		history.CreatePromise{Name: "p", Timeout: time.Hour, HasTimeout: true})
	b.failTask(fatal)
	b.poll()
	b.submit(id, history.Failed, history.FailWorkflow{Error: "boom", FailureType: "ERROR"})
	b.wantStatus(id, flovyn.WorkflowFailed)
	b.closedBehind(id)

	b.retry(id)
	if a := b.poll(); a.Execution.ID != id || !a.Execution.EndedAt.IsZero() || !a.Execution.News {
		t.Fatalf("activated %+v", a.Execution)
	}
	want := []history.EventType{
		history.WorkflowStarted, history.TaskScheduled, history.TaskFailed, history.TaskScheduled, history.TaskScheduled,
		history.TimerStarted, history.TimerStarted, history.PromiseCreated,
		history.WorkflowSuspended, history.WorkflowSuspended, history.WorkflowSuspended,
	}
	if diff := cmp.Diff(want, b.shown(id)); diff != "" {
		t.Fatalf("what workers see (-want +got):\n%s", diff)
	}
	if got := b.data(id, history.RetryRequested, "previousError"); got != `"boom"` {
		t.Errorf("previous error %s", got)
	}
	if n := b.count("SELECT count(*) FROM timer WHERE owner_id = $1", id.UUID()); n != 4 {
		t.Errorf("%d timers are back, not the two sleeps, the promise's and the task's", n)
	}
	if n := b.count("SELECT count(*) FROM promise WHERE execution_id = $1 AND status = 'PENDING' AND settled_at IS NULL", id.UUID()); n != 1 {
		t.Error("the promise is not back")
	}
	b.submit(id, history.Suspended)
	b.fireTimers()
	a := b.pollTask() // with as many attempts as it had at first
	if a.Task.ID != fatal || a.Task.Attempt != 2 || a.Task.MaxRetries != 1 {
		t.Errorf("polled %+v", a.Task)
	}
	b.must(b.tasks.Complete(t.Context(), b.org, fatal, []byte(`1`)))
	later, err := b.tasks.Poll(t.Context(), wake.Key{Org: b.org, Queue: "later"}, wake.Poller{Worker: "w"}, patience)
	if err != nil || later == nil || later.Task.ID != waiting {
		t.Fatalf("the other task is not back: %v %v", later, err)
	}
	b.poll()
	b.submit(id, history.Completed, history.CompleteWorkflow{Output: []byte(`2`)})
	b.wantStatus(id, flovyn.WorkflowCompleted)
	b.closedBehind(id)
	attempts, err := b.store.TaskAttempts(t.Context(), b.org, fatal)
	if err != nil || len(attempts) != 1 || attempts[0].Error != "no" {
		t.Errorf("attempts %+v, %v", attempts, err)
	}
}

func TestRetryRefusals(t *testing.T) {
	b := setUp(t)
	id, child := b.begin("k"), newID()
	b.wantKind(b.engine.Retry(t.Context(), b.org, id, "", ""), fault.Precondition)
	b.wantKind(b.engine.Retry(t.Context(), flovyn.OrgID(newID()), id, "", ""), fault.NotFound)
	b.submit(id, history.Suspended, history.ScheduleChild{ID: child, Name: "kid", Kind: "sub"})
	b.poll()
	b.submit(child, history.Failed, history.FailWorkflow{Error: "no"})
	b.wantKind(b.engine.Retry(t.Context(), b.org, child, "", ""), fault.Precondition)
}

// The retry of a parent reaches the child it failed of, tells of a child that
// ended while nobody listened, and a second retry of the same works as well.
func TestRetryWithChildren(t *testing.T) {
	b := setUp(t)
	id, fatal, late := b.begin("k"), newID(), newID()
	b.submit(id, history.Suspended, history.ScheduleChild{ID: fatal, Name: "a", Kind: "sub", Queue: "a"},
		history.ScheduleChild{ID: late, Name: "b", Kind: "sub", Queue: "b"})
	failAll := func() {
		b.take("a", fatal)
		b.submit(fatal, history.Failed, history.FailWorkflow{Error: "no"})
		b.poll()
		b.submit(id, history.Failed, history.FailWorkflow{Error: "boom"})
		b.wantStatus(id, flovyn.WorkflowFailed)
	}
	failAll()
	b.take("b", late)
	b.submit(late, history.Completed, history.CompleteWorkflow{Output: []byte(`7`)})
	for range 2 {
		b.retry(id)
		b.poll()
		b.submit(id, history.Suspended)
		b.wantStatus(id, flovyn.WorkflowPending) // the earlier worker may have submitted: looked at twice
		b.poll()
		b.submit(id, history.Suspended)
		failAll()
	}
	b.retry(id)
	b.take("a", fatal)
	b.submit(fatal, history.Completed, history.CompleteWorkflow{Output: []byte(`8`)})
	b.poll()
	b.submit(id, history.Completed, history.CompleteWorkflow{})
	var outputs []string
	for _, e := range history.ForWorkers(b.events(id)) {
		switch e.Type {
		case history.ChildWorkflowFailed, history.WorkflowExecutionFailed, history.RetryRequested:
			t.Errorf("workers see %s", e.Type)
		case history.ChildWorkflowCompleted:
			outputs = append(outputs, string(history.Member(e.Data, "output")))
		}
	}
	if diff := cmp.Diff([]string{"7", "8"}, outputs); diff != "" {
		t.Error(diff)
	}
}
