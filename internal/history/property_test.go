package history_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// program is an execution at the mercy of random submissions and facts.
type program struct {
	state    *history.State
	events   []history.Event
	sent     commands // everything the code has asked for so far
	promises []flovyn.PromiseID
	children map[flovyn.ExecutionID]string
	// names counts the identities made up, drawn those of earlier submissions.
	names, drawn int
}

func named(space string, n int) uuid.UUID {
	return uuid.NewSHA1(execution.UUID(), []byte(fmt.Sprint(space, n)))
}

// fresh counts the identities that the code makes up, as SDKs do. Now and then
// it repeats the last one.
func (p *program) fresh(t *rapid.T) int {
	if p.names == p.drawn || !rapid.Bool().Draw(t, "repeat") {
		p.names++
	}
	return p.names
}

// command draws a command.
func (p *program) command(t *rapid.T) history.Command {
	small := rapid.IntRange(0, 4).Draw(t, "id")
	key := fmt.Sprint("k", small)
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0:
		return history.RecordOperation{Name: fmt.Sprint("op", small%2), Result: []byte(`1`)}
	case 1, 2:
		return history.SetState{Key: key, Value: fmt.Appendf(nil, "%d", small)}
	case 3:
		return history.ClearState{Key: key}
	case 4, 5:
		return history.ScheduleTask{ID: flovyn.TaskID(named("task", p.fresh(t))), Kind: "k"}
	case 6:
		p.names++
		return history.CreatePromise{Name: fmt.Sprint("p", p.names)}
	case 7:
		if len(p.promises) > 0 && small > 0 {
			return history.ResolvePromise{ID: p.promises[small%len(p.promises)], Value: []byte(`1`)}
		}
		return history.ResolvePromise{ID: flovyn.PromiseID(named("foreign", small))}
	case 8:
		return history.ScheduleChild{ID: flovyn.ExecutionID(named("child", p.fresh(t))), Name: fmt.Sprint("c", small), Kind: "k"}
	case 9:
		return history.StartTimer{ID: fmt.Sprint("t", p.fresh(t))}
	case 10:
		return history.CancelTimer{ID: fmt.Sprint("t", p.names-small)}
	default:
		return history.CancelChild{Name: fmt.Sprint("c", small)}
	}
}

// facts lists what may happen from outside now.
func (p *program) facts() []history.Draft {
	facts := []history.Draft{history.Signalled("s", []byte(`{}`)), history.CancelRequested("r", "x")}
	for _, id := range p.state.OpenTasks() {
		facts = append(facts, history.TaskDone(id, nil), history.TaskGaveUp(id, "e", 1))
	}
	for _, id := range p.state.OpenTimers() {
		facts = append(facts, history.TimerRang(id))
	}
	for _, id := range p.state.OpenPromises() {
		promise := &flovyn.Promise{ID: id}
		facts = append(facts, history.PromiseKept(promise, nil), history.PromiseBroken(promise, "e"), history.PromiseExpired(promise))
	}
	for _, id := range p.state.OpenChildren() {
		child := &flovyn.WorkflowExecution{ID: id, ChildName: p.children[id]}
		facts = append(facts, history.ChildBegan(child), history.ChildDone(child, nil), history.ChildGaveUp(child, "e"))
	}
	slices.SortFunc(facts, func(a, b history.Draft) int {
		return strings.Compare(string(a.Type)+string(a.Data), string(b.Type)+string(b.Data))
	})
	return facts
}

func (p *program) happen(t *rapid.T) {
	fact := history.Signalled("late", nil)
	if p.state.Ended == "" {
		fact = rapid.SampledFrom(p.facts()).Draw(t, "fact")
	}
	e := history.Event{Seq: p.state.LastSeq + 1, Type: fact.Type, Data: fact.Data}
	if err := p.state.Apply(e); err != nil {
		t.Fatal(err)
	}
	p.events = append(p.events, e)
}

func (p *program) submit(t *rapid.T) {
	var cs commands
	p.drawn = p.names
	for range rapid.IntRange(0, 6).Draw(t, "commands") {
		cs = append(cs, p.command(t))
	}
	status := rapid.SampledFrom([]history.Status{
		history.Suspended, history.Suspended, history.Suspended, history.Running, history.Completed, history.Failed, history.Cancelled,
	}).Draw(t, "status")
	ended := p.state.Ended != ""
	sending := cs
	if p.resendable() && rapid.IntRange(0, 4).Draw(t, "blind") == 0 {
		sending = append(p.code(), cs...)
	}
	out, err := p.state.Submit(sending, status)
	if ended {
		if !fault.Is(err, fault.Precondition) {
			t.Fatalf("a submission after the end: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	p.sent = append(p.sent, cs...)
	p.events = append(p.events, out.Events...)
	for _, c := range out.Promises {
		p.promises = append(p.promises, c.ID)
	}
	for _, c := range out.Children {
		p.children[c.ID] = c.Name
	}
	if (out.End != "") != (p.state.Ended != "") {
		t.Fatalf("outcome %q, state %q", out.End, p.state.Ended)
	}
}

// resendable reports whether a resend can be recognized: by an identity.
func (p *program) resendable() bool {
	return slices.ContainsFunc(p.events, func(e history.Event) bool {
		return e.Type == history.TaskScheduled || e.Type == history.TimerStarted || e.Type == history.ChildWorkflowInitiated
	})
}

// code is what a worker sends that has no history and re-runs all code. It does
// not know the ids of promises, and so resolves none.
func (p *program) code() commands {
	return slices.DeleteFunc(slices.Clone(p.sent), func(c history.Command) bool {
		_, resolves := c.(history.ResolvePromise)
		_, cancels := c.(history.CancelTimer)
		return resolves || cancels
	})
}

func (p *program) check(t *rapid.T) {
	folded, err := history.Fold(execution, p.events)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(folded, p.state) {
		t.Fatalf("the fold of the history differs from the live state\nfold %+v\nlive %+v", folded, p.state)
	}
	over := false
	for i, e := range p.events {
		if int(e.Seq) != i+1 {
			t.Fatalf("event %d has sequence number %d", i+1, e.Seq)
		}
		if over && e.Type != history.SignalReceived {
			t.Fatalf("%s after the end", e.Type)
		}
		over = over || e.Type.Terminal()
	}
	if over != (p.state.Ended != "") {
		t.Fatalf("ended %q", p.state.Ended)
	}
	if !over {
		p.resend(t, folded)
	}
}

// resend gives a copy of the state everything that was sent before, as a worker
// does that has no history: it must add nothing.
func (p *program) resend(t *rapid.T, s *history.State) {
	if !p.resendable() {
		return
	}
	out, err := s.Submit(p.code(), history.Suspended)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Events) != 0 || len(out.Tasks)+len(out.Timers)+len(out.Promises)+len(out.Children) != 0 {
		t.Fatalf("a resend adds %+v\nsent %+v", out, p.sent)
	}
}

// TestRandomPrograms runs random submissions and facts: the live state always
// agrees with the fold of its history.
func TestRandomPrograms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		started := history.Event{Seq: 1, Type: history.WorkflowStarted, Data: history.Started("k", nil).Data}
		p := &program{state: history.NewState(execution), events: []history.Event{started}, children: map[flovyn.ExecutionID]string{}}
		if err := p.state.Apply(started); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){"submit": p.submit, "happen": p.happen, "": p.check})
	})
}
