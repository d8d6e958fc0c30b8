package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// commands makes n commands of one sort.
func commands(n int, one func(i int) history.Command) []history.Command {
	all := make([]history.Command, n)
	for i := range all {
		all[i] = one(i)
	}
	return all
}

// refused checks that a limit refuses a deed, and that it leaves no trace.
func (b *bench) refused(want string, do func() error) {
	b.Helper()
	before := b.dump()
	err := do()
	b.wantKind(err, fault.Exhausted)
	if !strings.Contains(err.Error(), want) {
		b.Errorf("refused with %q, not with %q", err, want)
	}
	if diff := cmp.Diff(before, b.dump()); diff != "" {
		b.Errorf("a refused deed left a trace:\n%s", diff)
	}
}

func (b *bench) submitting(id flovyn.ExecutionID, all []history.Command) func() error {
	return func() error { return b.engine.Submit(b.Context(), b.org, id, all, history.Suspended) }
}

func TestLimitOfPayloads(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxPayload: 100})
	text := func(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }
	start := func(n int) error {
		_, err := b.engine.Start(t.Context(), engine.StartRequest{Org: b.org, Kind: "k", Input: text(n)})
		return err
	}
	b.must(start(99))
	b.must(start(100))
	b.refused("input: 101 bytes of JSON exceed the limit of 100", func() error { return start(101) })
}

func TestLimitOfCommands(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxCommands: 5})
	set := func(n int) []history.Command {
		return commands(n, func(i int) history.Command { return history.SetState{Key: strconv.Itoa(i)} })
	}
	for _, n := range []int{4, 5} {
		b.must(b.submitting(b.begin("k"), set(n))())
	}
	b.refused("commands: 6 exceed the limit of 5", b.submitting(b.begin("k"), set(6)))
}

func TestLimitOfWhatIsPending(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxPending: 4})
	for sort, one := range map[string]func(i int) history.Command{
		"tasks":    func(int) history.Command { return history.ScheduleTask{ID: newTaskID(), Kind: "t"} },
		"timers":   func(i int) history.Command { return history.StartTimer{ID: strconv.Itoa(i), After: time.Hour} },
		"promises": func(i int) history.Command { return history.CreatePromise{Name: strconv.Itoa(i)} },
		"children": func(i int) history.Command {
			return history.ScheduleChild{ID: newID(), Name: strconv.Itoa(i), Kind: "sub", Queue: "kids"}
		},
	} {
		b.must(b.submitting(b.begin("below"), commands(3, one))())
		b.must(b.submitting(b.begin("at"), commands(4, one))())
		id := b.begin("above")
		b.refused("5 "+sort+" would be open at once, 4 may be", b.submitting(id, commands(5, one)))
		// The worker still has it, and may ask for less; the end leaves nothing open.
		b.submit(id, history.Completed, append(commands(5, one), history.CompleteWorkflow{})...)
		b.wantStatus(id, flovyn.WorkflowCompleted)
	}
}

// What is pending counts, not what ever was.
func TestLimitOfPendingTimersCountsOpenOnes(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxPending: 1})
	id := b.begin("k")
	for i := range 3 {
		timer := strconv.Itoa(i)
		b.submit(id, history.Running, history.StartTimer{ID: timer, After: time.Hour}, history.CancelTimer{ID: timer})
	}
}

func TestLimitOfHistoryEvents(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxHistoryEvents: 10})
	set := func(n int) []history.Command {
		return commands(n, func(i int) history.Command { return history.SetState{Key: strconv.Itoa(i)} })
	}
	for _, n := range []int{8, 9} { // beside WORKFLOW_STARTED
		b.must(b.submitting(b.begin("k"), set(n))())
	}
	id := b.begin("k")
	b.wantKind(b.submitting(id, set(10))(), fault.Exhausted)
	b.overflown(id, "the history may have 10 events, and would have 11")

	// Signals are refused at the limit; what cannot be refused is kept.
	id = b.begin("k")
	taskID := newTaskID()
	b.submit(id, history.Suspended, append(set(7), history.ScheduleTask{ID: taskID, Kind: "t"})...)
	signal := func() error {
		_, err := b.engine.Signal(t.Context(), b.org, id, "s", nil)
		return err
	}
	b.must(signal())
	b.refused("the history may have 10 events, and would have 11", signal)
	b.refused("the history may have 10 events", func() error {
		_, err := b.engine.StartChild(t.Context(), engine.ChildRequest{Org: b.org, Parent: id, Name: "n", Kind: "k"})
		return err
	})
	b.pollTask()
	b.must(b.tasks.Complete(t.Context(), b.org, taskID, []byte(`1`)))
	if n := len(b.events(id)); n != 11 {
		t.Fatalf("%d events: the result of the task is lost", n)
	}
	b.poll()
	b.submit(id, history.Completed, history.CompleteWorkflow{}) // an end is never too much
	b.wantStatus(id, flovyn.WorkflowCompleted)
}

