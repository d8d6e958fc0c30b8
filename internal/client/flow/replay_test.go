package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

const executionID = "0190b6ac-0000-7000-8000-000000000001"

// UUIDv5 in the execution's own namespace: of "task:0", and of its id with ":0".
const (
	task0  = "94019d3c-c419-566c-91a9-b93160c03a1a"
	child0 = "67e9d03e-eda9-51bd-ae3e-e34dd1feb8e7"
)

// events reads a history: one event per line, a type and its data.
func events(t *testing.T, lines string) []*flovynv1.WorkflowEvent {
	t.Helper()
	var list []*flovynv1.WorkflowEvent
	for line := range strings.Lines("WORKFLOW_STARTED {}\n" + lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		eventType, data, _ := strings.Cut(line, " ")
		if !json.Valid([]byte(data)) {
			t.Fatalf("the data of %q is no JSON", line)
		}
		list = append(list, &flovynv1.WorkflowEvent{
			SequenceNumber: int32(len(list) + 1), EventType: eventType, EventData: []byte(data),
		})
	}
	return list
}

// replay runs a workflow against a history and returns its commands, one per line.
func replay(t *testing.T, history string, fn WorkflowFunc) string {
	t.Helper()
	execution := &flovynv1.WorkflowExecution{Id: executionID, Kind: "test", Input: []byte(`{"n":1}`), WorkflowTaskTimeMillis: 1700000000000}
	submission, err := activate(execution, events(t, history), fn)
	if err != nil {
		t.Fatal(err)
	}
	if submission.GetWorkflowExecutionId() != executionID {
		t.Errorf("submitted for %s", submission.GetWorkflowExecutionId())
	}
	lines := []string{submission.GetStatus().String()}
	for _, c := range submission.GetCommands() {
		lines = append(lines, describe(c))
	}
	return strings.Join(lines, "\n")
}

func describe(c *flovynv1.WorkflowCommand) string {
	kind := c.GetCommandType().String()
	switch d := c.GetCommandData().(type) {
	case *flovynv1.WorkflowCommand_RecordOperation:
		return fmt.Sprintf("%s %s %s", kind, d.RecordOperation.GetOperationName(), d.RecordOperation.GetResult())
	case *flovynv1.WorkflowCommand_SetState:
		return fmt.Sprintf("%s %s %s", kind, d.SetState.GetKey(), d.SetState.GetValue())
	case *flovynv1.WorkflowCommand_ClearState:
		return fmt.Sprintf("%s %s", kind, d.ClearState.GetKey())
	case *flovynv1.WorkflowCommand_ScheduleTask:
		task := d.ScheduleTask
		line := fmt.Sprintf("%s %s %s %s", kind, task.GetKind(), task.GetTaskExecutionId(), task.GetInput())
		if task.Queue != nil || task.MaxRetries != nil || task.TimeoutMs != nil || task.IdempotencyKey != nil {
			line += fmt.Sprintf(" queue=%s retries=%d timeout=%d key=%s",
				task.GetQueue(), task.GetMaxRetries(), task.GetTimeoutMs(), task.GetIdempotencyKey())
		}
		return line
	case *flovynv1.WorkflowCommand_StartTimer:
		return fmt.Sprintf("%s %s %d", kind, d.StartTimer.GetTimerId(), d.StartTimer.GetDurationMs())
	case *flovynv1.WorkflowCommand_CancelTimer:
		return fmt.Sprintf("%s %s", kind, d.CancelTimer.GetTimerId())
	case *flovynv1.WorkflowCommand_CreatePromise:
		if d.CreatePromise.TimeoutMs == nil {
			return fmt.Sprintf("%s %s", kind, d.CreatePromise.GetPromiseId())
		}
		return fmt.Sprintf("%s %s %d", kind, d.CreatePromise.GetPromiseId(), d.CreatePromise.GetTimeoutMs())
	case *flovynv1.WorkflowCommand_ResolvePromise:
		return fmt.Sprintf("%s %s %s", kind, d.ResolvePromise.GetPromiseId(), d.ResolvePromise.GetValue())
	case *flovynv1.WorkflowCommand_ScheduleChildWorkflow:
		child := d.ScheduleChildWorkflow
		return fmt.Sprintf("%s %s %s %s %s", kind, child.GetChildExecutionName(), child.GetWorkflowKind(),
			child.GetChildWorkflowExecutionId(), child.GetInput())
	case *flovynv1.WorkflowCommand_RequestCancelChildWorkflow:
		child := d.RequestCancelChildWorkflow
		return fmt.Sprintf("%s %s %s", kind, child.GetChildExecutionName(), child.GetChildWorkflowExecutionId())
	case *flovynv1.WorkflowCommand_CompleteWorkflow:
		return fmt.Sprintf("%s %s", kind, d.CompleteWorkflow.GetOutput())
	case *flovynv1.WorkflowCommand_FailWorkflow:
		return fmt.Sprintf("%s %s %s", kind, d.FailWorkflow.GetFailureType(), d.FailWorkflow.GetError())
	case *flovynv1.WorkflowCommand_SuspendWorkflow:
		return fmt.Sprintf("%s %s", kind, d.SuspendWorkflow.GetReason())
	case *flovynv1.WorkflowCommand_CancelWorkflow:
		return fmt.Sprintf("%s %s", kind, d.CancelWorkflow.GetReason())
	default:
		return fmt.Sprintf("%s %T", kind, d)
	}
}

