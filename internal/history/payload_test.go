package history_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/history"
)

func TestPayloadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value string
		limit       int
		want        fault.Kind
	}{
		{"not JSON", `{`, 100, fault.Invalid},
		{"two values", `1 2`, 100, fault.Invalid},
		{"single quotes", `{'a':1}`, 100, fault.Invalid},
		{"trailing comma", `[1,]`, 100, fault.Invalid},
		{"NaN", `NaN`, 100, fault.Invalid},
		{"leading zero", `01`, 100, fault.Invalid},
		{"raw control character", "\"a\nb\"", 100, fault.Invalid},
		{"invalid UTF-8", "\"\xff\"", 100, fault.Invalid},
		{"a byte order mark", "\ufeff1", 100, fault.Invalid},
		{"a splice out of the object", `1,"output":2`, 100, fault.Invalid},
		{"too long", `"123456789"`, 10, fault.Exhausted},
		{"too deep", strings.Repeat("[", 1001) + strings.Repeat("]", 1001), 1 << 20, fault.Invalid},
		{"as deep as the decoder goes", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), 1 << 20, fault.Invalid},
		{"deep objects", strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001), 1 << 20, fault.Invalid},
	} {
		_, err := history.Payload("the.field", []byte(c.value), c.limit)
		if fault.KindOf(err) != c.want || err == nil || !strings.Contains(fault.Message(err), "the.field") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, value := range map[string]string{
		"exactly the limit":   `"12345678"`,
		"brackets in strings": `"[[[[[{"`,
	} {
		if _, err := history.Payload("x", []byte(value), 10); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	flat := "[" + strings.Repeat("[],{},", 5000) + `"\"[", 1]`
	if _, err := history.Payload("x", []byte(flat), 1<<20); err != nil {
		t.Errorf("many brackets side by side: %v", err)
	}
	deepest := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	if _, err := history.Payload("x", []byte(deepest), 1<<20); err != nil {
		t.Errorf("the deepest that is allowed: %v", err)
	}
}

// What is accepted is one JSON value, and remains readable inside an event.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `null`, `{"id":9007199254740993}`, `1.10`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xff\"", `[[[[]]]]`, `1 2`, `{"a":1,}`,
		strings.Repeat("[", 1200), strings.Repeat("[", 1000) + strings.Repeat("]", 1000), `"\\"`, `"\"[{"`, `{"a":"}"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := history.Payload("x", value, 1<<16)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.Exhausted {
				t.Fatalf("kind %s: %v", kind, err)
			}
			return
		}
		d := history.Signalled("s", got)
		if !json.Valid(d.Data) {
			t.Fatalf("accepted %q makes %q", value, d.Data)
		}
		if m := history.Member(d.Data, "signalValue"); !bytes.Equal(m, history.OrNull(got)) {
			t.Fatalf("accepted %q is read back as %q", value, m)
		}
		again, err := history.Payload("x", got, 1<<16)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("accepted %q is not accepted again: %q, %v", got, again, err)
		}
	})
}

func FuzzMember(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "a")
	f.Add([]byte(`{"a":{"a":2},"a":3}`), "a")
	f.Add([]byte(`[]`), "")
	f.Add([]byte(`{`), "x")
	f.Add([]byte(nil), "x")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if m := history.Member(data, name); m != nil && !json.Valid(m) {
			t.Fatalf("member %q of %q is %q", name, data, m)
		}
	})
}

// A damaged history is an error, never a panic.
func FuzzFold(f *testing.F) {
	for i, eventType := range history.EventTypes() {
		f.Add(uint8(i), []byte(`{}`), uint8(i), []byte(`{"taskExecutionId":"22222222-2222-4222-8222-222222222222"}`))
		f.Add(uint8(12), []byte(`{"promiseId":"33333333-3333-4333-8333-333333333333"}`), uint8(i), []byte(`{"promiseId":"33333333-3333-4333-8333-333333333333"}`))
		f.Add(uint8(16), []byte(`{"childExecutionId":"44444444-4444-4444-8444-444444444444"}`), uint8(i), []byte(`null`))
		_ = eventType
	}
	types := append(history.EventTypes(), "", "NONSENSE")
	f.Fuzz(func(t *testing.T, type1 uint8, data1 []byte, type2 uint8, data2 []byte) {
		s, err := history.Fold(execution, []history.Event{
			{Seq: 1, Type: types[int(type1)%len(types)], Data: data1},
			{Seq: 2, Type: types[int(type2)%len(types)], Data: data2},
		})
		if err != nil {
			return
		}
		s.OpenTasks()
		s.OpenPromises()
		s.OpenChildren()
		s.Idle()
		if !json.Valid(s.Values()) {
			t.Fatalf("state is %s", s.Values())
		}
	})
}

func TestFoldRefuses(t *testing.T) {
	t.Parallel()
	for name, events := range map[string][]history.Event{
		"a gap":                  {{Seq: 1, Type: history.WorkflowSuspended}, {Seq: 3, Type: history.WorkflowSuspended}},
		"a repeated number":      {{Seq: 1, Type: history.WorkflowSuspended}, {Seq: 1, Type: history.WorkflowSuspended}},
		"a start at zero":        {{Seq: 0, Type: history.WorkflowSuspended}},
		"an unknown event":       {{Seq: 1, Type: "WORKFLOW_RESUMED", Data: []byte(`{}`)}},
		"data that is no object": {{Seq: 1, Type: history.TimerFired, Data: []byte(`7`)}},
		"a task without id":      {{Seq: 1, Type: history.TaskScheduled, Data: []byte(`{}`)}},
		"an unknown promise":     {{Seq: 1, Type: history.PromiseResolved, Data: []byte(`{"promiseId":"` + promiseID.String() + `"}`)}},
		"an unknown child":       {{Seq: 1, Type: history.ChildWorkflowFailed, Data: []byte(`{"childExecutionId":"` + childID.String() + `"}`)}},
	} {
		if _, err := history.Fold(execution, events); err == nil {
			t.Errorf("%s is folded without an error", name)
		}
	}
}