func TestLimitOfHistoryBytes(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxHistoryBytes: 1000})
	id := b.begin("k")
	w, err := b.store.Execution(t.Context(), b.org, id)
	b.must(err)
	key := `{"key":"k","value":""}`
	value := func(n int) history.Command {
		return history.SetState{Key: "k", Value: []byte(`"` + strings.Repeat("x", n) + `"`)}
	}
	room := 1000 - int(w.HistoryBytes) - len(key)
	b.must(b.submitting(id, []history.Command{value(room - 1)})())
	for _, test := range []struct {
		size int
		ok   bool
	}{{room, true}, {room + 1, false}} {
		id := b.begin("k")
		err := b.submitting(id, []history.Command{value(test.size)})()
		if (err == nil) != test.ok {
			t.Fatalf("%d bytes: %v", test.size, err)
		}
		if !test.ok {
			b.overflown(id, "the history may have 1000 bytes, and would have 1001")
			continue
		}
		w, err := b.store.Execution(t.Context(), b.org, id)
		if err != nil || w.HistoryBytes != 1000 {
			t.Errorf("the row counts %d bytes, %v", w.HistoryBytes, err)
		}
		_, err = b.engine.Signal(t.Context(), b.org, id, "s", nil)
		b.wantKind(err, fault.Exhausted)
	}
}

// overflown checks that an execution failed for its history, of which nothing
// more was written, and that it can be retried.
func (b *bench) overflown(id flovyn.ExecutionID, why string) {
	b.Helper()
	b.wantTypes(id, history.WorkflowStarted, history.WorkflowExecutionFailed)
	if got := b.data(id, history.WorkflowExecutionFailed, "error"); got != `"`+why+`"` {
		b.Errorf("failed with %s", got)
	}
	if got := b.data(id, history.WorkflowExecutionFailed, "failureType"); got != `"HISTORY_LIMIT"` {
		b.Errorf("failure type %s", got)
	}
	b.retry(id)
	if a := b.poll(); a.Execution.ID != id {
		b.Fatalf("claimed %s", a.Execution.ID)
	}
	b.submit(id, history.Completed, history.CompleteWorkflow{})
}

// A history near its limit is marked, in the row and not in the history.
func TestHistoryNearlyFull(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxHistoryEvents: 20, MaxHistoryBytes: 10_000})
	id := b.begin("k")
	nearly := func() bool {
		w, err := b.store.Execution(t.Context(), b.org, id)
		b.must(err)
		return b.engine.NearlyFull(w)
	}
	for i := range 14 {
		b.submit(id, history.Running, history.SetState{Key: strconv.Itoa(i)})
	}
	if nearly() {
		t.Error("15 of 20 events are near the limit")
	}
	b.submit(id, history.Running, history.SetState{Key: "x"})
	if !nearly() {
		t.Error("16 of 20 events are not near the limit")
	}
	id = b.begin("k")
	b.submit(id, history.Running, history.SetState{Key: "x", Value: []byte(`"` + strings.Repeat("x", 7000) + `"`)})
	if nearly() {
		t.Error("7 of 10 kB are near the limit")
	}
	_, err := b.engine.Signal(t.Context(), b.org, id, "s", []byte(`"`+strings.Repeat("x", 1000)+`"`))
	b.must(err)
	if !nearly() {
		t.Error("8 of 10 kB are not near the limit")
	}
}

// A row written by a server that does not count bytes is put right.
func TestHistoryBytesArePutRight(t *testing.T) {
	b := setUp(t)
	id := b.begin("k")
	b.submit(id, history.Running, history.SetState{Key: "a"})
	b.exec("UPDATE workflow_execution SET history_bytes = 0")
	b.submit(id, history.Suspended, history.SetState{Key: "b"})
	if n := b.count("SELECT w.history_bytes - (SELECT sum(length(data)) FROM workflow_event) FROM workflow_execution w"); n != 0 {
		t.Errorf("off by %d bytes", n)
	}
}

