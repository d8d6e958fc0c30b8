package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/wake"
)

func (b *bench) wantKind(err error, want fault.Kind) {
	b.Helper()
	if err == nil || fault.KindOf(err) != want {
		b.Fatalf("error %v, not of kind %s", err, want)
	}
}

func (b *bench) wantStatus(id flovyn.ExecutionID, want flovyn.WorkflowStatus) {
	b.Helper()
	if got := b.status(id); got != want {
		b.Fatalf("execution %s is %s, not %s", id, got, want)
	}
}

// begin starts an execution and claims it.
func (b *bench) begin(kind string) flovyn.ExecutionID {
	b.Helper()
	id := b.start(kind, `null`)
	if a := b.poll(); a.Execution.ID != id {
		b.Fatalf("claimed %s, not %s", a.Execution.ID, id)
	}
	return id
}

// data returns a member of the newest event of a type.
func (b *bench) data(id flovyn.ExecutionID, t history.EventType, member string) string {
	b.Helper()
	events := b.events(id)
	for _, event := range slices.Backward(events) {
		if event.Type == t {
			return string(history.Member(event.Data, member))
		}
	}
	b.Fatalf("%s has no %s", id, t)
	return ""
}

func (b *bench) promise(id flovyn.ExecutionID) string {
	b.Helper()
	ref := strings.Trim(b.data(id, history.PromiseCreated, "promiseId"), `"`)
	if _, err := uuid.Parse(ref); err != nil {
		b.Fatalf("promise id %q", ref)
	}
	return ref
}

func (b *bench) fireTimers() {
	b.Helper()
	b.must(b.upkeep.FireTimers(b.Context()))
}

func newID() flovyn.ExecutionID { return flovyn.ExecutionID(uuid.New()) }

func TestEveryCommandEndToEnd(t *testing.T) {
	b := setUp(t)
	id := b.begin("all")
	child := newID()
	b.submit(
		id, history.Suspended,
		history.RecordOperation{Name: "op", Result: []byte(`1`)},
		history.SetState{Key: "a", Value: []byte(`{"n":9007199254740993}`)},
		history.SetState{Key: "b"},
		history.ClearState{Key: "b"},
		history.ScheduleTask{ID: newTaskID(), Kind: "t", MaxRetries: 1},
		history.CreatePromise{Name: "p"},
		history.ScheduleChild{ID: child, Name: "kid", Kind: "sub", Queue: "kids"},
		history.StartTimer{ID: "t1", After: time.Hour},
		history.StartTimer{ID: "t2", After: time.Hour},
		history.CancelTimer{ID: "t1"},
		history.ResolvePromise{ID: flovyn.PromiseID(uuid.New())},
		history.SuspendWorkflow{Reason: "r"},
	)
	want := []history.EventType{
		history.WorkflowStarted, history.OperationCompleted, history.StateSet, history.StateSet, history.StateCleared,
		history.TaskScheduled, history.PromiseCreated, history.ChildWorkflowInitiated, history.TimerStarted,
		history.TimerStarted, history.TimerCancelled, history.WorkflowSuspended,
	}
	b.wantTypes(id, want...)
	b.wantStatus(id, flovyn.WorkflowWaiting)
	if v, text, err := b.engine.Query(t.Context(), b.org, id, "a", nil); err != nil || text != "" || string(v) != `{"n":9007199254740993}` {
		t.Fatalf("state %s %q %v", v, text, err)
	}
	if v, _, err := b.engine.Query(t.Context(), b.org, id, engine.AllState, nil); err != nil || string(v) != `{"a":{"n":9007199254740993}}` {
		t.Fatalf("all state %s %v", v, err)
	}
	if _, text, err := b.engine.Query(t.Context(), b.org, id, "b", nil); err != nil || text == "" {
		t.Fatalf("a cleared key: %q %v", text, err)
	}
	// The child, cancelled by its parent, tells it.
	b.submitNothingFor(id)
	if _, err := b.engine.Signal(t.Context(), b.org, id, "go", nil); err != nil {
		t.Fatal(err)
	}
	b.poll()
	b.submit(id, history.Suspended, history.CancelChild{Name: "kid", Reason: "enough"})
	b.wantStatus(child, flovyn.WorkflowCancelled)
	b.wantTypes(id, append(want, history.SignalReceived, history.ChildWorkflowFailed)...)
	b.poll() // the news of the child's end
	b.submit(id, history.Completed, history.CompleteWorkflow{Output: []byte(`7`)})
	b.wantStatus(id, flovyn.WorkflowCompleted)
	b.closedBehind(id)
}

