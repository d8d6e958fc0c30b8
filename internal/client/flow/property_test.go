package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// The property: whatever a workflow does, and in whatever order and how late the
// world answers, no activation sends what the history has, and the result is a
// function of the history's order alone. The server's part is played by its own
// rules, internal/history.

// program is a workflow made of random steps. It notes all that it learns.
type program []step

type step struct {
	op string
	n  int // which future a step is about
}

func programs() *rapid.Generator[program] {
	ops := []string{
		"task", "timer", "promise", "child", "signal", "set", "clear", "side effect", "foreign promise",
		"get", "get", "any", "all", "cancel",
	}
	return rapid.Custom(func(t *rapid.T) program {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.SampledFrom(ops).Draw(t, "op"), rapid.IntRange(0, 9).Draw(t, "n")}
		}), 1, 14).Draw(t, "program")
	})
}

func (p program) run(ctx *Context, _ json.RawMessage) (any, error) {
	var learned []string
	var futures []*Future
	for i, s := range p {
		name := fmt.Sprint(s.op, i)
		switch s.op {
		case "task":
			futures = append(futures, ctx.ScheduleTask(name, i, TaskOptions{}))
		case "timer":
			futures = append(futures, ctx.NewTimer(time.Second))
		case "promise":
			futures = append(futures, ctx.NewPromise(name, 0))
		case "child":
			futures = append(futures, ctx.Child(name, "kind", i))
		case "signal":
			futures = append(futures, ctx.Signal("s"))
		case "set":
			if err := ctx.SetState(strconv.Itoa(s.n%2), i); err != nil {
				return nil, err
			}
		case "clear":
			ctx.ClearState(strconv.Itoa(s.n % 2))
		case "side effect":
			learned = append(learned, SideEffect(ctx, name, uuid.NewString))
		case "foreign promise":
			if err := ctx.ResolvePromise(fmt.Sprintf("0190b6ac-0000-7000-8000-00000000f0%02d", i), i); err != nil {
				return nil, err
			}
		default:
			if len(futures) > 0 {
				learned = append(learned, p.wait(s, futures))
			}
		}
	}
	return learned, nil
}

func (p program) wait(s step, futures []*Future) string {
	some := futures[s.n%len(futures):]
	switch s.op {
	case "any":
		first := Any(some...)
		return first.what() + " was first"
	case "all":
		return fmt.Sprint(All(some...))
	case "cancel":
		some[0].Cancel()
		return ""
	default:
		var value any
		err := some[0].Get(&value)
		return fmt.Sprint(value, err)
	}
}

// server applies its rules to submissions, and lets the world answer.
type server struct {
	state  *history.State
	events []*flovynv1.WorkflowEvent
	// open are the answers that the world may give.
	open []history.Draft
	// sent are the commands that must not be said again.
	sent map[string]bool
}

func newServer(t *rapid.T) *server {
	s := &server{state: history.NewState(flovyn.ExecutionID(uuid.MustParse(executionID))), sent: map[string]bool{}}
	s.append(t, history.Started("kind", []byte("null")))
	return s
}

func (s *server) append(t *rapid.T, d history.Draft) {
	if err := s.state.Apply(history.Event{Seq: s.state.LastSeq + 1, Type: d.Type, Data: d.Data}); err != nil {
		t.Fatal(err)
	}
	s.keep(d.Type, d.Data)
}

func (s *server) keep(eventType history.EventType, data []byte) {
	s.events = append(s.events, &flovynv1.WorkflowEvent{
		SequenceNumber: int32(len(s.events) + 1), EventType: string(eventType), EventData: data,
	})
}