func TestLimitOfPollers(t *testing.T) {
	b := setUpLimited(t, engine.Limits{MaxPollers: 3})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error)
	for _, poll := range []func(){
		func() {
			_, err := b.engine.Poll(ctx, b.key(), wake.Poller{Worker: "a"}, patience)
			ended <- err
		},
		func() {
			_, err := b.tasks.Poll(ctx, b.key(), wake.Poller{Worker: "b"}, patience)
			ended <- err
		},
	} {
		go poll()
	}
	b.until(func() bool { return b.engine.Waiting() == 2 })
	_, err := b.engine.Poll(t.Context(), b.key(), wake.Poller{Worker: "c"}, 0) // the third, at the limit
	b.must(err)
	go func() {
		_, err := b.engine.Poll(ctx, b.key(), wake.Poller{Worker: "d"}, patience)
		ended <- err
	}()
	b.until(func() bool { return b.engine.Waiting() == 3 })
	_, err = b.engine.Poll(t.Context(), b.key(), wake.Poller{Worker: "e"}, 0)
	b.wantKind(err, fault.Exhausted)
	_, err = b.tasks.Poll(t.Context(), b.key(), wake.Poller{Worker: "e"}, 0)
	b.wantKind(err, fault.Exhausted)
	other := wake.Key{Org: flovyn.OrgID(uuid.New()), Queue: "default"}
	_, err = b.engine.Poll(t.Context(), other, wake.Poller{Worker: "f"}, 0)
	b.must(err)
	cancel()
	for range 3 {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	_, err = b.engine.Poll(t.Context(), b.key(), wake.Poller{Worker: "g"}, 0)
	b.must(err)
}

// The limits that nobody can change: just below, at and just above each.
func TestLimitsOfTheContract(t *testing.T) {
	b := setUp(t)
	metadata := func(entries, bytes int) map[string]string {
		m := map[string]string{}
		for i := range entries {
			m[fmt.Sprintf("%02d", i)] = ""
		}
		text, err := json.Marshal(m)
		b.must(err)
		m["00"] = strings.Repeat("x", max(0, bytes-len(text)))
		return m
	}
	second := int(time.Second)
	for name, test := range map[string]struct {
		limit int
		do    func(n int) engine.StartRequest
		step  int
		least bool // the limit is the least that may be
	}{
		"names": {limit: flovyn.MaxNameLength, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: strings.Repeat("k", n)}
		}},
		"queues": {limit: flovyn.MaxNameLength, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", Queue: strings.Repeat("q", n)}
		}},
		"idempotency keys": {limit: flovyn.MaxIdempotencyKeyLength, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", IdempotencyKey: strings.Repeat("k", n)}
		}},
		"the longest life of a key": {limit: int(flovyn.MaxIdempotencyTTL), step: second, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", IdempotencyKey: strconv.Itoa(n), KeyTTL: time.Duration(n)}
		}},
		"the shortest life of a key": {limit: int(flovyn.MinIdempotencyTTL), least: true, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", IdempotencyKey: strconv.Itoa(n), KeyTTL: time.Duration(n)}
		}},
		"entries of metadata": {limit: flovyn.MaxMetadataEntries, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", Metadata: metadata(n, 0)}
		}},
		"bytes of metadata": {limit: flovyn.MaxMetadataBytes, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", Metadata: metadata(1, n)}
		}},
		"priorities": {limit: int(flovyn.MaxDelay), step: second, do: func(n int) engine.StartRequest {
			return engine.StartRequest{Kind: "k", Priority: time.Duration(n)}
		}},
	} {
		step := max(test.step, 1)
		if test.least {
			step = -step
		}
		for _, at := range []struct {
			n  int
			ok bool
		}{{test.limit - step, true}, {test.limit, true}, {test.limit + step, false}} {
			req := test.do(at.n)
			req.Org = b.org
			_, err := b.engine.Start(t.Context(), req)
			if at.ok && err != nil || !at.ok && !fault.Is(err, fault.Invalid) {
				t.Errorf("%s of %d, the limit being %d: %v", name, at.n, test.limit, err)
			}
		}
	}
	for _, at := range []struct {
		retries int32
		timeout time.Duration
		ok      bool
	}{
		{flovyn.MaxMaxRetries - 1, 0, true},
		{flovyn.MaxMaxRetries, 0, true},
		{flovyn.MaxMaxRetries + 1, 0, false},
		{0, flovyn.MaxDelay - time.Second, true},
		{0, flovyn.MaxDelay, true},
		{0, flovyn.MaxDelay + time.Second, false},
	} {
		_, err := b.tasks.Submit(t.Context(), task.SubmitRequest{Org: b.org, Kind: "t", MaxRetries: at.retries, Timeout: at.timeout})
		if at.ok && err != nil || !at.ok && !fault.Is(err, fault.Invalid) {
			t.Errorf("%d retries within %s: %v", at.retries, at.timeout, err)
		}
	}
}