// submitNothingFor checks that a submission for an execution that nobody holds
// is ignored.
func (b *bench) submitNothingFor(id flovyn.ExecutionID) {
	b.Helper()
	before := b.events(id)
	b.submit(id, history.Completed, history.SetState{Key: "stale"}, history.CompleteWorkflow{})
	if diff := cmp.Diff(before, b.events(id)); diff != "" {
		b.Fatalf("a stale submission changed the history:\n%s", diff)
	}
}

// closedBehind checks that an ended execution leaves nothing that is pending.
func (b *bench) closedBehind(id flovyn.ExecutionID) {
	b.Helper()
	for what, query := range map[string]string{
		"pending tasks":    "SELECT count(*) FROM task_execution WHERE workflow_id = $1 AND status = 'PENDING'",
		"timers":           "SELECT count(*) FROM timer WHERE owner_id = $1",
		"pending promises": "SELECT count(*) FROM promise WHERE execution_id = $1 AND status = 'PENDING'",
		"listed":           "SELECT count(*) FROM ready WHERE id = $1 OR id IN (SELECT id FROM task_execution WHERE workflow_id = $1)",
	} {
		if n := b.count(query, id.UUID()); n != 0 {
			b.Errorf("%d %s are left of %s", n, what, id)
		}
	}
}

// News between the claim and the submission causes another activation.
func TestNewsWhileHeld(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	b.wantStatus(id, flovyn.WorkflowRunning)
	b.submit(id, history.Suspended)
	b.poll()
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
	b.empty()
	// What happens between listing and claim has been seen by the claim.
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", nil); err != nil {
		t.Fatal(err)
	}
	if a := b.poll(); a.Execution.LastSeq != 4 {
		t.Fatalf("claimed at %d", a.Execution.LastSeq)
	}
	b.submit(id, history.Suspended)
	b.empty()
}

// A submission that keeps the execution keeps its holder and its news.
func TestSubmitRunning(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Running, history.SetState{Key: "a"})
	b.wantStatus(id, flovyn.WorkflowRunning)
	if _, err := b.engine.Signal(t.Context(), b.org, id, "s", nil); err != nil {
		t.Fatal(err)
	}
	b.submit(id, history.Running, history.SetState{Key: "b"})
	b.submit(id, history.Suspended)
	b.poll()
	b.wantTypes(id, history.WorkflowStarted, history.StateSet, history.SignalReceived, history.StateSet)
}

func TestSignals(t *testing.T) {
	b := setUp(t)
	id := b.start("k", `null`)
	for i := range 3 {
		if seq, err := b.engine.Signal(t.Context(), b.org, id, "s", fmt.Appendf(nil, "%d", i)); err != nil || seq != flovyn.Seq(i+2) {
			t.Fatalf("signal %d: sequence number %d, %v", i, seq, err)
		}
	}
	_, err := b.engine.Signal(t.Context(), b.org, newID(), "s", nil)
	b.wantKind(err, fault.NotFound)
	_, err = b.engine.Signal(t.Context(), b.org, id, "", nil)
	b.wantKind(err, fault.Invalid)
	_, err = b.engine.Signal(t.Context(), b.org, id, "s", []byte(`{`))
	b.wantKind(err, fault.Invalid)
	_, err = b.engine.Signal(t.Context(), b.org, id, "nul\x00", nil)
	b.wantKind(err, fault.Invalid)
	b.poll()
	b.submit(id, history.Completed, history.CompleteWorkflow{})
	// Just completed: a client that sent two signals must not fail.
	if seq, err := b.engine.Signal(t.Context(), b.org, id, "late", nil); err != nil || seq != 6 {
		t.Fatalf("a late signal: %d, %v", seq, err)
	}
	b.wantStatus(id, flovyn.WorkflowCompleted)
	b.exec("UPDATE workflow_execution SET ended_at = ended_at - interval '3 s'")
	_, err = b.engine.Signal(t.Context(), b.org, id, "too late", nil)
	b.wantKind(err, fault.Precondition)
	failed := b.begin("k")
	b.submit(failed, history.Failed, history.FailWorkflow{Error: "x"})
	_, err = b.engine.Signal(t.Context(), b.org, failed, "s", nil)
	b.wantKind(err, fault.Precondition)
}

