package rpc

import (
	"strconv"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// statuses are the states in which a worker may leave an execution.
var statuses = map[flovynv1.WorkflowStatus]history.Status{
	flovynv1.WorkflowStatus_RUNNING:   history.Running,
	flovynv1.WorkflowStatus_SUSPENDED: history.Suspended,
	flovynv1.WorkflowStatus_COMPLETED: history.Completed,
	flovynv1.WorkflowStatus_CANCELLED: history.Cancelled,
	flovynv1.WorkflowStatus_FAILED:    history.Failed,
}

// statusOf reads a submission's status. Without one, a command that ends the
// workflow says it.
func statusOf(status flovynv1.WorkflowStatus, commands []history.Command) (history.Status, error) {
	if known, ok := statuses[status]; ok {
		return known, nil
	}
	if status != flovynv1.WorkflowStatus_WORKFLOW_STATUS_UNSPECIFIED {
		return 0, fault.InvalidField("status", "%d is not a status", status)
	}
	for _, c := range commands {
		switch c.(type) {
		case history.CompleteWorkflow:
			return history.Completed, nil
		case history.FailWorkflow:
			return history.Failed, nil
		case history.CancelWorkflow:
			return history.Cancelled, nil
		}
	}
	return 0, fault.InvalidField("status", "is required")
}

// commandsOf reads the commands of a submission. One of type UNSPECIFIED or
// without data stands for a decision that the protocol has no command for, and
// is left out.
func commandsOf(messages []*flovynv1.WorkflowCommand, payloadLimit int) ([]history.Command, error) {
	commands := make([]history.Command, 0, len(messages))
	for i, m := range messages {
		if m.GetCommandType() == flovynv1.CommandType_COMMAND_TYPE_UNSPECIFIED || m.GetCommandData() == nil {
			continue
		}
		r := &commandReader{field: "commands[" + strconv.Itoa(i) + "]", payloadLimit: payloadLimit}
		c := r.read(m)
		if r.err != nil {
			return nil, r.err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// commandReader converts one command. Its methods remember the first failure,
// under the path of the field; what they return after that is of no use.
type commandReader struct {
	field        string
	payloadLimit int
	err          error
}

// member gives the reader the path of the command's data, which must be that of
// the command's type.
func (r *commandReader) member(name string, is, want flovynv1.CommandType) {
	if is != want && r.err == nil {
		r.err = fault.InvalidField(r.field+".command_type", "%s does not go with %s", is, name)
	}
	r.field += "." + name + "."
}

func (r *commandReader) read(m *flovynv1.WorkflowCommand) history.Command {
	is := m.GetCommandType()
	switch d := m.GetCommandData().(type) {
	case *flovynv1.WorkflowCommand_RecordOperation:
		r.member("record_operation", is, flovynv1.CommandType_RECORD_OPERATION)
		c := d.RecordOperation
		return history.RecordOperation{Name: c.GetOperationName(), Result: r.payload("result", c.GetResult())}
	case *flovynv1.WorkflowCommand_SetState:
		r.member("set_state", is, flovynv1.CommandType_SET_STATE)
		return history.SetState{Key: d.SetState.GetKey(), Value: r.payload("value", d.SetState.GetValue())}
	case *flovynv1.WorkflowCommand_ClearState:
		r.member("clear_state", is, flovynv1.CommandType_CLEAR_STATE)
		return history.ClearState{Key: d.ClearState.GetKey()}
	case *flovynv1.WorkflowCommand_ScheduleTask:
		r.member("schedule_task", is, flovynv1.CommandType_SCHEDULE_TASK)
		return r.scheduleTask(d.ScheduleTask)
	case *flovynv1.WorkflowCommand_CompleteWorkflow:
		r.member("complete_workflow", is, flovynv1.CommandType_COMPLETE_WORKFLOW)
		return history.CompleteWorkflow{Output: r.payload("output", d.CompleteWorkflow.GetOutput())}
	case *flovynv1.WorkflowCommand_FailWorkflow:
		r.member("fail_workflow", is, flovynv1.CommandType_FAIL_WORKFLOW)
		c := d.FailWorkflow
		return history.FailWorkflow{
			Error: r.free(c.GetError()), StackTrace: r.free(c.GetStackTrace()),
			FailureType: history.FreeText(c.GetFailureType(), flovyn.MaxNameLength),
		}
	case *flovynv1.WorkflowCommand_SuspendWorkflow:
		r.member("suspend_workflow", is, flovynv1.CommandType_SUSPEND_WORKFLOW)
		return history.SuspendWorkflow{Reason: r.free(d.SuspendWorkflow.GetReason())}
	case *flovynv1.WorkflowCommand_CancelWorkflow:
		r.member("cancel_workflow", is, flovynv1.CommandType_CANCEL_WORKFLOW)
		return history.CancelWorkflow{Reason: r.free(d.CancelWorkflow.GetReason())}
	case *flovynv1.WorkflowCommand_CreatePromise:
		r.member("create_promise", is, flovynv1.CommandType_CREATE_PROMISE)
		return r.createPromise(d.CreatePromise)
	case *flovynv1.WorkflowCommand_ResolvePromise:
		r.member("resolve_promise", is, flovynv1.CommandType_RESOLVE_PROMISE)
		return r.resolvePromise(d.ResolvePromise)
	case *flovynv1.WorkflowCommand_ScheduleChildWorkflow:
		r.member("schedule_child_workflow", is, flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW)
		return r.scheduleChild(d.ScheduleChildWorkflow)
	case *flovynv1.WorkflowCommand_StartTimer:
		r.member("start_timer", is, flovynv1.CommandType_START_TIMER)
		return r.startTimer(d.StartTimer)
	case *flovynv1.WorkflowCommand_CancelTimer:
		r.member("cancel_timer", is, flovynv1.CommandType_CANCEL_TIMER)
		return history.CancelTimer{ID: d.CancelTimer.GetTimerId()}
	case *flovynv1.WorkflowCommand_RequestCancelChildWorkflow:
		r.member("request_cancel_child_workflow", is, flovynv1.CommandType_REQUEST_CANCEL_CHILD_WORKFLOW)
		return r.cancelChild(d.RequestCancelChildWorkflow)
	default:
		r.err = fault.Bug("no conversion for command data %T", d)
		return nil
	}
}

func (r *commandReader) scheduleTask(c *flovynv1.ScheduleTaskCommand) history.Command {
	r.required("kind", c.GetKind())
	retries := int32(flovyn.DefaultMaxRetries)
	if c.MaxRetries != nil {
		retries = c.GetMaxRetries()
	}
	if (retries < 0 || retries > flovyn.MaxMaxRetries) && r.err == nil {
		r.err = fault.InvalidField(r.field+"max_retries", "%d is not between 0 and %d", retries, flovyn.MaxMaxRetries)
	}
	return history.ScheduleTask{
		ID: flovyn.TaskID(r.uuid("task_execution_id", c.GetTaskExecutionId())), Kind: c.GetKind(), Queue: c.GetQueue(),
		Input: r.payload("input", c.GetInput()), MaxRetries: retries, Timeout: r.millis("timeout_ms", c.GetTimeoutMs()),
		Key: c.GetIdempotencyKey(), KeyTTL: r.keyTTL(c.IdempotencyKeyTtlSeconds),
	}
}

// createPromise reads the promise's name out of the field called promise_id:
// SDKs know the name, the server makes the id.
func (r *commandReader) createPromise(c *flovynv1.CreatePromiseCommand) history.Command {
	r.required("promise_id", c.GetPromiseId())
	return history.CreatePromise{
		Name: c.GetPromiseId(), Timeout: r.millis("timeout_ms", c.GetTimeoutMs()), HasTimeout: c.TimeoutMs != nil,
		Key: c.GetIdempotencyKey(), KeyTTL: r.keyTTL(c.IdempotencyKeyTtlSeconds),
	}
}

func (r *commandReader) resolvePromise(c *flovynv1.ResolvePromiseCommand) history.Command {
	id := r.uuid("promise_id", c.GetPromiseId())
	return history.ResolvePromise{ID: flovyn.PromiseID(id), Value: r.payload("value", c.GetValue())}
}

func (r *commandReader) scheduleChild(c *flovynv1.ScheduleChildWorkflowCommand) history.Command {
	r.required("workflow_kind", c.GetWorkflowKind())
	return history.ScheduleChild{
		ID:   flovyn.ExecutionID(r.uuid("child_workflow_execution_id", c.GetChildWorkflowExecutionId())),
		Name: c.GetChildExecutionName(), Kind: c.GetWorkflowKind(), Queue: c.GetQueue(),
		Input: r.payload("input", c.GetInput()), Priority: time.Duration(c.GetPrioritySeconds()) * time.Second,
	}
}

// startTimer lets a timer that is overdue when it is set fire at once.
func (r *commandReader) startTimer(c *flovynv1.StartTimerCommand) history.Command {
	r.required("timer_id", c.GetTimerId())
	return history.StartTimer{ID: c.GetTimerId(), After: r.millis("duration_ms", max(c.GetDurationMs(), 0))}
}

// cancelChild accepts a child that is named by its id or by its name alone.
func (r *commandReader) cancelChild(c *flovynv1.RequestCancelChildWorkflowCommand) history.Command {
	command := history.CancelChild{Name: c.GetChildExecutionName(), Reason: r.free(c.GetReason())}
	if id := c.GetChildWorkflowExecutionId(); id != "" {
		command.ID = flovyn.ExecutionID(r.uuid("child_workflow_execution_id", id))
	}
	return command
}

func (r *commandReader) payload(name string, value []byte) []byte {
	checked, err := history.Payload(r.field+name, value, r.payloadLimit)
	return keep(r, checked, err)
}

func (r *commandReader) free(text string) string { return history.FreeText(text, r.payloadLimit) }

func (r *commandReader) uuid(name, text string) [16]byte {
	id, err := parseUUID(r.field+name, text)
	return keep(r, [16]byte(id), err)
}

func (r *commandReader) millis(name string, n int64) time.Duration {
	d, err := millis(r.field+name, n)
	return keep(r, d, err)
}

func (r *commandReader) keyTTL(seconds *int64) time.Duration {
	d, err := keyTTL(r.field+"idempotency_key_ttl_seconds", seconds)
	return keep(r, d, err)
}

func (r *commandReader) required(name, value string) {
	keep(r, struct{}{}, required(r.field+name, value))
}

// keep remembers the first failure.
func keep[T any](r *commandReader, value T, err error) T {
	if r.err == nil {
		r.err = err
	}
	return value
}
