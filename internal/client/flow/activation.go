package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/google/uuid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// WorkflowFunc is the code of a workflow. It runs again for every activation and
// obeys the rules of replay, which the package comment gives. What it returns is
// encoded as JSON.
type WorkflowFunc func(ctx *Context, input json.RawMessage) (any, error)

// Workflow makes a WorkflowFunc of a function with types: the input is decoded
// before it is called.
func Workflow[In, Out any](fn func(ctx *Context, input In) (Out, error)) WorkflowFunc {
	return func(ctx *Context, raw json.RawMessage) (any, error) {
		var input In
		if err := json.Unmarshal(raw, &input); err != nil {
			return nil, fmt.Errorf("decoding the workflow's input: %w", err)
		}
		return fn(ctx, input)
	}
}

// activate runs a workflow against its history and returns what to submit. It is
// pure: the execution, the history and the code decide. It fails only on a
// history or an execution that cannot be read.
func activate(execution *flovynv1.WorkflowExecution, events []*flovynv1.WorkflowEvent, fn WorkflowFunc) (*flovynv1.SubmitWorkflowCommandsRequest, error) {
	id, err := uuid.Parse(execution.GetId())
	if err != nil {
		return nil, fmt.Errorf("the workflow execution's id: %w", err)
	}
	history, err := readHistory(events)
	if err != nil {
		return nil, err
	}
	ctx := newContext(id, execution, history)
	done := make(chan struct{})
	go func() { // a suspension ends it: see the package comment
		defer close(done)
		ctx.run(fn, orNull(execution.GetInput()))
	}()
	<-done
	return ctx.submission(), nil
}

// outcome is how an activation ended: a status, and the command that goes with it.
type outcome struct {
	status flovynv1.WorkflowStatus
	last   *flovynv1.WorkflowCommand
	// alone drops the commands that came before.
	alone bool
}

// run calls the workflow's code and turns every way in which it may end into an
// outcome.
func (c *Context) run(fn WorkflowFunc, input json.RawMessage) {
	defer func() {
		if r := recover(); r != nil {
			c.fail(failurePanic, fmt.Sprintf("panic: %v", r), string(debug.Stack()))
		}
		// Nothing but a suspension ends the goroutine in order.
		c.fail(failureError, "the workflow's code ended its goroutine", "")
	}()
	output, err := fn(c, input)
	c.returned(output, err)
}

func (c *Context) returned(output any, err error) {
	if cancelled, ok := errors.AsType[*cancellation](err); ok {
		c.end(outcome{status: flovynv1.WorkflowStatus_CANCELLED, last: cancelWorkflow(cancelled.reason)})
		return
	}
	if err != nil {
		c.fail(failureError, err.Error(), "")
		return
	}
	encoded, err := json.Marshal(output)
	if err != nil {
		c.fail(failureError, fmt.Sprintf("encoding the workflow's output: %v", err), "")
		return
	}
	c.end(outcome{status: flovynv1.WorkflowStatus_COMPLETED, last: completeWorkflow(encoded)})
}

// end sets the outcome. The first one counts: what deferred functions do while a
// suspension unwinds them changes nothing.
func (c *Context) end(o outcome) {
	if c.outcome == nil {
		c.outcome = &o
	}
}

func (c *Context) fail(failureType, message, stack string) {
	c.end(outcome{status: flovynv1.WorkflowStatus_FAILED, last: failWorkflow(failureType, message, stack)})
}

// suspend ends the activation until there is more history.
func (c *Context) suspend(reason string) {
	c.end(outcome{status: flovynv1.WorkflowStatus_SUSPENDED, last: suspendWorkflow(reason)})
	runtime.Goexit()
}

// diverge ends the execution because its code and its history disagree.
func (c *Context) diverge(format string, args ...any) {
	c.end(divergence(fmt.Sprintf(format, args...)))
	runtime.Goexit()
}

func divergence(message string) outcome {
	return outcome{
		status: flovynv1.WorkflowStatus_FAILED, alone: true,
		last: failWorkflow(failureNondeterminism, "the workflow's code does not match its history: "+message, ""),
	}
}

// misuse ends the execution because its code broke a rule of the Context.
func (c *Context) misuse(format string, args ...any) {
	c.fail(failureError, fmt.Sprintf(format, args...), "")
	runtime.Goexit()
}

// mustRun stops code that goes on using the Context after its activation ended,
// which only deferred functions can.
func (c *Context) mustRun() {
	if c.outcome != nil {
		runtime.Goexit()
	}
}

// submission is what to tell the server. A failure keeps its own message even if
// the code also asked for less than the history has.
func (c *Context) submission() *flovynv1.SubmitWorkflowCommandsRequest {
	o := *c.outcome
	if o.status != flovynv1.WorkflowStatus_FAILED {
		if message := c.unasked(); message != "" {
			o = divergence(message)
		}
	}
	commands := []*flovynv1.WorkflowCommand{o.last}
	if !o.alone {
		commands = slices.Concat(c.commands, commands)
	}
	for i, command := range commands {
		command.SequenceNumber = c.past.length + int32(i) + 1
	}
	return &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: c.id.String(), Commands: commands, Status: o.status,
	}
}

// unasked says what the history has and the code did not ask for, empty when they
// agree. Every history was made by the code, so the code asks for all of it.
func (c *Context) unasked() string {
	for _, count := range []struct {
		what        string
		asked, past int
	}{
		{"tasks", c.asked.tasks, len(c.past.tasks)},
		{"timers", c.asked.timers, len(c.past.timers)},
		{"promises", c.asked.promises, len(c.past.promises)},
		{"child workflows", c.asked.children, len(c.past.children)},
		{"operations", c.asked.operations, len(c.past.operations)},
		{"state changes", c.asked.state, len(c.past.state)},
	} {
		if count.asked < count.past {
			return fmt.Sprintf("the history has %d %s, the code asks for %d", count.past, count.what, count.asked)
		}
	}
	return ""
}

// orNull returns value, or the JSON null when it is empty.
func orNull(value []byte) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	return value
}