func TestSignalLimit(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			for range flovyn.MaxSignals / 100 {
				if _, err := b.engine.Signal(context.WithoutCancel(t.Context()), b.org, id, "s", nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
	_, err := b.engine.Signal(t.Context(), b.org, id, "one more", nil)
	b.wantKind(err, fault.Exhausted)
	if n := len(b.events(id)); n != flovyn.MaxSignals+1 {
		t.Fatalf("%d events", n)
	}
	b.submit(id, history.Completed, history.CompleteWorkflow{})
}

func (b *bench) signalWithStart(key string) (engine.SignalWithStartResult, error) {
	return b.engine.SignalWithStart(context.WithoutCancel(b.Context()), engine.SignalWithStartRequest{
		StartRequest: engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: key}, SignalName: "s", SignalValue: []byte(`1`),
	})
}

// Starting and signalling with start share one space of keys.
func TestSignalWithStart(t *testing.T) {
	b := setUp(t)
	_, err := b.signalWithStart("")
	b.wantKind(err, fault.Invalid)
	r, err := b.signalWithStart("K")
	b.must(err)
	if !r.Created || r.Seq != 2 {
		t.Fatalf("%+v", r)
	}
	b.wantTypes(r.ID, history.WorkflowStarted, history.SignalReceived)
	started, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: "K"})
	b.must(err)
	if started.ID != r.ID || started.KeyNew || !started.KeyUsed {
		t.Fatalf("%+v", started)
	}
	again, err := b.signalWithStart("K")
	b.must(err)
	if again.ID != r.ID || again.Created || again.Seq != 3 {
		t.Fatalf("%+v", again)
	}
	b.poll()
	b.submit(r.ID, history.Completed, history.CompleteWorkflow{})
	anew, err := b.signalWithStart("K") // the one that ran has ended
	b.must(err)
	if anew.ID == r.ID || !anew.Created {
		t.Fatalf("%+v", anew)
	}
	other, err := b.engine.SignalWithStart(t.Context(), engine.SignalWithStartRequest{
		StartRequest: engine.StartRequest{Org: flovyn.OrgID(uuid.New()), Kind: "k", IdempotencyKey: "K"}, SignalName: "s",
	})
	b.must(err)
	if !other.Created {
		t.Fatal("organizations share their keys")
	}
}

// Signalling with start at once from two servers creates exactly one execution,
// which receives every signal.
func TestSignalWithStartAtOnce(t *testing.T) {
	b := setUp(t)
	second := b.another()
	const n = 60
	var mu sync.Mutex
	ids, created := map[flovyn.ExecutionID]bool{}, 0
	var senders sync.WaitGroup
	for i := range n {
		senders.Go(func() {
			r, err := []*bench{b, second}[i%2].signalWithStart("K")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			ids[r.ID] = true
			if r.Created {
				created++
			}
		})
	}
	senders.Wait()
	if len(ids) != 1 || created != 1 {
		t.Fatalf("%d executions, created %d times", len(ids), created)
	}
	for id := range ids {
		if got := len(b.events(id)); got != n+1 {
			t.Fatalf("%d events after %d signals", got, n)
		}
		if diff := cmp.Diff(b.events(id), second.events(id)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestIdempotencyKeys(t *testing.T) {
	b := setUp(t)
	start := func(key string, ttl time.Duration) engine.StartResult {
		t.Helper()
		r, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: key, KeyTTL: ttl})
		b.must(err)
		return r
	}
	first, second := start("K", 0), start("K", 0)
	if !first.KeyUsed || !first.KeyNew || second.ID != first.ID || second.KeyNew || !second.KeyUsed {
		t.Fatalf("%+v %+v", first, second)
	}
	if r := start("", 0); r.KeyUsed || r.KeyNew {
		t.Fatalf("without a key: %+v", r)
	}
	// A key outlives the completion, but not the failure.
	b.poll()
	b.submit(first.ID, history.Completed, history.CompleteWorkflow{})
	if r := start("K", 0); r.ID != first.ID || r.KeyNew {
		t.Fatalf("after the completion: %+v", r)
	}
	failing := start("F", 0)
	b.exec("DELETE FROM ready WHERE id <> $1", failing.ID.UUID())
	b.poll()
	b.submit(failing.ID, history.Failed, history.FailWorkflow{Error: "x"})
	if r := start("F", 0); r.ID == failing.ID || !r.KeyNew {
		t.Fatalf("after the failure: %+v", r)
	}
	cancelled := start("C", 0)
	b.must(b.engine.Cancel(t.Context(), b.org, cancelled.ID, "", "me"))
	if r := start("C", 0); r.ID == cancelled.ID {
		t.Fatalf("after the cancellation: %+v", r)
	}
	// Expired.
	short := start("S", time.Second)
	b.exec("UPDATE idempotency_key SET expires_at = now() WHERE key = 'S'")
	if r := start("S", time.Second); r.ID == short.ID || !r.KeyNew {
		t.Fatalf("after the expiry: %+v", r)
	}
	b.exec("UPDATE idempotency_key SET expires_at = now() WHERE key = 'S'")
	b.must(b.upkeep.DeleteExpiredKeys(t.Context()))
	if n := b.count("SELECT count(*) FROM idempotency_key WHERE key = 'S'"); n != 0 {
		t.Fatalf("%d expired keys are left", n)
	}
	for _, ttl := range []time.Duration{-time.Second, time.Millisecond, 31 * 24 * time.Hour} {
		_, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: "T", KeyTTL: ttl})
		b.wantKind(err, fault.Invalid)
	}
}

