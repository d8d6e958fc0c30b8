package history_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

type (
	commands = []history.Command
	types    = []history.EventType
)

// fold makes the state of an execution that was started and told some drafts.
func fold(t *testing.T, drafts ...history.Draft) *history.State {
	t.Helper()
	events := []history.Event{{Seq: 1, Type: history.WorkflowStarted, Data: []byte(`{}`)}}
	for _, d := range drafts {
		events = append(events, history.Event{Seq: flovyn.Seq(len(events) + 1), Type: d.Type, Data: d.Data})
	}
	s, err := history.Fold(execution, events)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func submit(t *testing.T, s *history.State, status history.Status, cs ...history.Command) *history.Outcome {
	t.Helper()
	out, err := s.Submit(cs, status)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range out.Events {
		if want := out.Events[0].Seq + flovyn.Seq(i); e.Seq != want {
			t.Fatalf("event %d has sequence number %d, not %d", i, e.Seq, want)
		}
	}
	return out
}

func typesOf(events []history.Event) types {
	got := types{}
	for _, e := range events {
		got = append(got, e.Type)
	}
	return got
}

func wantEvents(t *testing.T, out *history.Outcome, want ...history.EventType) {
	t.Helper()
	if diff := cmp.Diff(want, typesOf(out.Events), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

// Every command leads to its event, in the order of the commands.
func TestSubmitEveryCommand(t *testing.T) {
	t.Parallel()
	s := fold(t)
	out := submit(
		t, s, history.Suspended,
		history.RecordOperation{Name: "op", Result: []byte(`1`)},
		history.SetState{Key: "a", Value: []byte(`1`)},
		history.ClearState{Key: "a"},
		history.ScheduleTask{ID: taskID, Kind: "pay", Input: []byte(`{}`), MaxRetries: 2, Timeout: time.Second},
		history.CreatePromise{Name: "p"},
		history.ScheduleChild{ID: childID, Name: "kid", Kind: "sub"},
		history.StartTimer{ID: "t1", After: time.Second},
		history.StartTimer{ID: "t2", After: -time.Second},
		history.CancelTimer{ID: "t1"},
		history.CancelChild{ID: childID, Reason: "enough"},
		history.ResolvePromise{ID: promiseID, Value: []byte(`2`)},
		history.SuspendWorkflow{Reason: "waiting"},
	)
	wantEvents(
		t, out, history.OperationCompleted, history.StateSet, history.StateCleared, history.TaskScheduled,
		history.PromiseCreated, history.ChildWorkflowInitiated, history.TimerStarted, history.TimerStarted,
		history.TimerCancelled, history.WorkflowSuspended,
	)
	if out.Events[0].Seq != 2 || s.LastSeq != 11 {
		t.Fatalf("events from %d, last %d", out.Events[0].Seq, s.LastSeq)
	}
	if len(out.Tasks) != 1 || out.Tasks[0].Seq != 5 || out.Tasks[0].MaxRetries != 2 || out.Tasks[0].Timeout != time.Second {
		t.Errorf("tasks %+v", out.Tasks)
	}
	if len(out.Timers) != 2 || len(out.CancelledTimers) != 1 || out.CancelledTimers[0] != "t1" {
		t.Errorf("timers %+v, cancelled %v", out.Timers, out.CancelledTimers)
	}
	if len(out.Children) != 1 || out.Children[0].ID != childID {
		t.Errorf("children %+v", out.Children)
	}
	if len(out.CancelChildren) != 1 || out.CancelChildren[0].Reason != "enough" {
		t.Errorf("cancelled children %+v", out.CancelChildren)
	}
	if len(out.Promises) != 1 || out.Promises[0].ID.UUID() == uuid.Nil {
		t.Errorf("promises %+v", out.Promises)
	}
	if len(out.ForeignPromises) != 1 || out.News || len(out.SettledPromises) != 0 {
		t.Errorf("foreign promises %+v, news %v", out.ForeignPromises, out.News)
	}
	if out.End != "" || s.Ended != "" || s.Idle() {
		t.Errorf("ended %q %q, idle %v", out.End, s.Ended, s.Idle())
	}
	if diff := cmp.Diff([]string{"t2"}, s.OpenTimers()); diff != "" {
		t.Error(diff)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status history.Status
		cs     commands
		end    flovyn.WorkflowStatus
		last   history.EventType
		output string
		error  string
	}{
		{"complete", history.Completed, commands{history.CompleteWorkflow{Output: []byte(`1`)}}, flovyn.WorkflowCompleted, history.WorkflowCompleted, "1", ""},
		{"fail", history.Failed, commands{history.FailWorkflow{Error: "boom"}}, flovyn.WorkflowFailed, history.WorkflowExecutionFailed, "", "boom"},
		{"cancel", history.Cancelled, commands{history.CancelWorkflow{Reason: "why"}}, flovyn.WorkflowCancelled, history.WorkflowCancelled, "", "the workflow was cancelled: why"},
		{"complete, said to suspend", history.Suspended, commands{history.CompleteWorkflow{}}, flovyn.WorkflowCompleted, history.WorkflowCompleted, "", ""},
		{"complete, said to go on", history.Running, commands{history.CompleteWorkflow{}}, flovyn.WorkflowCompleted, history.WorkflowCompleted, "", ""},
		{"fail, said to complete", history.Completed, commands{history.FailWorkflow{Error: "e"}}, flovyn.WorkflowFailed, history.WorkflowExecutionFailed, "", "e"},
		{"said to complete", history.Completed, nil, flovyn.WorkflowCompleted, history.WorkflowCompleted, "", ""},
		{"said to fail", history.Failed, nil, flovyn.WorkflowFailed, history.WorkflowExecutionFailed, "", "the worker reported a failure without saying why"},
		{"said to be cancelled", history.Cancelled, nil, flovyn.WorkflowCancelled, history.WorkflowCancelled, "", "the workflow was cancelled"},
		{"commands after the end", history.Completed, commands{history.CompleteWorkflow{}, history.FailWorkflow{}, history.SetState{Key: "x"}, history.ScheduleTask{ID: taskID}}, flovyn.WorkflowCompleted, history.WorkflowCompleted, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := fold(t)
			out := submit(t, s, c.status, c.cs...)
			if out.End != c.end || s.Ended != c.last || string(out.Output) != c.output || out.Error != c.error {
				t.Fatalf("end %q, event %q, output %s, error %q", out.End, s.Ended, out.Output, out.Error)
			}
			if got := out.Events[len(out.Events)-1].Type; got != c.last || len(out.Tasks) != 0 {
				t.Fatalf("last event %s, tasks %v", got, out.Tasks)
			}
			before := s.LastSeq
			if _, err := s.Submit(commands{history.SetState{Key: "y"}}, history.Suspended); !fault.Is(err, fault.Precondition) || s.LastSeq != before {
				t.Fatalf("after the end: %v, last event %d", err, s.LastSeq)
			}
		})
	}
	s := fold(t)
	if out := submit(t, s, history.Suspended); len(out.Events) != 0 || out.End != "" {
		t.Fatalf("an empty suspension leads to %+v", out)
	}
}

// whole is a submission with one of everything that the history keeps.
func whole() commands {
	return commands{
		history.RecordOperation{Name: "op", Result: []byte(`1`)},
		history.SetState{Key: "a", Value: []byte(`1`)},
		history.ScheduleTask{ID: taskID, Kind: "pay"},
		history.ClearState{Key: "a"},
		history.CreatePromise{Name: "p"},
		history.RecordOperation{Name: "op", Result: []byte(`2`)},
		history.SetState{Key: "a", Value: []byte(`2`)},
		history.ScheduleChild{ID: childID, Name: "kid", Kind: "sub"},
		history.StartTimer{ID: "t1", After: time.Second},
		history.CreatePromise{Name: "p"},
	}
}

// A worker that could not fetch the history sends everything anew.
func TestResendOfAWholeHistory(t *testing.T) {
	t.Parallel()
	s := fold(t)
	submit(t, s, history.Suspended, whole()...)
	value, _ := s.Value("a")
	last := s.LastSeq
	out := submit(t, s, history.Suspended, whole()...)
	if len(out.Events) != 0 || len(out.Tasks)+len(out.Children)+len(out.Timers)+len(out.Promises) != 0 {
		t.Fatalf("a resend leads to %+v", out)
	}
	if again, ok := s.Value("a"); !ok || !bytes.Equal(again, value) || s.LastSeq != last {
		t.Fatalf("state %s, last event %d", again, s.LastSeq)
	}
	more := append(
		whole(), history.RecordOperation{Name: "op"}, history.SetState{Key: "b"}, history.ScheduleTask{ID: flovyn.TaskID(uuid.New()), Kind: "next"},
	)
	wantEvents(t, submit(t, s, history.Suspended, more...), history.OperationCompleted, history.StateSet, history.TaskScheduled)
}

// The same, after the parts have settled: a settled promise is not made again.
func TestResendAfterFacts(t *testing.T) {
	t.Parallel()
	s := fold(t)
	out := submit(t, s, history.Suspended, whole()...)
	facts := []history.Draft{
		history.TaskDone(taskID, nil), history.TimerRang("t1"), history.Signalled("s", nil),
		history.ChildDone(&flovyn.WorkflowExecution{ID: childID, ChildName: "kid"}, nil),
	}
	for _, p := range out.Promises {
		facts = append(facts, history.PromiseKept(&flovyn.Promise{ID: p.ID, Name: p.Name}, nil))
	}
	for _, d := range facts {
		if err := s.Apply(history.Event{Seq: s.LastSeq + 1, Type: d.Type, Data: d.Data}); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Idle() {
		t.Fatalf("open: %v %v %v", s.OpenTasks(), s.OpenTimers(), s.OpenPromises())
	}
	wantEvents(t, submit(t, s, history.Suspended, whole()...))
	wantEvents(t, submit(t, s, history.Completed, append(whole(), history.CompleteWorkflow{})...), history.WorkflowCompleted)
}

func TestDuplicatesWithinASubmission(t *testing.T) {
	t.Parallel()
	out := submit(
		t, fold(t), history.Suspended,
		history.ScheduleTask{ID: taskID, Kind: "a"}, history.ScheduleTask{ID: taskID, Kind: "a"},
		history.ScheduleChild{ID: childID, Name: "k"}, history.ScheduleChild{ID: childID, Name: "k"},
		history.StartTimer{ID: "t"}, history.StartTimer{ID: "t"},
		history.CancelTimer{ID: "t"}, history.CancelTimer{ID: "t"},
		history.CreatePromise{Name: "p"}, history.CreatePromise{Name: "p"},
		history.RecordOperation{Name: "o"}, history.RecordOperation{Name: "o"},
	)
	wantEvents(
		t, out, history.TaskScheduled, history.ChildWorkflowInitiated, history.TimerStarted, history.TimerCancelled,
		history.PromiseCreated, history.PromiseCreated, history.OperationCompleted, history.OperationCompleted,
	)
	if len(out.Tasks) != 1 || len(out.Children) != 1 || len(out.Timers) != 1 || len(out.CancelledTimers) != 1 {
		t.Fatalf("%+v", out)
	}
	if len(out.Promises) != 2 || out.Promises[0].ID == out.Promises[1].ID {
		t.Fatalf("promises of the same name: %+v", out.Promises)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	s := fold(t)
	wantEvents(t, submit(t, s, history.Suspended, history.CancelTimer{ID: "unknown"}))
	wantEvents(t, submit(t, s, history.Suspended, history.StartTimer{ID: "t"}), history.TimerStarted)
	if err := s.Apply(history.Event{Seq: s.LastSeq + 1, Type: history.TimerFired, Data: history.TimerRang("t").Data}); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, submit(t, s, history.Suspended, history.CancelTimer{ID: "t"})) // too late
	// The id is the identity: a timer that fired is not started again.
	wantEvents(t, submit(t, s, history.Suspended, history.StartTimer{ID: "t"}))
	wantEvents(t, submit(t, s, history.Suspended, history.StartTimer{ID: "u"}, history.CancelTimer{ID: "u"}, history.StartTimer{ID: "u"}),
		history.TimerStarted, history.TimerCancelled)
	if len(s.OpenTimers()) != 0 {
		t.Fatalf("open timers %v", s.OpenTimers())
	}
}

func TestClearState(t *testing.T) {
	t.Parallel()
	s := fold(t)
	wantEvents(t, submit(t, s, history.Suspended, history.ClearState{Key: "k"}))
	wantEvents(t, submit(t, s, history.Suspended, history.SetState{Key: "k"}), history.StateSet)
	if v, ok := s.Value("k"); !ok || string(v) != "null" {
		t.Fatalf("a state without a value is %q", v)
	}
	wantEvents(t, submit(t, s, history.Suspended, history.ClearState{Key: "k"}), history.StateCleared)
	wantEvents(t, submit(t, s, history.Suspended, history.ClearState{Key: "k"})) // sent again on every replay
	wantEvents(t, submit(t, s, history.Suspended, history.SetState{Key: "", Value: []byte(`1`)}), history.StateSet)
	if got := string(s.Values()); got != `{"":1}` {
		t.Fatalf("state %s", got)
	}
}

func TestResolvePromise(t *testing.T) {
	t.Parallel()
	s := fold(t)
	own := submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}).Promises[0]
	out := submit(t, s, history.Suspended, history.ResolvePromise{ID: own.ID, Value: []byte(`1`)}, history.ResolvePromise{ID: own.ID, Value: []byte(`2`)})
	wantEvents(t, out, history.PromiseResolved)
	if len(out.SettledPromises) != 1 || len(out.ForeignPromises) != 0 || !out.News {
		t.Fatalf("%+v", out)
	}
	if want := `"promiseName":"p","value":1`; !strings.Contains(string(out.Events[0].Data), want) {
		t.Fatalf("%s", out.Events[0].Data)
	}
	out = submit(t, s, history.Suspended, history.ResolvePromise{ID: own.ID}) // settled by an earlier submission
	wantEvents(t, out)
	if out.News || len(out.SettledPromises) != 0 {
		t.Fatalf("%+v", out)
	}
	out = submit(t, s, history.Suspended, history.ResolvePromise{ID: promiseID, Value: []byte(`3`)})
	wantEvents(t, out)
	if len(out.ForeignPromises) != 1 || string(out.ForeignPromises[0].Value) != "3" {
		t.Fatalf("%+v", out)
	}
}

// Where nothing has an identity, an open promise that comes again is taken for
// the one that is there; a settled one is not.
func TestPromiseNames(t *testing.T) {
	t.Parallel()
	s := fold(t)
	first := submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}).Promises[0]
	wantEvents(t, submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}))
	wantEvents(t, submit(t, s, history.Suspended, history.CreatePromise{Name: "q"}), history.PromiseCreated)
	kept := history.PromiseKept(&flovyn.Promise{ID: first.ID, Name: "p"}, nil)
	if err := s.Apply(history.Event{Seq: s.LastSeq + 1, Type: kept.Type, Data: kept.Data}); err != nil {
		t.Fatal(err)
	}
	out := submit(t, s, history.Suspended, history.CreatePromise{Name: "p"})
	wantEvents(t, out, history.PromiseCreated)
	if out.Promises[0].ID == first.ID {
		t.Fatal("a second promise has the id of the first")
	}
	if got := string(out.Events[0].Data); strings.Contains(got, "timeoutMs") || strings.Contains(got, "idempotencyKey") {
		t.Fatalf("a promise without timeout or key: %s", got)
	}
}

