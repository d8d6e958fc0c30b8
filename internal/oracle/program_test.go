package oracle_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/flovyn/flovyn-server/internal/oracle"
)

// A writer writes a program: operations that make sense in what the model says
// is the case, and some that do not.
type writer struct {
	*rand.Rand
	model  *oracle.Model
	counts map[string]int
	// Claims of activations and of tasks that polls were named.
	claims, taskClaims []string
}

func newWriter(seed uint64, m *oracle.Model) *writer {
	return &writer{Rand: rand.New(rand.NewPCG(seed, 5)), model: m, counts: map[string]int{}}
}

func (g *writer) name(prefix string) string {
	g.counts[prefix]++
	return fmt.Sprint(prefix, g.counts[prefix])
}

func (g *writer) one(percent int) bool { return g.IntN(100) < percent }

func choose[T any](g *writer, from ...T) (item T) {
	if len(from) == 0 {
		return item
	}
	return from[g.IntN(len(from))]
}

// nothing is the name of what is never there.
const nothing = "nothing"

// some chooses from a map, mostly among what was made last.
func some[T any](g *writer, from map[string]T, accept func(T) bool) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if accept == nil || accept(from[name]) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nothing
	}
	return choose(g, names...)
}

func (g *writer) execution() string {
	if g.one(80) {
		return some(g, g.model.Executions, func(w *oracle.Execution) bool {
			return w.Status == oracle.Running || w.Status == oracle.Waiting || w.Status == oracle.Pending
		})
	}
	return some(g, g.model.Executions, nil)
}

func (g *writer) task() string {
	if g.one(60) {
		return some(g, g.model.Tasks, func(t *oracle.Task) bool { return t.Status == oracle.Running })
	}
	return some(g, g.model.Tasks, nil)
}

func (g *writer) promise() string {
	if g.one(75) {
		return some(g, g.model.Promises, func(p *oracle.Promise) bool { return p.Status == oracle.Pending })
	}
	return some(g, g.model.Promises, nil)
}

func (g *writer) value() oracle.Raw {
	return choose[oracle.Raw](g, "", "null", `{"id": 9007199254740993}`, `"text \u0041 <&>"`, `[1.10, true]`, `{"a":{"b":[]}}`, `-0.0e5`)
}

func (g *writer) key() string {
	if g.one(60) {
		return ""
	}
	return choose(g, "k1", "k2", "k3")
}

func (g *writer) queue() string { return choose(g, "default", "default", "side") }

func (g *writer) work() string { return choose(g, "a", "b") }

func (g *writer) reason() string { return choose(g, "", "because", "\"quoted\" <reason>\n") }

// group writes one operation, or some to be asked for at the same time: none
// that polls or moves time, and at most one that creates something, since the order
// of what is created at the same moment is nobody's promise.
func (g *writer) group() group {
	if len(g.model.Waiting()) > 0 || !g.one(12) {
		return group{g.next()}
	}
	var together group
	created := false
	for range 3 {
		op := g.next()
		switch op.Kind {
		case oracle.Poll, oracle.PollTask, oracle.Wait, oracle.WaitTask, oracle.Leave, oracle.Query, oracle.Heartbeat,
			oracle.ForgetKey, oracle.Age, oracle.Signal:
			continue
		}
		if creates(op) && created {
			continue
		}
		created = created || creates(op)
		together = append(together, op)
	}
	if len(together) == 0 {
		return group{g.next()}
	}
	return together
}

func creates(op oracle.Op) bool {
	switch op.Kind {
	case oracle.Start, oracle.SignalWithStart, oracle.StartChild, oracle.SubmitTask:
		return true
	}
	return slices.ContainsFunc(op.Commands, func(c oracle.Command) bool {
		return c.Kind == oracle.ScheduleTask || c.Kind == oracle.ScheduleChild
	})
}