// The failure of an old execution does not release a key that stands for a new one.
func TestKeyOfASuccessor(t *testing.T) {
	b := setUp(t)
	old, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: "K", KeyTTL: time.Second})
	b.must(err)
	b.poll()
	b.exec("UPDATE idempotency_key SET expires_at = now()")
	next, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: "K"})
	b.must(err)
	b.submit(old.ID, history.Failed, history.FailWorkflow{})
	again, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", IdempotencyKey: "K"})
	b.must(err)
	if again.ID != next.ID || next.ID == old.ID {
		t.Fatalf("%s, %s, %s", old.ID, next.ID, again.ID)
	}
}

func TestPromises(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(
		id, history.Suspended,
		history.CreatePromise{Name: "kept"}, history.CreatePromise{Name: "named:with/marks"},
		history.CreatePromise{Name: "broken"}, history.CreatePromise{Name: "late", HasTimeout: true, Timeout: -time.Second},
		history.CreatePromise{Name: "keyed", Key: "PK", HasTimeout: true, Timeout: time.Hour},
	)
	refs := map[string]string{}
	for _, e := range b.events(id) {
		if e.Type == history.PromiseCreated {
			refs[strings.Trim(string(history.Member(e.Data, "promiseName")), `"`)] = strings.Trim(string(history.Member(e.Data, "promiseId")), `"`)
		}
	}
	b.must(b.engine.ResolvePromise(t.Context(), b.org, refs["kept"], []byte(`[1.10]`)))
	if got := b.data(id, history.PromiseResolved, "value"); got != `[1.10]` {
		t.Fatalf("resolved with %s", got)
	}
	settled := len(b.events(id)) // the first settlement wins
	b.must(b.engine.ResolvePromise(t.Context(), b.org, refs["kept"], []byte(`2`)))
	b.must(b.engine.RejectPromise(t.Context(), b.org, refs["kept"], "no"))
	if n := len(b.events(id)); n != settled {
		t.Fatalf("%d events after %d", n, settled)
	}
	b.must(b.engine.ResolvePromise(t.Context(), b.org, id.String()+":named:with/marks", nil))
	b.must(b.engine.RejectPromise(t.Context(), b.org, id.String()+"/broken", "no \x00 good"))
	b.fireTimers()
	b.wantTypes(
		id, history.WorkflowStarted, history.PromiseCreated, history.PromiseCreated, history.PromiseCreated, history.PromiseCreated,
		history.PromiseCreated, history.PromiseResolved, history.PromiseResolved, history.PromiseRejected, history.PromiseTimeout,
	)
	if got := b.data(id, history.PromiseTimeout, "promiseId"); got != `"`+refs["late"]+`"` {
		t.Fatalf("%s timed out", got)
	}
	target, err := b.store.FindKey(t.Context(), flovyn.Key{Org: b.org, Scope: flovyn.KeyPromise, Name: "PK"})
	if err != nil || target.String() != refs["keyed"] {
		t.Fatalf("the key stands for %s, %v", target, err)
	}
	for _, ref := range []string{uuid.NewString(), id.String() + ":other", uuid.NewString() + ":kept"} {
		b.wantKind(b.engine.ResolvePromise(t.Context(), b.org, ref, nil), fault.NotFound)
	}
	for _, ref := range []string{"", "nonsense", "nonsense:kept"} {
		b.wantKind(b.engine.ResolvePromise(t.Context(), b.org, ref, nil), fault.Invalid)
	}
	b.poll()
	b.submit(id, history.Suspended)
	b.empty()
	// Another execution may resolve it, and its own settlement is news to itself.
	other := b.begin("k")
	keyed, _ := uuid.Parse(refs["keyed"])
	b.submit(other, history.Suspended, history.ResolvePromise{ID: flovyn.PromiseID(keyed), Value: []byte(`"from another"`)})
	if got := b.data(id, history.PromiseResolved, "value"); got != `"from another"` {
		t.Fatalf("resolved with %s", got)
	}
	if a := b.poll(); a.Execution.ID != id {
		t.Fatalf("claimed %s", a.Execution.ID)
	}
	if n := b.count("SELECT count(*) FROM timer"); n != 0 {
		t.Fatalf("%d timers of settled promises are left", n)
	}
}