func oneTask(ctx *Context, input json.RawMessage) (any, error) {
	return Result[string](ctx.ScheduleTask("charge", input, TaskOptions{}))
}

func onePromise(ctx *Context, _ json.RawMessage) (any, error) {
	return Result[string](ctx.NewPromise("approval", 1500*time.Microsecond))
}

func oneChild(ctx *Context, _ json.RawMessage) (any, error) {
	return Result[string](ctx.Child("parcel", "ship", 7))
}

func oneSleep(ctx *Context, _ json.RawMessage) (any, error) {
	return "awake", ctx.Sleep(2 * time.Second)
}

// race waits for a signal, at most as long as a timer takes, and withdraws the timer.
func race(ctx *Context, _ json.RawMessage) (any, error) {
	deadline, signal := ctx.NewTimer(time.Minute), ctx.Signal("go")
	if Any(deadline, signal) == deadline {
		return "late", nil
	}
	deadline.Cancel()
	var failure *Failure
	if err := deadline.Get(nil); !errors.As(err, &failure) || failure.Reason != Cancelled {
		return nil, fmt.Errorf("the cancelled timer says %w", err)
	}
	if err := ctx.Sleep(time.Second); err != nil {
		return nil, err
	}
	return Result[string](signal)
}

func stateful(ctx *Context, _ json.RawMessage) (any, error) {
	ctx.ClearState("never set")
	if err := ctx.SetState("phase", "one"); err != nil {
		return nil, err
	}
	if err := ctx.Sleep(0); err != nil {
		return nil, err
	}
	var phase string
	if ok, err := ctx.State("phase", &phase); !ok || err != nil {
		return nil, fmt.Errorf("state: %v, %w", ok, err)
	}
	ctx.ClearState("phase")
	ok, err := ctx.State("phase", &phase)
	return fmt.Sprint(phase, " ", ok), err
}

func sideEffects(ctx *Context, _ json.RawMessage) (any, error) {
	die := SideEffect(ctx, "die", func() int { return 4 })
	if err := ctx.ResolvePromise("p9", die); err != nil {
		return nil, err
	}
	return die, ctx.Sleep(0)
}

func cancelsChild(ctx *Context, _ json.RawMessage) (any, error) {
	child := ctx.Child("parcel", "ship", nil)
	child.Cancel()
	child.Cancel()
	if err := ctx.Sleep(0); err != nil {
		return nil, err
	}
	return child.Get(nil).Error(), nil
}

