package rpc

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

const limit = 100

var someID = uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")

// Every command type of the protocol becomes its command.
func TestCommands(t *testing.T) {
	t.Parallel()
	id, json := someID.String(), []byte(` {"n": 9007199254740993} `)
	payload := []byte(`{"n": 9007199254740993}`)
	cases := map[flovynv1.CommandType]struct {
		message *flovynv1.WorkflowCommand
		want    history.Command
	}{
		flovynv1.CommandType_RECORD_OPERATION: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_RecordOperation{
				RecordOperation: &flovynv1.RecordOperationCommand{OperationName: "o", Result: json},
			}}, history.RecordOperation{Name: "o", Result: payload},
		},
		flovynv1.CommandType_SET_STATE: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_SetState{
				SetState: &flovynv1.SetStateCommand{Key: "k", Value: json},
			}}, history.SetState{Key: "k", Value: payload},
		},
		flovynv1.CommandType_CLEAR_STATE: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_ClearState{
				ClearState: &flovynv1.ClearStateCommand{Key: "k"},
			}}, history.ClearState{Key: "k"},
		},
		flovynv1.CommandType_SCHEDULE_TASK: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: &flovynv1.ScheduleTaskCommand{
				Kind: "t", Input: json, TaskExecutionId: id, TimeoutMs: proto.Int64(1500), Queue: new("q"),
				IdempotencyKey: new("key"), IdempotencyKeyTtlSeconds: proto.Int64(60),
			}}}, history.ScheduleTask{
				ID: flovyn.TaskID(someID), Kind: "t", Queue: "q", Input: payload, MaxRetries: 3, Timeout: 1500 * time.Millisecond,
				Key: "key", KeyTTL: time.Minute,
			},
		},
		flovynv1.CommandType_COMPLETE_WORKFLOW: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{
				CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: json},
			}}, history.CompleteWorkflow{Output: payload},
		},
		flovynv1.CommandType_FAIL_WORKFLOW: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_FailWorkflow{
				FailWorkflow: &flovynv1.FailWorkflowCommand{Error: "e", StackTrace: "s", FailureType: "ERROR"},
			}}, history.FailWorkflow{Error: "e", StackTrace: "s", FailureType: "ERROR"},
		},
		flovynv1.CommandType_SUSPEND_WORKFLOW: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_SuspendWorkflow{
				SuspendWorkflow: &flovynv1.SuspendWorkflowCommand{Reason: "r"},
			}}, history.SuspendWorkflow{Reason: "r"},
		},
		flovynv1.CommandType_CANCEL_WORKFLOW: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_CancelWorkflow{
				CancelWorkflow: &flovynv1.CancelWorkflowCommand{Reason: "r"},
			}}, history.CancelWorkflow{Reason: "r"},
		},
		flovynv1.CommandType_CREATE_PROMISE: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_CreatePromise{
				CreatePromise: &flovynv1.CreatePromiseCommand{PromiseId: "approval", TimeoutMs: proto.Int64(0)},
			}}, history.CreatePromise{Name: "approval", HasTimeout: true},
		},
		flovynv1.CommandType_RESOLVE_PROMISE: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_ResolvePromise{
				ResolvePromise: &flovynv1.ResolvePromiseCommand{PromiseId: id},
			}}, history.ResolvePromise{ID: flovyn.PromiseID(someID)},
		},
		flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_ScheduleChildWorkflow{
				ScheduleChildWorkflow: &flovynv1.ScheduleChildWorkflowCommand{
					ChildExecutionName: "n", WorkflowKind: new("w"), ChildWorkflowExecutionId: id, Queue: "q", PrioritySeconds: -5,
				},
			}}, history.ScheduleChild{ID: flovyn.ExecutionID(someID), Name: "n", Kind: "w", Queue: "q", Priority: -5 * time.Second},
		},
		flovynv1.CommandType_START_TIMER: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_StartTimer{
				StartTimer: &flovynv1.StartTimerCommand{TimerId: "t", DurationMs: -7},
			}}, history.StartTimer{ID: "t"},
		},
		flovynv1.CommandType_CANCEL_TIMER: {
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_CancelTimer{
				CancelTimer: &flovynv1.CancelTimerCommand{TimerId: "t"},
			}}, history.CancelTimer{ID: "t"},
		},
		flovynv1.CommandType_REQUEST_CANCEL_CHILD_WORKFLOW: {
			// Native cores leave the name and the reason empty.
			&flovynv1.WorkflowCommand{CommandData: &flovynv1.WorkflowCommand_RequestCancelChildWorkflow{
				RequestCancelChildWorkflow: &flovynv1.RequestCancelChildWorkflowCommand{ChildWorkflowExecutionId: id},
			}}, history.CancelChild{ID: flovyn.ExecutionID(someID)},
		},
	}
	for number := range flovynv1.CommandType_name {
		kind := flovynv1.CommandType(number)
		c, ok := cases[kind]
		if kind == flovynv1.CommandType_COMMAND_TYPE_UNSPECIFIED {
			continue
		}
		if !ok {
			t.Errorf("no case for %v", kind)
			continue
		}
		c.message.CommandType = kind
		got, err := commandsOf([]*flovynv1.WorkflowCommand{c.message}, limit)
		if diff := cmp.Diff([]history.Command{c.want}, got); err != nil || diff != "" {
			t.Errorf("%v: %v (-want +got):\n%s", kind, err, diff)
		}
	}
}