// submit applies a submission and fails if it says anything that was said before.
func (s *server) submit(t *rapid.T, submission *flovynv1.SubmitWorkflowCommandsRequest) {
	var commands []history.Command
	for _, c := range submission.GetCommands() {
		command := s.convert(t, c)
		switch command.(type) {
		case history.SetState, history.ClearState, history.SuspendWorkflow: // may be said again
		default:
			if said := describe(c); s.sent[said] {
				t.Fatalf("%s was sent twice", said)
			} else {
				s.sent[said] = true
			}
		}
		commands = append(commands, command)
	}
	statuses := map[flovynv1.WorkflowStatus]history.Status{
		flovynv1.WorkflowStatus_SUSPENDED: history.Suspended, flovynv1.WorkflowStatus_COMPLETED: history.Completed,
	}
	status, ok := statuses[submission.GetStatus()]
	if !ok {
		t.Fatalf("%s: %s", submission.GetStatus(), describe(submission.GetCommands()[len(submission.GetCommands())-1]))
	}
	out, err := s.state.Submit(commands, status)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out.Events {
		s.keep(e.Type, e.Data)
	}
	s.expect(out)
}

// expect notes what the world will answer to new tasks, timers and so on.
func (s *server) expect(out *history.Outcome) {
	for i, task := range out.Tasks {
		answer := history.TaskDone(task.ID, task.Input)
		if i%2 == 1 {
			answer = history.TaskGaveUp(task.ID, "broken", 1)
		}
		s.open = append(s.open, answer)
	}
	for _, timer := range out.Timers {
		if !slices.Contains(out.CancelledTimers, timer.ID) {
			s.open = append(s.open, history.TimerRang(timer.ID))
		}
	}
	for _, id := range out.CancelledTimers {
		rang := history.TimerRang(id)
		s.open = slices.DeleteFunc(s.open, func(d history.Draft) bool {
			return d.Type == rang.Type && bytes.Equal(d.Data, rang.Data)
		})
	}
	for _, p := range out.Promises {
		s.open = append(s.open, history.PromiseKept(&flovyn.Promise{ID: p.ID, Name: p.Name}, []byte(`"kept"`)))
	}
	for _, c := range out.Children {
		child := &flovyn.WorkflowExecution{ID: c.ID, ChildName: c.Name}
		s.open = append(s.open, history.ChildDone(child, c.Input))
	}
}

func (s *server) convert(t *rapid.T, c *flovynv1.WorkflowCommand) history.Command {
	switch d := c.GetCommandData().(type) {
	case *flovynv1.WorkflowCommand_RecordOperation:
		return history.RecordOperation{Name: d.RecordOperation.GetOperationName(), Result: d.RecordOperation.GetResult()}
	case *flovynv1.WorkflowCommand_SetState:
		return history.SetState{Key: d.SetState.GetKey(), Value: d.SetState.GetValue()}
	case *flovynv1.WorkflowCommand_ClearState:
		return history.ClearState{Key: d.ClearState.GetKey()}
	case *flovynv1.WorkflowCommand_ScheduleTask:
		id := flovyn.TaskID(uuid.MustParse(d.ScheduleTask.GetTaskExecutionId()))
		return history.ScheduleTask{ID: id, Kind: d.ScheduleTask.GetKind(), Input: d.ScheduleTask.GetInput()}
	case *flovynv1.WorkflowCommand_StartTimer:
		return history.StartTimer{ID: d.StartTimer.GetTimerId()}
	case *flovynv1.WorkflowCommand_CancelTimer:
		return history.CancelTimer{ID: d.CancelTimer.GetTimerId()}
	case *flovynv1.WorkflowCommand_CreatePromise:
		return history.CreatePromise{Name: d.CreatePromise.GetPromiseId()}
	case *flovynv1.WorkflowCommand_ResolvePromise:
		id := flovyn.PromiseID(uuid.MustParse(d.ResolvePromise.GetPromiseId()))
		return history.ResolvePromise{ID: id, Value: d.ResolvePromise.GetValue()}
	case *flovynv1.WorkflowCommand_ScheduleChildWorkflow:
		child := d.ScheduleChildWorkflow
		id := flovyn.ExecutionID(uuid.MustParse(child.GetChildWorkflowExecutionId()))
		return history.ScheduleChild{ID: id, Name: child.GetChildExecutionName(), Kind: child.GetWorkflowKind(), Input: child.GetInput()}
	case *flovynv1.WorkflowCommand_RequestCancelChildWorkflow:
		id := flovyn.ExecutionID(uuid.MustParse(d.RequestCancelChildWorkflow.GetChildWorkflowExecutionId()))
		return history.CancelChild{ID: id}
	case *flovynv1.WorkflowCommand_CompleteWorkflow:
		return history.CompleteWorkflow{Output: d.CompleteWorkflow.GetOutput()}
	case *flovynv1.WorkflowCommand_SuspendWorkflow:
		return history.SuspendWorkflow{Reason: d.SuspendWorkflow.GetReason()}
	default:
		t.Fatalf("unexpected: %s", describe(c))
		return nil
	}
}