const (
	taskScheduled    = `TASK_SCHEDULED {"kind":"charge","taskExecutionId":"t1"}` + "\n"
	promiseCreated   = `PROMISE_CREATED {"promiseName":"approval","promiseId":"p1"}` + "\n"
	childInitiated   = `CHILD_WORKFLOW_INITIATED {"childExecutionName":"parcel","childExecutionId":"c1","childWorkflowKind":"ship"}` + "\n"
	timerStarted     = `TIMER_STARTED {"timerId":"timer-0","durationMs":2000}` + "\n"
	secondTimer      = `TIMER_STARTED {"timerId":"timer-1","durationMs":1000}` + "\n"
	timerFired       = `TIMER_FIRED {"timerId":"timer-0"}` + "\n"
	signalReceived   = `SIGNAL_RECEIVED {"signalName":"go","signalValue":"green"}` + "\n"
	workflowWaits    = `WORKFLOW_SUSPENDED {"reason":"waiting"}` + "\n"
	phaseSet         = `STATE_SET {"key":"phase","value":"one"}` + "\n"
	dieCast          = `OPERATION_COMPLETED {"operationName":"die","result":6}` + "\n"
	promiseNineDone  = `OPERATION_COMPLETED {"operationName":"resolve promise p9","result":null}` + "\n"
	childCancelAsked = `OPERATION_COMPLETED {"operationName":"cancel child parcel","result":null}` + "\n"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fn      WorkflowFunc
		history string
		want    string
	}{
		"a task is scheduled": {oneTask, "", `SUSPENDED
			SCHEDULE_TASK charge ` + task0 + ` {"n":1}
			SUSPEND_WORKFLOW waiting for task charge`},
		"a known task is not scheduled again": {oneTask, taskScheduled + workflowWaits, `SUSPENDED
			SUSPEND_WORKFLOW waiting for task charge`},
		"a task completed": {
			oneTask, taskScheduled + workflowWaits + `TASK_COMPLETED {"taskExecutionId":"t1","output":"paid"}`,
			`COMPLETED
			COMPLETE_WORKFLOW "paid"`,
		},
		"a task failed": {
			oneTask, taskScheduled + `TASK_FAILED {"taskExecutionId":"t1","error":"no funds"}`,
			`FAILED
			FAIL_WORKFLOW ERROR task charge failed: no funds`,
		},
		"a task was cancelled; what follows is the same news": {
			oneTask, taskScheduled + `TASK_CANCELLED {"taskExecutionId":"t1","reason":"tired"}` +
				"\n" + `TASK_FAILED {"taskExecutionId":"t1","error":"cancelled"}`,
			`FAILED
			FAIL_WORKFLOW ERROR task charge was cancelled: tired`,
		},
		"a task's value of another type": {
			oneTask, taskScheduled + `TASK_COMPLETED {"taskExecutionId":"t1","output":5}`,
			`FAILED
			FAIL_WORKFLOW ERROR decoding the value of task charge: json: cannot unmarshal number into Go value of type string`,
		},
		"a task's options": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				ctx.ScheduleTask("charge", nil, TaskOptions{
					Queue: "bank", MaxRetries: new(int32(0)), Timeout: time.Second, IdempotencyKey: "k",
				})
				return nil, nil
			}, "",
			`COMPLETED
			SCHEDULE_TASK charge ` + task0 + ` null queue=bank retries=0 timeout=1000 key=k
			COMPLETE_WORKFLOW null`,
		},
		"an input that is no JSON": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				return nil, ctx.ScheduleTask("charge", func() {}, TaskOptions{}).Get(nil)
			}, "",
			`FAILED
			FAIL_WORKFLOW ERROR encoding the input of task charge: json: unsupported type: func()`,
		},
		"a promise is created, its timeout rounded up": {onePromise, "", `SUSPENDED
			CREATE_PROMISE approval 2
			SUSPEND_WORKFLOW waiting for promise approval`},
		"a promise was resolved": {
			onePromise, promiseCreated + `PROMISE_RESOLVED {"promiseId":"p1","promiseName":"approval","value":"yes"}`,
			`COMPLETED
			COMPLETE_WORKFLOW "yes"`,
		},
		"a promise was rejected": {
			onePromise, promiseCreated + `PROMISE_REJECTED {"promiseId":"p1","error":"never"}`,
			`FAILED
			FAIL_WORKFLOW ERROR promise approval was rejected: never`,
		},
		"a promise timed out": {
			onePromise, promiseCreated + `PROMISE_TIMEOUT {"promiseId":"p1"}`,
			`FAILED
			FAIL_WORKFLOW ERROR promise approval timed out`,
		},
		"a child is scheduled": {oneChild, "", `SUSPENDED
			SCHEDULE_CHILD_WORKFLOW parcel ship ` + child0 + ` 7
			SUSPEND_WORKFLOW waiting for child workflow parcel`},
		"a child completed": {
			oneChild, childInitiated + `CHILD_WORKFLOW_STARTED {"childExecutionName":"parcel"}` +
				"\n" + `CHILD_WORKFLOW_COMPLETED {"childExecutionName":"parcel","output":"delivered"}`,
			`COMPLETED
			COMPLETE_WORKFLOW "delivered"`,
		},
		"a child failed": {
			oneChild, childInitiated + `CHILD_WORKFLOW_FAILED {"childExecutionName":"parcel","error":"lost"}`,
			`FAILED
			FAIL_WORKFLOW ERROR child workflow parcel did not complete: lost`,
		},
		"a child is cancelled, once": {cancelsChild, "", `SUSPENDED
			SCHEDULE_CHILD_WORKFLOW parcel ship ` + child0 + ` null
			RECORD_OPERATION cancel child parcel null
			REQUEST_CANCEL_CHILD_WORKFLOW parcel ` + child0 + `
			START_TIMER timer-0 0
			SUSPEND_WORKFLOW waiting for timer timer-0`},
		"a cancelled child ended": {
			cancelsChild, childInitiated + childCancelAsked + timerStarted +
				`CHILD_WORKFLOW_FAILED {"childExecutionName":"parcel","error":"cancelled"}` + "\n" + timerFired,
			`COMPLETED
			COMPLETE_WORKFLOW "child workflow parcel was cancelled by the workflow"`,
		},
		"a timer is started": {oneSleep, "", `SUSPENDED
			START_TIMER timer-0 2000
			SUSPEND_WORKFLOW waiting for timer timer-0`},
		"a timer fired": {oneSleep, timerStarted + timerFired, `COMPLETED
			COMPLETE_WORKFLOW "awake"`},
		"a timer was cancelled": {
			oneSleep, timerStarted + `TIMER_CANCELLED {"timerId":"timer-0"}`,
			`FAILED
			FAIL_WORKFLOW ERROR timer timer-0 was cancelled by the workflow`,
		},
		"any of two: neither": {race, "", `SUSPENDED
			START_TIMER timer-0 60000
			SUSPEND_WORKFLOW waiting for any of timer timer-0, signal go`},
		"any of two: the signal": {race, timerStarted + signalReceived, `SUSPENDED
			CANCEL_TIMER timer-0
			START_TIMER timer-1 1000
			SUSPEND_WORKFLOW waiting for timer timer-1`},
		"a known cancellation is not repeated": {
			race, timerStarted + signalReceived + `TIMER_CANCELLED {"timerId":"timer-0"}` + "\n" + secondTimer,
			`SUSPENDED
			SUSPEND_WORKFLOW waiting for timer timer-1`,
		},
		"the timer fired before its cancellation came": {
			race, timerStarted + signalReceived + timerFired + secondTimer + `TIMER_FIRED {"timerId":"timer-1"}`,
			`COMPLETED
			COMPLETE_WORKFLOW "green"`,
		},
		"any of two: the timer, which fired first": {race, timerStarted + timerFired + signalReceived, `COMPLETED
			COMPLETE_WORKFLOW "late"`},
		"signals come in order, each once": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				var first, second int
				return []int{first, second}, errors.Join(ctx.WaitSignal("n", &first), ctx.WaitSignal("other", nil), ctx.WaitSignal("n", &second))
			},
			`SIGNAL_RECEIVED {"signalName":"n","signalValue":1}
			SIGNAL_RECEIVED {"signalName":"other","signalValue":0}`,
			`SUSPENDED
			SUSPEND_WORKFLOW waiting for signal n`,
		},
		"state is set": {stateful, "", `SUSPENDED
			SET_STATE phase "one"
			START_TIMER timer-0 0
			SUSPEND_WORKFLOW waiting for timer timer-0`},
		"state is cleared": {stateful, phaseSet + timerStarted + timerFired, `COMPLETED
			CLEAR_STATE phase
			COMPLETE_WORKFLOW "one false"`},
		"known state changes are not repeated": {
			stateful, phaseSet + timerStarted + timerFired + `STATE_CLEARED {"key":"phase"}`,
			`COMPLETED
			COMPLETE_WORKFLOW "one false"`,
		},
		"a side effect happens, and a foreign promise is resolved": {sideEffects, "", `SUSPENDED
			RECORD_OPERATION die 4
			RECORD_OPERATION resolve promise p9 null
			RESOLVE_PROMISE p9 4
			START_TIMER timer-0 0
			SUSPEND_WORKFLOW waiting for timer timer-0`},
		"a side effect is remembered": {sideEffects, dieCast + promiseNineDone + timerStarted + timerFired, `COMPLETED
			COMPLETE_WORKFLOW 6`},
		"all: one is open": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				return nil, All(ctx.ScheduleTask("charge", nil, TaskOptions{}), ctx.NewTimer(0))
			},
			taskScheduled + timerStarted + timerFired,
			`SUSPENDED
			SUSPEND_WORKFLOW waiting for task charge`,
		},
		"all: the first failure in the history's order": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				return nil, All(ctx.ScheduleTask("charge", nil, TaskOptions{}), ctx.NewPromise("approval", 0))
			},
			taskScheduled + promiseCreated + `PROMISE_TIMEOUT {"promiseId":"p1"}` + "\n" + `TASK_FAILED {"taskExecutionId":"t1","error":"no funds"}`,
			`FAILED
			FAIL_WORKFLOW ERROR promise approval timed out`,
		},
		"the workflow ends as cancelled": {
			func(*Context, json.RawMessage) (any, error) { return nil, fmt.Errorf("enough: %w", Cancel("sold out")) }, "",
			`CANCELLED
			CANCEL_WORKFLOW sold out`,
		},
		"the workflow panics": {
			func(*Context, json.RawMessage) (any, error) { panic("boom") }, "",
			`FAILED
			FAIL_WORKFLOW PANIC panic: boom`,
		},
		"a name is used twice": {
			func(ctx *Context, _ json.RawMessage) (any, error) {
				ctx.NewPromise("approval", 0)
				return nil, ctx.NewPromise("approval", 0).Get(nil)
			}, "",
			`FAILED
			CREATE_PROMISE approval
			FAIL_WORKFLOW ERROR the workflow asks for two things named promise approval`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.ReplaceAll(test.want, "\t", "")
			if diff := cmp.Diff(want, replay(t, test.history, test.fn)); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCodeAndHistoryDisagree(t *testing.T) {
	t.Parallel()
	const prefix = "FAILED\nFAIL_WORKFLOW NONDETERMINISM the workflow's code does not match its history: "
	nothing := func(*Context, json.RawMessage) (any, error) { return 0, nil }
	for name, test := range map[string]struct {
		fn      WorkflowFunc
		history string
		want    string
	}{
		"another task":            {oneTask, `TASK_SCHEDULED {"kind":"refund","taskExecutionId":"t1"}`, `task 1 is "refund" in the history, and "charge" in the code`},
		"another timer":           {oneSleep, `TIMER_STARTED {"timerId":"sleep-1"}`, `timer 1 is "sleep-1" in the history, and "timer-0" in the code`},
		"another promise":         {onePromise, `PROMISE_CREATED {"promiseName":"consent"}`, `promise 1 is "consent" in the history, and "approval" in the code`},
		"another child":           {oneChild, `CHILD_WORKFLOW_INITIATED {"childExecutionName":"letter"}`, `child workflow 1 is "letter" in the history, and "parcel" in the code`},
		"another operation":       {sideEffects, `OPERATION_COMPLETED {"operationName":"coin"}`, `operation 1 is "coin" in the history, and "die" in the code`},
		"another key":             {stateful, `STATE_SET {"key":"step"}`, `state change 1 is "setting step" in the history, and "setting phase" in the code`},
		"cleared instead of set":  {stateful, `STATE_CLEARED {"key":"phase"}`, `state change 1 is "clearing phase" in the history, and "setting phase" in the code`},
		"no task":                 {nothing, taskScheduled, "the history has 1 tasks, the code asks for 0"},
		"no timer":                {nothing, timerStarted, "the history has 1 timers, the code asks for 0"},
		"no promise":              {nothing, promiseCreated, "the history has 1 promises, the code asks for 0"},
		"no child":                {nothing, childInitiated, "the history has 1 child workflows, the code asks for 0"},
		"no operation":            {nothing, dieCast, "the history has 1 operations, the code asks for 0"},
		"no state":                {nothing, phaseSet, "the history has 1 state changes, the code asks for 0"},
		"a task too few, waiting": {oneTask, taskScheduled + `TASK_SCHEDULED {"kind":"refund","taskExecutionId":"t2"}`, "the history has 2 tasks, the code asks for 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(prefix+test.want, replay(t, test.history, test.fn)); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

// A suspension must unwind the workflow's code, whatever it defers.
func TestSuspensionUnwinds(t *testing.T) {
	t.Parallel()
	var unwound []string
	got := replay(t, "", func(ctx *Context, _ json.RawMessage) (any, error) {
		defer func() { unwound = append(unwound, "first") }()
		defer func() {
			if r := recover(); r != nil {
				unwound = append(unwound, "recovered")
			}
		}()
		defer func() {
			ctx.ScheduleTask("too late", nil, TaskOptions{})
			unwound = append(unwound, "went on")
		}()
		return nil, ctx.Sleep(time.Second)
	})
	want := "SUSPENDED\nSTART_TIMER timer-0 1000\nSUSPEND_WORKFLOW waiting for timer timer-0"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"first"}, unwound); diff != "" {
		t.Errorf("deferred functions (-want +got):\n%s", diff)
	}
}

func TestActivationKnowsItsExecution(t *testing.T) {
	t.Parallel()
	got := replay(t, "", Workflow(func(ctx *Context, input struct{ N int }) (string, error) {
		return fmt.Sprint(ctx.ID(), " ", ctx.Kind(), " ", ctx.Now().UnixMilli(), " ", input.N), nil
	}))
	if want := "COMPLETED\nCOMPLETE_WORKFLOW \"" + executionID + " test 1700000000000 1\""; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	if _, err := activate(&flovynv1.WorkflowExecution{Id: "none"}, nil, oneTask); err == nil {
		t.Error("an execution without an identifier was activated")
	}
	broken := []*flovynv1.WorkflowEvent{{SequenceNumber: 1, EventType: "TASK_COMPLETED", EventData: []byte("{")}}
	if _, err := activate(&flovynv1.WorkflowExecution{Id: executionID}, broken, oneTask); err == nil {
		t.Error("a history that is no JSON was replayed")
	}
}