func TestOwnPromiseResolvedIsNews(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Running, history.CreatePromise{Name: "p"})
	ref, _ := uuid.Parse(b.promise(id))
	b.submit(id, history.Suspended, history.ResolvePromise{ID: flovyn.PromiseID(ref), Value: []byte(`1`)})
	b.poll()
	b.submit(id, history.Suspended)
	b.wantStatus(id, flovyn.WorkflowWaiting)
	b.wantTypes(id, history.WorkflowStarted, history.PromiseCreated, history.PromiseResolved)
}

func TestTimers(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(
		id, history.Suspended,
		history.StartTimer{ID: "zero"}, history.StartTimer{ID: "negative", After: -time.Hour},
		history.StartTimer{ID: "later", After: time.Hour}, history.StartTimer{ID: "withdrawn", After: -1},
		history.CancelTimer{ID: "withdrawn"},
	)
	b.fireTimers()
	b.fireTimers()
	fired := map[string]int{}
	for _, e := range b.events(id) {
		if e.Type == history.TimerFired {
			fired[string(history.Member(e.Data, "timerId"))]++
		}
	}
	if diff := cmp.Diff(map[string]int{`"zero"`: 1, `"negative"`: 1}, fired); diff != "" {
		t.Fatalf("fired (-want +got):\n%s", diff)
	}
	b.poll()
	// A timer never fires early, and fires once for two servers.
	b.submit(id, history.Suspended, history.StartTimer{ID: "soon", After: 300 * time.Millisecond})
	began := b.data(id, history.TimerStarted, "durationMs")
	if began != "300" {
		t.Fatalf("duration %s", began)
	}
	second := b.another()
	second.org = b.org
	b.until(func() bool {
		b.fireTimers()
		second.fireTimers()
		return b.status(id) != flovyn.WorkflowWaiting
	})
	events := b.events(id)
	last, before := events[len(events)-1], events[len(events)-2]
	if last.Type != history.TimerFired || before.Type != history.TimerStarted || last.At.Sub(before.At) < 300*time.Millisecond {
		t.Fatalf("%s at %s after %s at %s", last.Type, last.At, before.Type, before.At)
	}
}

// The same timer fired at once by many is one event.
func TestTimerFiresOnce(t *testing.T) {
	b := setUp(t)
	second := b.another()
	id := b.begin("k")
	b.submit(id, history.Suspended, history.StartTimer{ID: "t"})
	due, err := b.store.DueTimers(t.Context(), 10)
	b.must(err)
	if len(due) != 1 {
		t.Fatalf("%d timers are due", len(due))
	}
	var firing sync.WaitGroup
	for i := range 20 {
		firing.Go(func() {
			if err := []*bench{b, second}[i%2].engine.FireTimer(context.WithoutCancel(t.Context()), due[0]); err != nil {
				t.Error(err)
			}
		})
	}
	firing.Wait()
	b.wantTypes(id, history.WorkflowStarted, history.TimerStarted, history.TimerFired)
}

func (b *bench) pollQueue(queue string) *flovyn.Activation {
	b.Helper()
	a, err := b.engine.Poll(b.Context(), wake.Key{Org: b.org, Queue: queue}, wake.Poller{Worker: "w"}, patience)
	b.must(err)
	if a == nil {
		b.Fatalf("queue %s has nothing", queue)
	}
	return a
}

func TestChildren(t *testing.T) {
	b := setUp(t)
	r, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "root", Queue: "q"})
	b.must(err)
	root, mid, leaf := r.ID, newID(), newID()
	b.pollQueue("q")
	b.submit(root, history.Suspended, history.ScheduleChild{ID: mid, Name: "mid", Kind: "sub", Input: []byte(`{"x": 1.0}`), Queue: "default"})
	if a := b.pollQueue("q"); a.Execution.ID != mid || string(a.Input) != `{"x": 1.0}` || a.Execution.Parent != root {
		t.Fatalf("claimed %+v with %s", a.Execution, a.Input)
	}
	b.submit(mid, history.Suspended, history.ScheduleChild{ID: leaf, Name: "leaf", Kind: "sub", Queue: "other"})
	b.pollQueue("other")
	b.submit(leaf, history.Failed, history.FailWorkflow{Error: "leaf broke"})
	if got := b.data(mid, history.ChildWorkflowFailed, "error"); got != `"leaf broke"` {
		t.Fatalf("the parent was told %s", got)
	}
	if a := b.pollQueue("q"); a.Execution.ID != mid {
		t.Fatalf("claimed %s", a.Execution.ID)
	}
	b.submit(mid, history.Completed, history.CompleteWorkflow{Output: []byte(`[2.50]`)})
	if got := b.data(root, history.ChildWorkflowCompleted, "output"); got != `[2.50]` {
		t.Fatalf("the parent was told %s", got)
	}
	b.pollQueue("q")
	b.submit(root, history.Completed, history.CompleteWorkflow{})
	// CHILD_WORKFLOW_STARTED is noted on the server's own time.
	b.engine.Close()
	for _, id := range []flovyn.ExecutionID{root, mid, leaf} {
		b.events(id)
	}
}