// next writes one operation.
func (g *writer) next() oracle.Op {
	op := oracle.Op{Server: g.IntN(2), Foreign: g.one(3)}
	kinds := oracle.OpKinds()
	weights := map[oracle.OpKind]int{
		oracle.Start: 6, oracle.Poll: 12, oracle.PollTask: 9, oracle.Wait: 4, oracle.WaitTask: 3, oracle.Submit: 30,
		oracle.Complete: 8, oracle.Fail: 6, oracle.Signal: 6, oracle.SignalWithStart: 4, oracle.Resolve: 5, oracle.FireTimer: 6,
		oracle.Reclaim: 3, oracle.ExpirePromise: 3,
	}
	total := 0
	for _, kind := range kinds {
		total += max(weights[kind], 2)
	}
	n := g.IntN(total)
	for _, kind := range kinds {
		if n -= max(weights[kind], 2); n < 0 {
			op.Kind = kind
			break
		}
	}
	op.Kind = g.sensible(op.Kind)
	g.fill(&op)
	return op
}

// sensible mostly replaces an operation for which there is nothing to do by one
// that leads there, so that programs get somewhere.
func (g *writer) sensible(kind oracle.OpKind) oracle.OpKind {
	if g.one(15) {
		return kind
	}
	open, running, tasks, runningTasks := 0, 0, 0, 0
	for _, w := range g.model.Executions {
		switch w.Status {
		case oracle.Running:
			running++
			open++
		case oracle.Pending, oracle.Waiting:
			open++
		}
	}
	for _, t := range g.model.Tasks {
		switch t.Status {
		case oracle.Running:
			runningTasks++
		case oracle.Pending:
			tasks++
		}
	}
	switch kind {
	case oracle.Start, oracle.SignalWithStart, oracle.StartChild:
		if open > 5 {
			return oracle.Submit
		}
	case oracle.Submit, oracle.Return, oracle.Reclaim:
		if running == 0 && open > 0 {
			return choose(g, oracle.Poll, oracle.Wait, oracle.Signal)
		}
		if open == 0 {
			return oracle.Start
		}
	case oracle.Complete, oracle.Fail, oracle.CancelTask, oracle.ReclaimTask, oracle.ReturnTask:
		if runningTasks == 0 && tasks > 0 {
			return choose(g, oracle.PollTask, oracle.WaitTask)
		}
		if runningTasks+tasks == 0 {
			return oracle.Submit
		}
	}
	return kind
}

func (g *writer) fill(op *oracle.Op) {
	switch op.Kind {
	case oracle.Start, oracle.SignalWithStart:
		op.Foreign = false
		op.New, op.Work, op.Queue, op.Key, op.Value = g.name("w"), g.work(), g.queue(), g.key(), g.value()
		op.Priority, op.Label = choose(g, 0, 0, 0, 1, -1), choose(g, "s1", "s2")
		if op.Kind == oracle.SignalWithStart && g.one(85) {
			op.Key = choose(g, "k1", "k2", "k3")
		}
	case oracle.StartChild:
		op.On, op.New, op.Work, op.Queue, op.Label, op.Value = g.execution(), g.name("w"), g.work(), choose(g, "", "side"), g.name("c"), g.value()
	case oracle.Poll, oracle.PollTask, oracle.Wait, oracle.WaitTask:
		g.poll(op)
	case oracle.Leave, oracle.Return, oracle.Reclaim:
		op.Claim = g.recent(g.claims)
		if op.Kind == oracle.Leave {
			op.Claim = choose(g, append(g.model.Waiting(), "nobody")...)
		}
	case oracle.ReturnTask, oracle.ReclaimTask:
		op.Claim = g.recent(g.taskClaims)
	case oracle.Submit:
		g.submission(op)
	case oracle.Signal:
		op.On, op.Label, op.Value = g.execution(), choose(g, "s1", "s2"), g.value()
	case oracle.Cancel:
		op.On, op.Text = g.execution(), g.reason()
	case oracle.Query:
		op.On = g.execution()
	case oracle.FireTimer:
		op.Foreign = false
		op.On, op.Label = g.timer()
	case oracle.Resolve, oracle.Reject:
		op.On, op.Value, op.Text = g.promise(), g.value(), g.reason()
	case oracle.ExpirePromise:
		op.Foreign = false
		op.On = some(g, g.model.Promises, func(p *oracle.Promise) bool { return p.Timeout })
	case oracle.ExpireTask:
		op.Foreign = false
		op.On = some(g, g.model.Tasks, func(t *oracle.Task) bool { return t.Timeout })
	case oracle.Complete, oracle.Fail, oracle.CancelTask, oracle.Heartbeat:
		op.On, op.Value, op.Text = g.task(), g.value(), g.reason()
	case oracle.SubmitTask:
		op.Foreign = false
		op.New, op.Work, op.Queue, op.Key, op.Value = g.name("t"), g.work(), g.queue(), g.key(), g.value()
		op.Retries, op.Timeout = g.IntN(3), g.one(30)
	case oracle.ForgetKey:
		op.On = choose(g, "k1", "k2", "k3")
	case oracle.Age:
		op.On = some(g, g.model.Executions, func(w *oracle.Execution) bool { return w.Status == oracle.Completed })
	}
}

