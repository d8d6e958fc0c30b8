package history_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

var (
	execution = flovyn.ExecutionID(uuid.MustParse("11111111-1111-4111-8111-111111111111"))
	taskID    = flovyn.TaskID(uuid.MustParse("22222222-2222-4222-8222-222222222222"))
	promiseID = flovyn.PromiseID(uuid.MustParse("33333333-3333-4333-8333-333333333333"))
	childID   = flovyn.ExecutionID(uuid.MustParse("44444444-4444-4444-8444-444444444444"))
)

// submitted returns the data of the one event of a type that commands lead to.
func submitted(t *testing.T, want history.EventType, status history.Status, commands ...history.Command) history.Draft {
	t.Helper()
	out, err := history.NewState(execution).Submit(commands, status)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out.Events {
		if e.Type == want {
			return history.Draft{Type: e.Type, Data: e.Data}
		}
	}
	t.Fatalf("%s is not among the events %v", want, out.Events)
	return history.Draft{}
}

// TestEventData pins every byte that SDKs read: the names, the keys, their order.
func TestEventData(t *testing.T) {
	t.Parallel()
	child := &flovyn.WorkflowExecution{ID: childID, ChildName: "kid"}
	promise := &flovyn.Promise{ID: promiseID, Name: "approval"}
	created := submitted(t, history.PromiseCreated, history.Suspended, history.CreatePromise{
		Name: "approval", Timeout: 1500 * time.Millisecond, HasTimeout: true, Key: "k",
	})
	createdID := dataOf(t, created)["promiseId"].(string)
	if _, err := uuid.Parse(createdID); err != nil {
		t.Fatalf("promise id %q is not a UUID", createdID)
	}
	golden := map[history.EventType]struct {
		got  history.Draft
		want string
	}{
		history.WorkflowStarted: {
			history.Started("order", []byte(`{"id": 9007199254740993}`)),
			`{"input":{"id": 9007199254740993},"workflowKind":"order"}`,
		},
		history.WorkflowCompleted: {history.EndedCompleted([]byte(`1.10`)), `{"output":1.10}`},
		history.WorkflowExecutionFailed: {
			history.EndedFailed("boom", "at x", "ERROR"), `{"error":"boom","stackTrace":"at x","failureType":"ERROR"}`,
		},
		history.WorkflowSuspended:     {history.SuspendedFor("timer"), `{"reason":"timer"}`},
		history.CancellationRequested: {history.CancelRequested("why", "me"), `{"reason":"why","requestedBy":"me"}`},
		history.OperationCompleted: {
			submitted(t, history.OperationCompleted, history.Suspended, history.RecordOperation{Name: "op", Result: []byte(`[1]`)}),
			`{"operationName":"op","result":[1]}`,
		},
		history.StateSet: {
			submitted(t, history.StateSet, history.Suspended, history.SetState{Key: "k", Value: []byte(`"v"`)}), `{"key":"k","value":"v"}`,
		},
		history.StateCleared: {
			submitted(t, history.StateCleared, history.Suspended, history.SetState{Key: "k"}, history.ClearState{Key: "k"}), `{"key":"k"}`,
		},
		history.TaskScheduled: {
			submitted(t, history.TaskScheduled, history.Suspended, history.ScheduleTask{ID: taskID, Kind: "pay", Queue: "q", Input: []byte(`{}`)}),
			`{"kind":"pay","taskType":"pay","taskExecutionId":"22222222-2222-4222-8222-222222222222","input":{},"queue":"q"}`,
		},
		history.TaskCompleted: {
			history.TaskDone(taskID, nil), `{"taskExecutionId":"22222222-2222-4222-8222-222222222222","output":null}`,
		},
		history.TaskFailed: {
			history.TaskGaveUp(taskID, "no", 4),
			`{"taskExecutionId":"22222222-2222-4222-8222-222222222222","error":"no","retryable":false,"executionCount":4}`,
		},
		history.TaskCancelled: {
			history.TaskWithdrawn(taskID, "pay", "r"),
			`{"taskExecutionId":"22222222-2222-4222-8222-222222222222","taskType":"pay","reason":"r"}`,
		},
		history.PromiseCreated: {
			created, `{"promiseId":"` + createdID + `","promiseName":"approval","timeoutMs":1500,"idempotencyKey":"k"}`,
		},
		history.PromiseResolved: {
			history.PromiseKept(promise, []byte(`true`)),
			`{"promiseId":"33333333-3333-4333-8333-333333333333","promiseName":"approval","value":true}`,
		},
		history.PromiseRejected: {
			history.PromiseBroken(promise, "no"),
			`{"promiseId":"33333333-3333-4333-8333-333333333333","promiseName":"approval","error":"no"}`,
		},
		history.PromiseTimeout: {
			history.PromiseExpired(promise), `{"promiseId":"33333333-3333-4333-8333-333333333333","promiseName":"approval"}`,
		},
		history.ChildWorkflowInitiated: {
			history.ChildAsked(history.ScheduleChild{ID: childID, Name: "kid", Kind: "sub", Queue: "q"}),
			`{"childExecutionName":"kid","childExecutionId":"44444444-4444-4444-8444-444444444444","childWorkflowKind":"sub","input":null,"queue":"q"}`,
		},
		history.ChildWorkflowStarted: {
			history.ChildBegan(child), `{"childExecutionName":"kid","childExecutionId":"44444444-4444-4444-8444-444444444444"}`,
		},
		history.ChildWorkflowCompleted: {
			history.ChildDone(child, []byte(`7`)),
			`{"childExecutionName":"kid","childExecutionId":"44444444-4444-4444-8444-444444444444","output":7}`,
		},
		history.ChildWorkflowFailed: {
			history.ChildGaveUp(child, "no"),
			`{"childExecutionName":"kid","childExecutionId":"44444444-4444-4444-8444-444444444444",` +
				`"childworkflowExecutionId":"44444444-4444-4444-8444-444444444444","error":"no"}`,
		},
		history.TimerStarted: {
			submitted(t, history.TimerStarted, history.Suspended, history.StartTimer{ID: "sleep-1", After: 2 * time.Second}),
			`{"timerId":"sleep-1","durationMs":2000}`,
		},
		history.TimerFired: {history.TimerRang("sleep-1"), `{"timerId":"sleep-1"}`},
		history.TimerCancelled: {
			submitted(t, history.TimerCancelled, history.Suspended, history.StartTimer{ID: "a"}, history.CancelTimer{ID: "a"}),
			`{"timerId":"a"}`,
		},
		history.SignalReceived: {
			history.Signalled("go", []byte(`{"a":[null]}`)), `{"signalName":"go","signalValue":{"a":[null]}}`,
		},
		history.WorkflowCancelled: {history.EndedCancelled("why"), `{"reason":"why"}`},
		history.RetryRequested: {
			history.Retried{Tasks: []flovyn.TaskID{taskID}, Error: "boom"}.Event("again", "me"),
			`{"note":"again","requestedBy":"me","previousError":"boom","tasks":["22222222-2222-4222-8222-222222222222"],"children":[]}`,
		},
	}
	for _, eventType := range append(history.EventTypes(), history.RetryRequested) {
		g, ok := golden[eventType]
		if eventType == history.ChildWorkflowCancelled { // never written: no SDK takes it for the child's end
			if ok {
				t.Errorf("%s is written by something", eventType)
			}
			continue
		}
		if !ok {
			t.Errorf("no golden data for %s", eventType)
			continue
		}
		if g.got.Type != eventType || string(g.got.Data) != g.want {
			t.Errorf("%s\n got %s %s\nwant %s", eventType, g.got.Type, g.got.Data, g.want)
		}
	}
	if n := len(history.EventTypes()); n != 26 {
		t.Errorf("%d event types, the protocol has 25 and one for result waiters", n)
	}
}