// What an SDK sends for a decision without a command is left out.
func TestCommandsWithoutDataAreIgnored(t *testing.T) {
	t.Parallel()
	got, err := commandsOf([]*flovynv1.WorkflowCommand{
		{},
		{CommandType: flovynv1.CommandType_SUSPEND_WORKFLOW},
		{CommandData: &flovynv1.WorkflowCommand_ClearState{ClearState: &flovynv1.ClearStateCommand{Key: "k"}}},
	}, limit)
	if err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// A mistake in a command is answered with its place.
func TestBadCommands(t *testing.T) {
	t.Parallel()
	schedule := func(change func(*flovynv1.ScheduleTaskCommand)) *flovynv1.WorkflowCommand {
		c := &flovynv1.ScheduleTaskCommand{Kind: "t", TaskExecutionId: someID.String()}
		change(c)
		return &flovynv1.WorkflowCommand{
			CommandType: flovynv1.CommandType_SCHEDULE_TASK, CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: c},
		}
	}
	timer := func(ms int64) *flovynv1.WorkflowCommand {
		return &flovynv1.WorkflowCommand{
			CommandType: flovynv1.CommandType_START_TIMER,
			CommandData: &flovynv1.WorkflowCommand_StartTimer{StartTimer: &flovynv1.StartTimerCommand{TimerId: "t", DurationMs: ms}},
		}
	}
	mismatch := timer(1)
	mismatch.CommandType = flovynv1.CommandType_CANCEL_TIMER
	for name, test := range map[string]struct {
		command *flovynv1.WorkflowCommand
		kind    fault.Kind
		message string
	}{
		"no UUID": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.TaskExecutionId = "7" }),
			fault.Invalid, "commands[1].schedule_task.task_execution_id: is not a UUID",
		},
		"no kind": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.Kind = " " }),
			fault.Invalid, "commands[1].schedule_task.kind: is required",
		},
		"no JSON": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.Input = []byte("{") }),
			fault.Invalid, "commands[1].schedule_task.input: not a valid JSON value in UTF-8",
		},
		"large": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.Input = []byte(`"` + strings.Repeat("x", limit) + `"`) }),
			fault.Exhausted, "commands[1].schedule_task.input: 102 bytes of JSON exceed the limit of 100",
		},
		"retries": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.MaxRetries = proto.Int32(-1) }),
			fault.Invalid, "commands[1].schedule_task.max_retries: -1 is not between 0 and 1000",
		},
		"timeout": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.TimeoutMs = proto.Int64(-1) }),
			fault.Invalid, "commands[1].schedule_task.timeout_ms: -1 is not between 0 and 3153600000000 milliseconds",
		},
		"key": {
			schedule(func(c *flovynv1.ScheduleTaskCommand) { c.IdempotencyKeyTtlSeconds = proto.Int64(math.MaxInt64) }),
			fault.Invalid, "commands[1].schedule_task.idempotency_key_ttl_seconds: 9223372036854775807 is not between 1 and 2592000 seconds",
		},
		"endless timer": {
			timer(math.MaxInt64),
			fault.Invalid, "commands[1].start_timer.duration_ms: 9223372036854775807 is not between 0 and 3153600000000 milliseconds",
		},
		"another type": {mismatch, fault.Invalid, "commands[1].command_type: CANCEL_TIMER does not go with start_timer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := commandsOf([]*flovynv1.WorkflowCommand{timer(1), test.command}, limit)
			if !fault.Is(err, test.kind) || fault.Message(err) != test.message {
				t.Errorf("%v, want %v %q", err, test.kind, test.message)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for number := range flovynv1.WorkflowStatus_name {
		status := flovynv1.WorkflowStatus(number)
		_, err := statusOf(status, nil)
		if known := status != flovynv1.WorkflowStatus_WORKFLOW_STATUS_UNSPECIFIED; known != (err == nil) {
			t.Errorf("%v: %v", status, err)
		}
	}
	if got, err := statusOf(0, []history.Command{history.FailWorkflow{}}); got != history.Failed || err != nil {
		t.Errorf("unspecified, with a failure: %v, %v", got, err)
	}
	if _, err := statusOf(17, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown number: %v", err)
	}
}