func (g *writer) poll(op *oracle.Op) {
	op.Foreign = false
	op.Queue, op.Claim = g.queue(), g.name("p")
	if g.one(20) && (op.Kind == oracle.Poll || op.Kind == oracle.PollTask) {
		op.Work = g.work()
	}
	if op.Kind == oracle.PollTask || op.Kind == oracle.WaitTask {
		g.taskClaims = append(g.taskClaims, op.Claim)
	} else {
		g.claims = append(g.claims, op.Claim)
	}
}

// recent chooses a claim, mostly one of the last.
func (g *writer) recent(claims []string) string {
	if len(claims) > 3 && g.one(75) {
		claims = claims[len(claims)-3:]
	}
	return choose(g, append(slices.Clone(claims), "nobody")...)
}

func (g *writer) timer() (on, label string) {
	var pending []oracle.Timer
	for timer := range g.model.Timers {
		if timer.Kind == "timer" {
			pending = append(pending, timer)
		}
	}
	if len(pending) == 0 || g.one(15) {
		return g.execution(), fmt.Sprint("timer", 1+g.IntN(4))
	}
	slices.SortFunc(pending, func(a, b oracle.Timer) int {
		return slices.Compare([]string{a.Owner, a.Name}, []string{b.Owner, b.Name})
	})
	timer := choose(g, pending...)
	return timer.Owner, timer.Name
}

// submission writes what a worker decided: often that it waits, sometimes an end,
// sometimes everything from the start because it could not read the history.
func (g *writer) submission(op *oracle.Op) {
	op.On = some(g, g.model.Executions, func(w *oracle.Execution) bool { return w.Status == oracle.Running })
	if g.one(15) {
		op.On = g.execution()
	}
	w := g.model.Executions[op.On]
	if w != nil && g.one(15) {
		op.Commands = resend(w)
	}
	for range g.IntN(5) {
		op.Commands = append(op.Commands, g.command(op.On))
	}
	op.Status = oracle.Suspended
	switch n := g.IntN(100); {
	case n < 12:
		op.Status = oracle.Running
	case n < 23:
		op.Status = choose(g, oracle.Completed, oracle.Failed, oracle.Cancelled)
		if g.one(70) {
			kind := map[string]string{oracle.Completed: oracle.CompleteSelf, oracle.Failed: oracle.FailSelf, oracle.Cancelled: oracle.CancelSelf}[op.Status]
			op.Commands = append(op.Commands, oracle.Command{Kind: kind, Text: choose(g, "", "why"), Value: g.value()})
		}
	case n < 60:
		op.Commands = append(op.Commands, oracle.Command{Kind: oracle.SuspendSelf, Text: g.reason()})
	}
}