// The same submission decided again names the same promises.
func TestSubmitIsDeterministic(t *testing.T) {
	t.Parallel()
	a, b := submit(t, fold(t), history.Suspended, whole()...), submit(t, fold(t), history.Suspended, whole()...)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatal(diff)
	}
}

func TestCancelChild(t *testing.T) {
	t.Parallel()
	s := fold(t)
	submit(t, s, history.Suspended, history.ScheduleChild{ID: childID, Name: "kid"})
	for name, c := range map[string]struct {
		command history.CancelChild
		want    int
	}{
		"by id":           {history.CancelChild{ID: childID}, 1},
		"by name":         {history.CancelChild{Name: "kid"}, 1},
		"by both":         {history.CancelChild{ID: childID, Name: "kid"}, 1},
		"an unknown name": {history.CancelChild{Name: "other"}, 0},
		"an unknown id":   {history.CancelChild{ID: execution}, 0},
		"nothing":         {history.CancelChild{}, 0},
	} {
		out := submit(t, s, history.Suspended, c.command)
		wantEvents(t, out)
		if len(out.CancelChildren) != c.want || c.want == 1 && out.CancelChildren[0].ID != childID {
			t.Errorf("%s: %+v", name, out.CancelChildren)
		}
	}
	gone := history.ChildGaveUp(&flovyn.WorkflowExecution{ID: childID, ChildName: "kid"}, "no")
	if err := s.Apply(history.Event{Seq: s.LastSeq + 1, Type: gone.Type, Data: gone.Data}); err != nil {
		t.Fatal(err)
	}
	if out := submit(t, s, history.Suspended, history.CancelChild{ID: childID}); len(out.CancelChildren) != 0 {
		t.Errorf("a child that has ended: %+v", out.CancelChildren)
	}
}

