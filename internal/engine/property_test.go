package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/wake"
)

var programs = flag.Int("programs", 15, "how many random programs TestRandomPrograms runs")

// world is an organization in which one thing happens after another.
type world struct {
	*bench
	random *rand.Rand
	log    []string
	// held are the activations that workers have, also those that were taken
	// back; view is what their worker has seen of the history.
	held []activation
	// seen is the view behind the last accepted submission.
	seen    map[flovyn.ExecutionID]flovyn.Seq
	all     []flovyn.ExecutionID
	tasks   []flovyn.TaskID
	claimed []*flovyn.Assignment
	polls   chan *flovyn.Activation
	waiting bool
}

type activation struct {
	*flovyn.Activation
	view flovyn.Seq
}

func (w *world) say(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) fail(format string, args ...any) {
	w.Helper()
	for _, line := range w.log {
		w.Log(line)
	}
	w.Fatalf(format, args...)
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.fail("%v", err)
	}
}

func pick[T any](w *world, from []T) (item T, ok bool) {
	if len(from) == 0 {
		return item, false
	}
	return from[w.random.IntN(len(from))], true
}

func (w *world) hold(a *flovyn.Activation) {
	events := w.events(a.Execution.ID)
	w.held = append(w.held, activation{a, events[len(events)-1].Seq})
	w.say("  %s claimed at %d", short(a.Execution.ID), len(events))
}

func short(id flovyn.ExecutionID) string { return id.String()[24:] }

// receive collects the poll that waits, which must have been served.
func (w *world) receive() {
	a := <-w.polls
	w.waiting = false
	if a == nil {
		w.fail("the waiting poll was sent away")
	}
	w.hold(a)
}

func (w *world) statusOf(id flovyn.ExecutionID) *flovyn.WorkflowExecution {
	e, err := w.store.Execution(w.Context(), w.org, id)
	w.ok(err)
	return e
}

func (w *world) stepStart() {
	if len(w.all) > 6 {
		return
	}
	id := w.start("k", `{}`)
	w.say("start %s", short(id))
	w.all = append(w.all, id)
}

func (w *world) stepPoll() {
	if w.waiting || w.count("SELECT count(*) FROM ready WHERE class = 'workflow' AND org_id = $1", w.org.UUID()) == 0 {
		return
	}
	w.say("poll")
	w.hold(w.poll())
}

// stepWait lets a poller wait, so that what becomes runnable is handed over.
func (w *world) stepWait() {
	if w.waiting || w.count("SELECT count(*) FROM ready WHERE class = 'workflow' AND org_id = $1", w.org.UUID()) > 0 {
		return
	}
	w.say("wait")
	w.empty() // drained, so that it is reserved
	w.waiting = true
	before := w.engine.Waiting()
	go func() {
		a, _ := w.engine.Poll(context.WithoutCancel(w.Context()), w.key(), wake.Poller{Worker: "waiting"}, 3*patience)
		w.polls <- a
	}()
	w.until(func() bool { return w.engine.Waiting() > before })
}

func (w *world) commands() (cs []history.Command) {
	for range w.random.IntN(4) {
		switch w.random.IntN(8) {
		case 0:
			id := newTaskID()
			w.tasks = append(w.tasks, id)
			cs = append(cs, history.ScheduleTask{ID: id, Kind: "t", MaxRetries: int32(w.random.IntN(2))})
		case 1:
			cs = append(cs, history.StartTimer{ID: uuid.NewString()})
		case 2:
			id := newID()
			w.all = append(w.all, id)
			cs = append(cs, history.ScheduleChild{ID: id, Name: id.String(), Kind: "k"})
		case 3:
			cs = append(cs, history.CreatePromise{Name: uuid.NewString(), HasTimeout: w.random.IntN(2) == 0})
		case 4:
			if id, ok := pick(w, w.all); ok {
				cs = append(cs, history.CancelChild{ID: id})
			}
		case 5:
			if id, ok := w.anyPromise(); ok {
				cs = append(cs, history.ResolvePromise{ID: id})
			}
		default:
			cs = append(cs, history.SetState{Key: "k"}, history.RecordOperation{Name: "o"})
		}
	}
	return cs
}