func dataOf(t *testing.T, d history.Draft) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(d.Data, &m); err != nil {
		t.Fatalf("%s: %v: %s", d.Type, err, d.Data)
	}
	return m
}

// A history written by something older may hold a cancelled child: it counts
// as the child's end.
func TestChildCancelledIsFolded(t *testing.T) {
	t.Parallel()
	asked := history.ChildAsked(history.ScheduleChild{ID: childID, Name: "kid", Kind: "sub"})
	events := []history.Event{
		{Seq: 1, Type: asked.Type, Data: asked.Data},
		{Seq: 2, Type: history.ChildWorkflowCancelled, Data: []byte(`{"childExecutionId":"` + childID.String() + `"}`)},
	}
	s, err := history.Fold(execution, events)
	if err != nil {
		t.Fatal(err)
	}
	if open := s.OpenChildren(); len(open) != 0 {
		t.Fatalf("open children %v", open)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	var got []history.EventType
	for _, e := range history.EventTypes() {
		if e.Terminal() {
			got = append(got, e)
		}
	}
	want := []history.EventType{history.WorkflowCompleted, history.WorkflowExecutionFailed, history.WorkflowCancelled}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// Payloads stand in events exactly as they came.
func TestPayloadsAreUntouched(t *testing.T) {
	t.Parallel()
	payloads := []string{
		`9007199254740993`, `-0.0`, `1.10`, `1e400`, `123456789012345678901234567890`, `""`,
		`"<a&b>"`, `"\u003c\/\u2028"`, `"tab\tquote\"back\\slash"`, `"\ud83d\ude00 😀 é \u0000"`, `"\ud800"`,
		`{"z":1,"a":2,"z":3}`, "{ \"spaced\" :\n[ 1 ,\t2 ] }", `null`, `true`, `[]`, `{}`,
		strings.Repeat("[", 500) + strings.Repeat("]", 500),
		strings.Repeat(`{"a":`, 300) + `1.0` + strings.Repeat("}", 300),
	}
	for _, p := range payloads {
		value, err := history.Payload("x", []byte(" \r\n\t"+p+"\n "), 1<<20)
		if err != nil {
			t.Errorf("%.40s: %v", p, err)
			continue
		}
		if string(value) != p {
			t.Errorf("payload %.40s became %.40s", p, value)
		}
		child := &flovyn.WorkflowExecution{ID: childID}
		drafts := map[string][]history.Draft{
			"input": {
				history.Started("k", value),
				submitted(t, history.TaskScheduled, history.Suspended, history.ScheduleTask{ID: taskID, Kind: "k", Input: value}),
				history.ChildAsked(history.ScheduleChild{ID: childID, Kind: "k", Input: value}),
			},
			"output":      {history.EndedCompleted(value), history.TaskDone(taskID, value), history.ChildDone(child, value)},
			"result":      {submitted(t, history.OperationCompleted, history.Suspended, history.RecordOperation{Result: value})},
			"signalValue": {history.Signalled("s", value)},
			"value": {
				history.PromiseKept(&flovyn.Promise{ID: promiseID}, value),
				submitted(t, history.StateSet, history.Suspended, history.SetState{Key: "k", Value: value}),
			},
		}
		for member, ds := range drafts {
			for _, d := range ds {
				if !json.Valid(d.Data) {
					t.Errorf("%s with %.40s is not JSON", d.Type, p)
				}
				if got := history.Member(d.Data, member); string(got) != p {
					t.Errorf("%s.%s: %.40s became %.40s", d.Type, member, p, got)
				}
			}
		}
		s := history.NewState(execution)
		if _, err := s.Submit([]history.Command{history.SetState{Key: "k", Value: value}}, history.Suspended); err != nil {
			t.Error(err)
		}
		if got, ok := s.Value("k"); !ok || string(got) != p {
			t.Errorf("state: %.40s became %.40s", p, got)
		}
		if got := string(s.Values()); got != `{"k":`+p+`}` {
			t.Errorf("whole state: %.60s", got)
		}
	}
}

// Texts are escaped, not interpreted.
func TestTextsAreEscaped(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", `"`, `\`, `","error":"forged`, "line\nfeed\ttab\x00nul\x1f", "<script>&", "é 😀 \u2028", "\u007f", `\u0041`,
	} {
		d := history.EndedFailed(text, text, text)
		m := dataOf(t, d)
		want := map[string]any{"error": text, "stackTrace": text, "failureType": text}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if d := history.SuspendedFor("<a&b>"); string(d.Data) != `{"reason":"<a&b>"}` {
		t.Errorf("HTML is escaped: %s", d.Data)
	}
	if m := dataOf(t, history.SuspendedFor("bad \xff utf8")); m["reason"] != "bad \ufffd utf8" {
		t.Errorf("invalid UTF-8 became %q", m["reason"])
	}
}

func TestEmptyPayloadIsNull(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"", " ", "\n\t \r"} {
		value, err := history.Payload("x", []byte(empty), 10)
		if err != nil || value != nil {
			t.Fatalf("%q: %q, %v", empty, value, err)
		}
		if d := history.EndedCompleted(value); string(d.Data) != `{"output":null}` {
			t.Errorf("%s", d.Data)
		}
	}
	if got := history.OrNull(nil); string(got) != "null" {
		t.Errorf("OrNull(nil) = %s", got)
	}
	if got := history.OrNull([]byte("0")); string(got) != "0" {
		t.Errorf("OrNull(0) = %s", got)
	}
}
