package flow

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// Context is what a workflow function works with. It belongs to one activation
// and to the goroutine on which the function was called.
type Context struct {
	id        uuid.UUID
	execution *flovynv1.WorkflowExecution
	past      *past

	asked    asked
	commands []*flovynv1.WorkflowCommand
	values   map[string]json.RawMessage // the state as the code has left it
	names    map[subject]bool           // promises and children asked for
	signals  map[string]int             // how many of a name were asked for
	outcome  *outcome
}

// asked counts what the code has asked for, each kind by itself.
type asked struct {
	tasks, timers, promises, children, operations, state int
}

func newContext(id uuid.UUID, execution *flovynv1.WorkflowExecution, history *past) *Context {
	return &Context{
		id: id, execution: execution, past: history,
		values: map[string]json.RawMessage{}, names: map[subject]bool{}, signals: map[string]int{},
	}
}

// ID is the workflow execution's id.
func (c *Context) ID() string { return c.id.String() }

// Kind is the workflow's kind.
func (c *Context) Kind() string { return c.execution.GetKind() }

// Now is the time of this activation. It is not part of the history: in the next
// activation, the same line of code sees a later time. Show it, compute with it;
// do not decide by it, except through SideEffect.
func (c *Context) Now() time.Time { return time.UnixMilli(c.execution.GetWorkflowTaskTimeMillis()) }

// TaskOptions are what a task may be told besides its input. The zero value
// leaves all of it to the server.
type TaskOptions struct {
	// Queue is where workers look for the task; the workflow's own when empty.
	Queue string
	// MaxRetries allows so many attempts after the first.
	MaxRetries *int32
	// Timeout limits the task; zero means none.
	Timeout time.Duration
	// IdempotencyKey names the task in the whole organization.
	IdempotencyKey string
}

// ScheduleTask asks for a task. The input is encoded as JSON.
func (c *Context) ScheduleTask(kind string, input any, opts TaskOptions) *Future {
	c.mustRun()
	f := &Future{ctx: c, kind: taskFuture, name: kind}
	encoded, err := json.Marshal(input)
	if err != nil {
		f.broken = fmt.Errorf("encoding the input of task %s: %w", kind, err)
		return f
	}
	n := c.asked.tasks
	c.asked.tasks++
	if c.replays(f, n, c.past.tasks) {
		return f
	}
	f.id = c.derive("task:" + strconv.Itoa(n))
	c.command(scheduleTask(f.id, kind, encoded, opts))
	return f
}

// NewTimer asks for a timer.
func (c *Context) NewTimer(d time.Duration) *Future {
	c.mustRun()
	n := c.asked.timers
	c.asked.timers++
	id := "timer-" + strconv.Itoa(n)
	f := &Future{ctx: c, kind: timerFuture, name: id, id: id}
	if !c.replays(f, n, c.past.timers) {
		c.command(startTimer(id, d))
	}
	return f
}

// Sleep waits for a while, which may be years.
func (c *Context) Sleep(d time.Duration) error { return c.NewTimer(d).Get(nil) }

// NewPromise asks for a promise, which is settled from outside. The name is how
// the outside finds it, and must be the only one of its kind in the execution.
// Nobody settling it in time settles it as PromiseTimedOut; a timeout of zero
// means never.
func (c *Context) NewPromise(name string, timeout time.Duration) *Future {
	c.mustRun()
	f := &Future{ctx: c, kind: promiseFuture, name: name}
	c.claimName(f)
	n := c.asked.promises
	c.asked.promises++
	if !c.replays(f, n, c.past.promises) {
		c.command(createPromise(name, timeout))
	}
	return f
}

// ResolvePromise settles a promise of another execution (or of this one) with a
// value, which is encoded as JSON.
func (c *Context) ResolvePromise(promiseID string, value any) error {
	c.mustRun()
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the value of promise %s: %w", promiseID, err)
	}
	c.once("resolve promise "+promiseID, resolvePromise(promiseID, encoded))
	return nil
}

// Child asks for a child workflow. Its name must be the only one of its kind in
// the execution, since results come back under it. The input is encoded as JSON.
func (c *Context) Child(name, kind string, input any) *Future {
	c.mustRun()
	f := &Future{ctx: c, kind: childFuture, name: name}
	encoded, err := json.Marshal(input)
	if err != nil {
		f.broken = fmt.Errorf("encoding the input of child workflow %s: %w", name, err)
		return f
	}
	c.claimName(f)
	n := c.asked.children
	c.asked.children++
	if c.replays(f, n, c.past.children) {
		return f
	}
	f.id = c.derive(c.id.String() + ":" + strconv.Itoa(n))
	c.command(scheduleChild(name, kind, f.id, encoded))
	return f
}

// Signal claims the next signal of a name. Signals are handed out in the order of
// their arrival, each one once; ones that nobody has claimed wait.
func (c *Context) Signal(name string) *Future {
	c.mustRun()
	f := &Future{ctx: c, kind: signalFuture, name: name}
	n := c.signals[name]
	c.signals[name]++
	if received := c.past.signals[name]; n < len(received) {
		f.settled = &received[n]
	}
	return f
}

// WaitSignal waits for the next signal of a name and decodes its value into the
// given pointer, or drops it when that is nil.
func (c *Context) WaitSignal(name string, into any) error { return c.Signal(name).Get(into) }

// replays reports whether the history has the n-th call of its kind. It fills in
// what became of it, and ends the execution if it was another call.
func (c *Context) replays(f *Future, n int, calls []pastCall) bool {
	if n >= len(calls) {
		return false
	}
	call := calls[n]
	if call.name != f.name {
		c.diverge("%s %d is %q in the history, and %q in the code", f.kind, n+1, call.name, f.name)
	}
	f.id = call.id
	about := subject{f.kind, call.id}
	if f.kind == childFuture {
		about.id = call.name
	}
	if s, ok := c.past.settled[about]; ok {
		f.settled = &s
	}
	return true
}

// claimName ends the execution if the code uses a name twice.
func (c *Context) claimName(f *Future) {
	name := subject{f.kind, f.name}
	if c.names[name] {
		c.misuse("the workflow asks for two things named %s", f.what())
	}
	c.names[name] = true
}

// derive makes an identifier that is the same in every activation.
func (c *Context) derive(name string) string { return uuid.NewSHA1(c.id, []byte(name)).String() }

func (c *Context) command(command *flovynv1.WorkflowCommand) {
	c.commands = append(c.commands, command)
}