// Cancelling an execution cancels all below it, however many there are.
func TestCancelTree(t *testing.T) {
	b := setUp(t)
	root := b.begin("root")
	const width = 40
	var kids []flovyn.ExecutionID
	var commands []history.Command
	for i := range width {
		kids = append(kids, newID())
		commands = append(commands, history.ScheduleChild{ID: kids[i], Name: fmt.Sprint("kid", i), Kind: "sub"})
	}
	b.submit(root, history.Suspended, commands...)
	held := b.poll().Execution.ID // some are held, one of them waits for a child of its own
	b.poll()
	b.poll()
	grandchild := newID()
	b.submit(held, history.Suspended, history.ScheduleChild{ID: grandchild, Name: "g", Kind: "sub"}, history.StartTimer{ID: "t", After: time.Hour})
	b.engine.Close() // all children are noted as begun
	cold := b.another()
	cold.org = b.org
	b.must(cold.engine.Cancel(t.Context(), b.org, root, "why", "me"))
	for _, id := range append(kids, root, grandchild) {
		b.wantStatus(id, flovyn.WorkflowCancelled)
		events := b.events(id)
		if last := events[len(events)-1].Type; last != history.WorkflowCancelled {
			t.Fatalf("the last event of %s is %s", id, last)
		}
		b.closedBehind(id)
		b.submitNothingFor(id)
	}
	b.empty()
	b.must(b.engine.Cancel(t.Context(), b.org, root, "again", "me"))
	done := b.begin("k")
	b.submit(done, history.Completed, history.CompleteWorkflow{})
	b.wantKind(b.engine.Cancel(t.Context(), b.org, done, "", ""), fault.Precondition)
}

// A parent that cancels many children and ends at once: nothing follows its end.
func TestNothingAfterTheEnd(t *testing.T) {
	b := setUp(t)
	for _, waiting := range []bool{false, true} {
		root := b.begin("root")
		var schedule, withdraw []history.Command
		for i := range 35 {
			id := newID()
			schedule = append(schedule, history.ScheduleChild{ID: id, Name: strconv.Itoa(i), Kind: "sub", Queue: "kids"})
			withdraw = append(withdraw, history.CancelChild{Name: strconv.Itoa(i)})
		}
		b.submit(root, history.Running, schedule...)
		if waiting { // somebody takes up the last child within the parent's last commit
			b.empty()
			ctx, cancel := context.WithCancel(t.Context())
			polled := make(chan struct{})
			go func() {
				defer close(polled)
				for ctx.Err() == nil {
					_, _ = b.engine.Poll(ctx, b.key(), wake.Poller{Worker: "w"}, patience)
				}
			}()
			b.until(func() bool { return b.engine.Waiting() == 1 })
			withdraw = append(withdraw, history.ScheduleChild{ID: newID(), Name: "last", Kind: "sub"})
			b.submit(root, history.Completed, append(withdraw, history.CompleteWorkflow{})...)
			cancel()
			<-polled
		} else {
			b.submit(root, history.Completed, append(withdraw, history.CompleteWorkflow{})...)
		}
		events := b.events(root)
		if last := events[len(events)-1].Type; last != history.WorkflowCompleted {
			t.Fatalf("the last event is %s", last)
		}
		if n := b.count("SELECT count(*) FROM workflow_execution WHERE parent_id = $1 AND status = 'CANCELLED'", root.UUID()); n != 35 {
			t.Fatalf("%d children were cancelled", n)
		}
	}
}

// A cancelled execution is handed to nobody, though its children's ends are news.
func TestCancelledIsNotHandedOver(t *testing.T) {
	b := setUp(t)
	root := b.begin("root")
	b.submit(root, history.Suspended, history.ScheduleChild{ID: newID(), Name: "kid", Kind: "sub", Queue: "kids"})
	b.empty()
	polled := make(chan *flovyn.Activation, 1)
	go func() {
		a, _ := b.engine.Poll(context.WithoutCancel(t.Context()), b.key(), wake.Poller{Worker: "w"}, 2*time.Second)
		polled <- a
	}()
	b.until(func() bool { return b.engine.Waiting() == 1 })
	b.must(b.engine.Cancel(t.Context(), b.org, root, "", ""))
	next := b.start("k", `null`)
	if a := <-polled; a == nil || a.Execution.ID != next {
		t.Fatalf("handed over %+v", a)
	}
}