// answer lets the world do one thing: settle something that is open, or signal.
func (s *server) answer(t *rapid.T) {
	i := rapid.IntRange(0, len(s.open)).Draw(t, "answer")
	if i == len(s.open) {
		s.append(t, history.Signalled("s", fmt.Append(nil, s.state.LastSeq)))
		return
	}
	s.append(t, s.open[i])
	s.open = slices.Delete(s.open, i, i+1)
}

func TestReplayNeverRepeatsItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, s := programs().Draw(t, "program"), newServer(t)
		execution := &flovynv1.WorkflowExecution{Id: executionID, Kind: "kind"}
		for rounds := 0; s.state.Ended == ""; rounds++ {
			if rounds > 1000 { // far more than the steps of any program
				t.Fatal("the workflow does not end although the world answers")
			}
			submission, err := activate(execution, s.events, p.run)
			if err != nil {
				t.Fatal(err)
			}
			// The world may move on between the worker's look and its submission.
			for range rapid.IntRange(0, 2).Draw(t, "meanwhile") {
				s.answer(t)
			}
			s.submit(t, submission)
			for range rapid.IntRange(1, 3).Draw(t, "answers") {
				if s.state.Ended == "" {
					s.answer(t)
				}
			}
		}
		s.checkReplays(t, p)
	})
}

// checkReplays runs the ended workflow once more over every prefix of its
// history. Over the whole of it, nothing is left to say but the result; over a
// part, what is said is what the rest of the history has.
func (s *server) checkReplays(t *rapid.T, p program) {
	execution := &flovynv1.WorkflowExecution{Id: executionID, Kind: "kind"}
	end := slices.IndexFunc(s.events, func(e *flovynv1.WorkflowEvent) bool { return e.GetEventType() == "WORKFLOW_COMPLETED" })
	for length := 1; length <= end; length++ {
		submission, err := activate(execution, s.events[:length], p.run)
		if err != nil {
			t.Fatal(err)
		}
		if status := submission.GetStatus(); status != flovynv1.WorkflowStatus_SUSPENDED && status != flovynv1.WorkflowStatus_COMPLETED {
			t.Fatalf("after %d of %d events: %s", length, end, describe(submission.GetCommands()[0]))
		}
	}
	submission, err := activate(execution, s.events[:end], p.run)
	if err != nil {
		t.Fatal(err)
	}
	var result struct{ Output []string }
	if err := json.Unmarshal(s.events[end].GetEventData(), &result); err != nil {
		t.Fatal(err)
	}
	last := submission.GetCommands()[len(submission.GetCommands())-1].GetCompleteWorkflow()
	var again []string
	if err := json.Unmarshal(last.GetOutput(), &again); err != nil {
		t.Fatalf("the replay ended as %s: %v", submission.GetStatus(), err)
	}
	if diff := cmp.Diff(result.Output, again); diff != "" {
		t.Errorf("the result of the replay differs (-first +again):\n%s", diff)
	}
	for _, command := range submission.GetCommands()[:len(submission.GetCommands())-1] {
		t.Errorf("the replay says again: %s", describe(command))
	}
}