// resend is what a worker sends that runs a workflow from its start.
func resend(w *oracle.Execution) (commands []oracle.Command) {
	text := func(e oracle.Event, key string) string {
		s, _ := e.Data[key].(string)
		return s
	}
	for _, e := range w.Events {
		var c oracle.Command
		switch e.Type {
		case "OPERATION_COMPLETED":
			c = oracle.Command{Kind: oracle.RecordOperation, Label: text(e, "operationName"), Value: `"again"`}
		case "STATE_SET":
			c = oracle.Command{Kind: oracle.SetState, Label: text(e, "key"), Value: `"again"`}
		case "STATE_CLEARED":
			c = oracle.Command{Kind: oracle.ClearState, Label: text(e, "key")}
		case "TASK_SCHEDULED":
			c = oracle.Command{Kind: oracle.ScheduleTask, ID: text(e, "taskExecutionId"), Work: text(e, "kind")}
		case "PROMISE_CREATED":
			c = oracle.Command{Kind: oracle.CreatePromise, Label: text(e, "promiseName"), Timeout: e.Data["timeoutMs"] != nil}
		case "CHILD_WORKFLOW_INITIATED":
			c = oracle.Command{Kind: oracle.ScheduleChild, ID: text(e, "childExecutionId"), Label: text(e, "childExecutionName"), Work: "a"}
		case "TIMER_STARTED":
			c = oracle.Command{Kind: oracle.StartTimer, ID: text(e, "timerId")}
		default:
			continue
		}
		commands = append(commands, c)
	}
	return commands
}

func (g *writer) command(on string) oracle.Command {
	switch c := (oracle.Command{Kind: choose(g, oracle.CommandKinds()...)}); c.Kind {
	case oracle.CompleteSelf, oracle.FailSelf, oracle.CancelSelf, oracle.SuspendSelf:
		if g.one(75) { // an end in the middle is rare
			return g.command(on)
		}
		c.Text, c.Value = g.reason(), g.value()
		return c
	case oracle.RecordOperation, oracle.SetState, oracle.ClearState:
		c.Label, c.Value = choose(g, "x", "y"), g.value()
		return c
	case oracle.ScheduleTask:
		c.ID = g.name("t")
		if other := g.task(); other != nothing && g.one(10) {
			c.ID = other
		}
		c.Work, c.Queue, c.Value, c.Key = g.work(), choose(g, "", "side"), g.value(), g.key()
		c.Retries, c.Timeout = g.IntN(3), g.one(30)
		return c
	case oracle.ScheduleChild:
		c.ID = g.name("w")
		if other := g.execution(); other != nothing && g.one(10) {
			c.ID = other
		}
		c.Work, c.Queue, c.Value, c.Label, c.Priority = g.work(), choose(g, "", "side", "default"), g.value(), choose(g, "c1", "c2"), choose(g, 0, 0, 1)
		return c
	case oracle.CreatePromise:
		c.Label, c.Key, c.Timeout = choose(g, "x", "y"), g.key(), g.one(50)
		return c
	case oracle.ResolvePromise:
		c.ID, c.Value = g.promise(), g.value()
		if g.one(40) {
			c.ID = some(g, g.model.Promises, func(p *oracle.Promise) bool { return p.Workflow == on })
		}
		return c
	case oracle.StartTimer, oracle.CancelTimer:
		c.ID = fmt.Sprint("timer", 1+g.IntN(4))
		if timer, label := g.timer(); timer == on && c.Kind == oracle.CancelTimer {
			c.ID = label
		}
		return c
	default:
		g.cancelChild(&c, on)
		return c
	}
}

func (g *writer) cancelChild(c *oracle.Command, on string) {
	c.Text = g.reason()
	if g.one(40) {
		c.Label = choose(g, "c1", "c2")
		return
	}
	c.ID = some(g, g.model.Executions, func(w *oracle.Execution) bool { return w.Parent == on })
}