func (w *world) anyPromise() (flovyn.PromiseID, bool) {
	var id uuid.UUID
	err := w.conn.QueryRow(w.Context(), "SELECT id FROM promise WHERE org_id = $1 ORDER BY md5(id::text || $2) LIMIT 1", w.org.UUID(), strconv.Itoa(w.random.Int())).Scan(&id)
	return flovyn.PromiseID(id), err == nil
}

func (w *world) stepSubmit() {
	if len(w.held) == 0 {
		return
	}
	i := w.random.IntN(len(w.held))
	a := w.held[i]
	w.held = append(w.held[:i], w.held[i+1:]...)
	id := a.Execution.ID
	accepted := w.statusOf(id).Status == flovyn.WorkflowRunning
	status := history.Suspended
	if w.random.IntN(6) == 0 {
		status = []history.Status{history.Completed, history.Failed, history.Cancelled}[w.random.IntN(3)]
	}
	known := len(w.all)
	cs := w.commands()
	w.say("submit %s with view %d, %d commands, status %d, accepted %v", short(id), a.view, len(cs), status, accepted)
	w.submit(id, status, cs...)
	if !accepted {
		w.all = w.all[:known]
		return
	}
	w.seen[id] = a.view
}

func (w *world) stepTask() {
	switch w.random.IntN(4) {
	case 0:
		if w.count("SELECT count(*) FROM ready WHERE class = 'task' AND org_id = $1", w.org.UUID()) > 0 {
			w.claimed = append(w.claimed, w.pollTask())
			w.say("poll task")
		}
	case 1:
		if id, ok := pick(w, w.tasks); ok {
			w.say("cancel task")
			if err := w.bench.tasks.Cancel(w.Context(), w.org, id, ""); err != nil && !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.NotFound) {
				w.fail("%v", err)
			}
		}
	case 2:
		if a, ok := pick(w, w.claimed); ok {
			w.say("complete task of %s", short(a.Task.Workflow))
			w.ok(w.bench.tasks.Complete(w.Context(), w.org, a.Task.ID, nil))
		}
	default:
		if a, ok := pick(w, w.claimed); ok {
			w.say("fail task of %s", short(a.Task.Workflow))
			w.ok(w.bench.tasks.Fail(w.Context(), w.org, a.Task.ID, "x"))
		}
	}
}

func (w *world) stepFact() {
	id, ok := pick(w, w.all)
	if !ok {
		return
	}
	switch w.random.IntN(4) {
	case 0:
		w.say("fire timers")
		w.fireTimers()
	case 1:
		if id, ok := w.anyPromise(); ok {
			w.say("resolve")
			w.ok(w.engine.ResolvePromise(w.Context(), w.org, id.String(), nil))
		}
	default:
		w.say("signal %s", short(id))
		_, err := w.engine.Signal(w.Context(), w.org, id, "s", nil)
		if err != nil && !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.NotFound) {
			w.fail("%v", err)
		}
	}
}

// outstanding counts the workers that have yet to submit for an execution.
func (w *world) outstanding(id flovyn.ExecutionID) (n int) {
	for _, a := range w.held {
		if a.Execution.ID == id {
			n++
		}
	}
	return n
}

// stepReclaim takes an activation back, whose worker may submit all the same.
func (w *world) stepReclaim() {
	a, ok := pick(w, w.held)
	if !ok {
		return
	}
	id := a.Execution.ID
	w.say("reclaim %s", short(id))
	w.ok(w.engine.Reclaim(w.Context(), postgres.StaleExecution{Org: w.org, ID: id, ClaimedAt: w.statusOf(id).ClaimedAt}))
}

func (w *world) stepReturn() {
	if len(w.held) == 0 {
		return
	}
	i := w.random.IntN(len(w.held))
	a := w.held[i]
	w.held = append(w.held[:i], w.held[i+1:]...)
	w.say("return %s", short(a.Execution.ID))
	w.engine.Return(w.Context(), *a.Activation)
}

func (w *world) stepCancel() {
	if id, ok := pick(w, w.all); ok && w.random.IntN(3) == 0 {
		w.say("cancel %s", short(id))
		err := w.engine.Cancel(w.Context(), w.org, id, "", "test")
		if err != nil && !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.NotFound) {
			w.fail("%v", err)
		}
	}
}