// The id of a child or task that belongs to something else is refused; the same
// one again is a resend.
func TestIdentities(t *testing.T) {
	b := setUp(t)
	child, task := newID(), newTaskID()
	id := b.begin("k")
	schedule := []history.Command{
		history.ScheduleChild{ID: child, Name: "c", Kind: "sub", Queue: "kids"}, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 3},
	}
	b.submit(id, history.Running, schedule...)
	before := b.events(id)
	b.submit(id, history.Suspended, schedule...)
	if diff := cmp.Diff(before, b.events(id)); diff != "" {
		t.Fatal(diff)
	}
	other := b.begin("k")
	for _, c := range schedule {
		b.wantKind(b.engine.Submit(t.Context(), b.org, other, []history.Command{history.SetState{Key: "x"}, c}, history.Suspended), fault.Precondition)
	}
	foreign := *b
	foreign.org = flovyn.OrgID(uuid.New())
	stranger := foreign.begin("k")
	for _, c := range schedule {
		err := foreign.engine.Submit(t.Context(), foreign.org, stranger, []history.Command{c}, history.Suspended)
		foreign.wantKind(err, fault.Precondition)
	}
	b.wantTypes(other, history.WorkflowStarted)
	b.wantStatus(other, flovyn.WorkflowRunning)
	b.submit(other, history.Completed)
}

// Everything answers NotFound for the id of another organization, and changes nothing.
func TestForeignOrganization(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	task := newTaskID()
	b.submit(id, history.Running, history.CreatePromise{Name: "p"}, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 3})
	ref := b.promise(id)
	b.pollTask()
	before := b.dump()
	thief := flovyn.OrgID(uuid.New())
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"Submit": func() error {
			return b.engine.Submit(ctx, thief, id, []history.Command{history.CompleteWorkflow{}}, history.Completed)
		},
		"Signal":          func() error { _, err := b.engine.Signal(ctx, thief, id, "s", nil); return err },
		"Cancel":          func() error { return b.engine.Cancel(ctx, thief, id, "", "") },
		"Events":          func() error { _, err := b.engine.Events(ctx, thief, id); return err },
		"Query":           func() error { _, _, err := b.engine.Query(ctx, thief, id, engine.AllState, nil); return err },
		"Resolve":         func() error { return b.engine.ResolvePromise(ctx, thief, ref, nil) },
		"Reject":          func() error { return b.engine.RejectPromise(ctx, thief, ref, "") },
		"Resolve by name": func() error { return b.engine.ResolvePromise(ctx, thief, id.String()+":p", nil) },
		"StartChild": func() error {
			_, err := b.engine.StartChild(ctx, engine.ChildRequest{Org: thief, Parent: id, Name: "n", Kind: "k"})
			return err
		},
		"Complete":      func() error { return b.tasks.Complete(ctx, thief, task, nil) },
		"Fail":          func() error { return b.tasks.Fail(ctx, thief, task, "x") },
		"CancelTask":    func() error { return b.tasks.Cancel(ctx, thief, task, "x") },
		"Heartbeat":     func() error { return b.tasks.Heartbeat(ctx, thief, task) },
		"Progress":      func() error { return b.tasks.ReportProgress(ctx, thief, task, 1, "") },
		"Log":           func() error { return b.tasks.Log(ctx, thief, task, "INFO", "x") },
		"GetState":      func() error { _, _, err := b.tasks.GetState(ctx, thief, task, "k"); return err },
		"SetState":      func() error { return b.tasks.SetState(ctx, thief, task, "k", nil) },
		"ClearState":    func() error { return b.tasks.ClearState(ctx, thief, task, "k") },
		"ClearAllState": func() error { return b.tasks.ClearAllState(ctx, thief, task) },
		"StateKeys":     func() error { _, err := b.tasks.StateKeys(ctx, thief, task); return err },
	} {
		if err := do(); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A foreign promise in a command is none at all.
	robber := *b
	robber.org = thief
	mine := robber.begin("k")
	promise, _ := uuid.Parse(ref)
	robber.submit(mine, history.Completed, history.ResolvePromise{ID: flovyn.PromiseID(promise)}, history.CompleteWorkflow{})
	b.exec("DELETE FROM workflow_event WHERE execution_id = $1", mine.UUID())
	b.exec("DELETE FROM workflow_execution WHERE id = $1", mine.UUID())
	if diff := cmp.Diff(before, b.dump()); diff != "" {
		t.Fatalf("something changed:\n%s", diff)
	}
}

