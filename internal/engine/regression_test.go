package engine_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// The tests below are of faults that the differential test found.

// A worker that settles a promise of its own and keeps the execution has not seen
// that it is settled: when it suspends, it has to look again.
func TestOwnPromiseSettledWhileKeptIsNews(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Running, history.CreatePromise{Name: "p"})
	promise := flovyn.PromiseID(uuid.MustParse(b.promise(id)))
	b.submit(id, history.Running, history.ResolvePromise{ID: promise, Value: []byte(`1`)})
	b.submit(id, history.Suspended)
	if a := b.poll(); a.Execution.ID != id {
		t.Fatalf("claimed %s", a.Execution.ID)
	}
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
}

// A timer that is withdrawn in the submission that ends the execution is gone.
func TestTimerWithdrawnAtTheEndIsGone(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Running, history.StartTimer{ID: "t", After: time.Hour})
	b.submit(id, history.Completed, history.CancelTimer{ID: "t"}, history.CompleteWorkflow{})
	b.wantStatus(id, flovyn.WorkflowCompleted)
	b.closedBehind(id)
}

// A submission whose answer was lost comes again, after what it waits for has
// happened and another worker has taken the execution up, and that worker dies.
// The one that submits has seen nothing: the execution must not wait on its word.
// So it is with a worker that could not read the history and began anew.
func TestResentSubmissionDoesNotHideWhatHappened(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	waits := []history.Command{history.StartTimer{ID: "t"}, history.SuspendWorkflow{Reason: "waiting for t"}}
	b.submit(id, history.Suspended, waits...)
	b.fireTimers()
	b.poll() // by the worker that dies
	b.submit(id, history.Suspended, waits...)
	if a := b.poll(); a.Execution.ID != id {
		t.Fatalf("claimed %s", a.Execution.ID)
	}
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
}