func outside(t history.EventType) bool {
	switch t {
	case history.TaskCompleted, history.TaskFailed, history.TaskCancelled, history.TimerFired, history.PromiseResolved,
		history.PromiseRejected, history.PromiseTimeout, history.ChildWorkflowCompleted, history.ChildWorkflowFailed,
		history.SignalReceived:
		return true
	}
	return false
}

// check holds the database against what must always be true.
func (w *world) check() {
	w.engine.Close() // what is noted on the server's own time is noted
	for _, id := range w.all {
		e, err := w.store.Execution(w.Context(), w.org, id)
		if fault.Is(err, fault.NotFound) {
			continue // of a child that a rejected submission asked for
		}
		w.ok(err)
		if e.Status == flovyn.WorkflowRunning && !w.holds(e) {
			if !w.waiting {
				w.fail("%s is RUNNING and nobody has it", short(id))
			}
			w.receive()
			if !w.holds(e) {
				w.fail("%s is RUNNING and nobody has it", short(id))
			}
		}
		w.checkOne(e)
	}
}

func (w *world) holds(e *flovyn.WorkflowExecution) bool {
	for _, a := range w.held {
		if a.Execution.ID == e.ID && a.Execution.ClaimedAt.Equal(e.ClaimedAt) {
			return true
		}
	}
	// After a late submission of its first worker, the second one may be gone.
	return false
}

func (w *world) checkOne(e *flovyn.WorkflowExecution) {
	events := w.events(e.ID)
	if len(events) != int(e.LastSeq) {
		w.fail("%s: %d events, last %d", short(e.ID), len(events), e.LastSeq)
	}
	if _, err := history.Fold(e.ID, events); err != nil {
		w.fail("%v", err)
	}
	if n := w.count("SELECT count(*) FROM workflow_event WHERE execution_id = $1", e.ID.UUID()); n != len(events) {
		w.fail("%s: %d events in the database, %d known", short(e.ID), n, len(events))
	}
	listed := w.count("SELECT count(*) FROM ready WHERE id = $1", e.ID.UUID())
	if (listed == 1) != (e.Status == flovyn.WorkflowPending) {
		w.fail("%s is %s and listed %d times", short(e.ID), e.Status, listed)
	}
	over, outstanding := false, w.outstanding(e.ID) > 0
	for _, event := range events {
		if over && event.Type != history.SignalReceived {
			w.fail("%s: %s after the end", short(e.ID), event.Type)
		}
		over = over || event.Type.Terminal()
		// A worker that has yet to submit will have it looked at again.
		if e.Status == flovyn.WorkflowWaiting && !outstanding && outside(event.Type) && event.Seq > w.seen[e.ID] {
			w.fail("%s is WAITING although nobody has seen event %d (%s)", short(e.ID), event.Seq, event.Type)
		}
	}
	if over != e.Status.Terminal() {
		w.fail("%s is %s, ended %v", short(e.ID), e.Status, over)
	}
	if over {
		w.closedBehind(e.ID)
	}
}

// TestRandomPrograms lets random commands and outside facts meet, one at a time,
// with late and lost workers among them. After each: no wake-up is lost, no
// sequence number is missing, whatever is runnable can be claimed.
func TestRandomPrograms(t *testing.T) {
	b := setUp(t)
	for seed := range *programs {
		one := *b
		one.org = flovyn.OrgID(uuid.New())
		w := &world{
			bench: &one, random: rand.New(rand.NewPCG(uint64(seed), 7)),
			seen: map[flovyn.ExecutionID]flovyn.Seq{}, polls: make(chan *flovyn.Activation, 1),
		}
		w.say("seed %d", seed)
		for range 30 {
			steps := []func(){
				w.stepStart, w.stepPoll, w.stepPoll, w.stepWait, w.stepSubmit, w.stepSubmit, w.stepSubmit, w.stepTask, w.stepTask,
				w.stepFact, w.stepFact, w.stepReclaim, w.stepReturn, w.stepCancel,
			}
			steps[w.random.IntN(len(steps))]()
			w.check()
		}
		if w.waiting { // what is started last goes to the poll that still waits
			w.start("k", `null`)
			<-w.polls
		}
	}
}
