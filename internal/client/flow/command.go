package flow

import (
	"strings"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// maxErrorText keeps error texts and stack traces within what the server takes.
const maxErrorText = 64 << 10

// text makes s fit for a message: valid, and of a sensible length.
func text(s string) string {
	if len(s) > maxErrorText {
		s = s[:maxErrorText]
	}
	return strings.ToValidUTF8(s, "?")
}

func recordOperation(name string, result []byte) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_RECORD_OPERATION,
		CommandData: &flovynv1.WorkflowCommand_RecordOperation{
			RecordOperation: &flovynv1.RecordOperationCommand{OperationName: name, Result: result},
		},
	}
}

func setState(key string, value []byte) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_SET_STATE,
		CommandData: &flovynv1.WorkflowCommand_SetState{SetState: &flovynv1.SetStateCommand{Key: key, Value: value}},
	}
}

func clearState(key string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_CLEAR_STATE,
		CommandData: &flovynv1.WorkflowCommand_ClearState{ClearState: &flovynv1.ClearStateCommand{Key: key}},
	}
}

func scheduleTask(id, kind string, input []byte, opts TaskOptions) *flovynv1.WorkflowCommand {
	task := &flovynv1.ScheduleTaskCommand{TaskExecutionId: id, Kind: kind, Input: input, MaxRetries: opts.MaxRetries}
	if opts.Queue != "" {
		task.Queue = &opts.Queue
	}
	if opts.Timeout > 0 {
		task.TimeoutMs = millis(opts.Timeout)
	}
	if opts.IdempotencyKey != "" {
		task.IdempotencyKey = &opts.IdempotencyKey
	}
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_SCHEDULE_TASK,
		CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: task},
	}
}

func startTimer(id string, after time.Duration) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_START_TIMER,
		CommandData: &flovynv1.WorkflowCommand_StartTimer{
			StartTimer: &flovynv1.StartTimerCommand{TimerId: id, DurationMs: *millis(after)},
		},
	}
}

func cancelTimer(id string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_CANCEL_TIMER,
		CommandData: &flovynv1.WorkflowCommand_CancelTimer{CancelTimer: &flovynv1.CancelTimerCommand{TimerId: id}},
	}
}

func createPromise(name string, timeout time.Duration) *flovynv1.WorkflowCommand {
	promise := &flovynv1.CreatePromiseCommand{PromiseId: name} // the server makes the real id
	if timeout > 0 {
		promise.TimeoutMs = millis(timeout)
	}
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_CREATE_PROMISE,
		CommandData: &flovynv1.WorkflowCommand_CreatePromise{CreatePromise: promise},
	}
}

func resolvePromise(id string, value []byte) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_RESOLVE_PROMISE,
		CommandData: &flovynv1.WorkflowCommand_ResolvePromise{
			ResolvePromise: &flovynv1.ResolvePromiseCommand{PromiseId: id, Value: value},
		},
	}
}

func scheduleChild(name, kind, id string, input []byte) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_ScheduleChildWorkflow{
			ScheduleChildWorkflow: &flovynv1.ScheduleChildWorkflowCommand{
				ChildExecutionName: name, WorkflowKind: &kind, ChildWorkflowExecutionId: id, Input: input,
			},
		},
	}
}

func cancelChild(name, id string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_REQUEST_CANCEL_CHILD_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_RequestCancelChildWorkflow{
			RequestCancelChildWorkflow: &flovynv1.RequestCancelChildWorkflowCommand{
				ChildExecutionName: name, ChildWorkflowExecutionId: id, Reason: "cancelled by the parent workflow",
			},
		},
	}
}

func completeWorkflow(output []byte) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{
			CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: output},
		},
	}
}

func failWorkflow(failureType, message, stack string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_FAIL_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_FailWorkflow{
			FailWorkflow: &flovynv1.FailWorkflowCommand{
				Error: text(message), StackTrace: text(stack), FailureType: failureType,
			},
		},
	}
}

func suspendWorkflow(reason string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_SUSPEND_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_SuspendWorkflow{
			SuspendWorkflow: &flovynv1.SuspendWorkflowCommand{Reason: text(reason)},
		},
	}
}

func cancelWorkflow(reason string) *flovynv1.WorkflowCommand {
	return &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_CANCEL_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_CancelWorkflow{
			CancelWorkflow: &flovynv1.CancelWorkflowCommand{Reason: text(reason)},
		},
	}
}

// millis rounds up, so that nothing fires early.
func millis(d time.Duration) *int64 {
	return new(int64((max(d, 0) + time.Millisecond - 1) / time.Millisecond))
}