// A caller who goes away in the middle neither blocks nor races with the step.
func TestCallersGoAway(t *testing.T) {
	b := setUp(t)
	id := b.start("k", `null`)
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
			defer cancel()
			_, err1 := b.engine.Start(ctx, engine.StartRequest{Org: b.org, Kind: "x", IdempotencyKey: strconv.Itoa(i % 7)})
			_, err2 := b.engine.Signal(ctx, b.org, id, "s", nil)
			_, err3 := b.engine.SignalWithStart(ctx, engine.SignalWithStartRequest{
				StartRequest: engine.StartRequest{Org: b.org, Kind: "x", IdempotencyKey: strconv.Itoa(i % 7)}, SignalName: "s",
			})
			for _, err := range []error{err1, err2, err3} {
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	b.events(id)
}

func TestTheOrderOfTheBacklog(t *testing.T) {
	b := setUp(t)
	var want []flovyn.ExecutionID
	for range 3 {
		want = append(want, b.start("k", `null`))
	}
	urgent, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", Priority: time.Hour})
	b.must(err)
	for i, id := range append([]flovyn.ExecutionID{urgent.ID}, want...) {
		if a := b.poll(); a.Execution.ID != id {
			t.Fatalf("claim %d is %s, not %s", i, a.Execution.ID, id)
		}
	}
}

func TestInvalidRequests(t *testing.T) {
	b := setUp(t)
	big := []byte(`"` + strings.Repeat("x", b.engine.MaxPayload()) + `"`)
	for name, req := range map[string]engine.StartRequest{
		"no kind":       {},
		"a long kind":   {Kind: strings.Repeat("k", 513)},
		"a long queue":  {Kind: "k", Queue: strings.Repeat("q", 513)},
		"a nul":         {Kind: "k\x00"},
		"bad UTF-8":     {Kind: "k\xff"},
		"bad JSON":      {Kind: "k", Input: []byte(`{`)},
		"a long key":    {Kind: "k", IdempotencyKey: strings.Repeat("k", 256)},
		"a nul key":     {Kind: "k", IdempotencyKey: "\x00"},
		"priority":      {Kind: "k", Priority: flovyn.MaxDelay * 2},
		"much metadata": {Kind: "k", Metadata: map[string]string{"x": strings.Repeat("y", 70_000)}},
	} {
		req.Org = b.org
		if _, err := b.engine.Start(t.Context(), req); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", Input: big})
	b.wantKind(err, fault.Exhausted)
	id := b.begin("k")
	for name, c := range map[string]history.Command{
		"a task without kind":  history.ScheduleTask{ID: newTaskID()},
		"a child without kind": history.ScheduleChild{ID: newID()},
		"a timer without id":   history.StartTimer{},
		"a nul in a name":      history.CreatePromise{Name: "\x00"},
		"a nul in a queue":     history.ScheduleTask{ID: newTaskID(), Kind: "k", Queue: "\x00"},
		"a nul in a key":       history.CreatePromise{Name: "p", Key: "\x00"},
	} {
		if err := b.engine.Submit(t.Context(), b.org, id, []history.Command{c}, history.Suspended); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = b.engine.Submit(t.Context(), b.org, id, make([]history.Command, 10_001), history.Suspended)
	b.wantKind(err, fault.Exhausted)
	b.wantTypes(id, history.WorkflowStarted)
}

// An execution that ends itself as cancelled takes its open children with it.
func TestCancelCommandReachesChildren(t *testing.T) {
	b := setUp(t)
	parent := b.start("parent", `null`)
	b.poll()
	child := flovyn.ExecutionID(uuid.New())
	b.submit(parent, history.Suspended, history.ScheduleChild{ID: child, Name: "kid", Kind: "child"})
	b.poll() // the child stays with its worker
	_, err := b.engine.Signal(t.Context(), b.org, parent, "go", nil)
	b.must(err)
	b.poll()
	b.submit(parent, history.Cancelled, history.CancelWorkflow{Reason: "enough"})
	if s := b.status(parent); s != flovyn.WorkflowCancelled {
		t.Errorf("the parent is %s", s)
	}
	if s := b.status(child); s != flovyn.WorkflowCancelled {
		t.Errorf("the child is %s", s)
	}
	b.wantTypes(child, history.WorkflowStarted, history.CancellationRequested, history.WorkflowCancelled)
}