// Clearing a key that is absent leaves no event, so that a resend must not take
// its place in the list for that of the next change.
func TestResendWithoutTraces(t *testing.T) {
	t.Parallel()
	code := commands{
		history.ClearState{Key: "x"},
		history.SetState{Key: "a"},
		history.SetState{Key: "x"},
		history.ClearState{Key: "y"},
		history.StartTimer{ID: "t"},
	}
	s := fold(t)
	wantEvents(t, submit(t, s, history.Suspended, code...), history.StateSet, history.StateSet, history.TimerStarted)
	wantEvents(t, submit(t, s, history.Suspended, code...))
	if got := string(s.Values()); got != `{"a":null,"x":null}` {
		t.Fatalf("state %s", got)
	}
	s = fold(t)
	submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}, history.StartTimer{ID: "t"})
	wantEvents(t, submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}, history.CreatePromise{Name: "q"}), history.PromiseCreated)
	wantEvents(t, submit(t, s, history.Suspended, history.CreatePromise{Name: "p"}, history.StartTimer{ID: "t"},
		history.CreatePromise{Name: "q"}))
}

// An approval that is asked for again, beside a new timer, is a second promise
// of the same name, although the first one is still open.
func TestPromiseOfTheSameName(t *testing.T) {
	t.Parallel()
	s := fold(t)
	submit(t, s, history.Suspended, history.CreatePromise{Name: "approval"}, history.StartTimer{ID: "t1"})
	wantEvents(t, submit(t, s, history.Suspended, history.CreatePromise{Name: "approval"}, history.StartTimer{ID: "t2"}),
		history.PromiseCreated, history.TimerStarted)
}

// A workflow whose commands carry no identities is run from its start again:
// everything that its history has comes again, and nothing is written twice.
func TestResendWithoutIdentities(t *testing.T) {
	t.Parallel()
	code := commands{
		history.RecordOperation{Name: "key"}, history.SetState{Key: "status"}, history.CreatePromise{Name: "approval"},
	}
	s := fold(t)
	submit(t, s, history.Suspended, code...)
	wantEvents(t, submit(t, s, history.Suspended, code...))
	wantEvents(t, submit(t, s, history.Suspended, append(code, history.SetState{Key: "more"})...), history.StateSet)
	wantEvents(t, submit(t, s, history.Suspended, history.RecordOperation{Name: "key"}), history.OperationCompleted)
}
