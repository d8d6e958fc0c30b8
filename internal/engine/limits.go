package engine

import (
	"cmp"
	"context"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Limits bounds what workflows, tasks and polls may take up. What is beyond one is
// refused as Exhausted, and nothing of it is written. A field that is zero has
// its default.
type Limits struct {
	// MaxPayload bounds every payload, in bytes. Default 1 MiB.
	MaxPayload int
	// MaxCommands bounds the commands of one submission. Default 10,000.
	MaxCommands int
	// MaxHistoryEvents and MaxHistoryBytes bound a history; the bytes are those of
	// its events' data. A submission beyond fails its execution. What happens to
	// an execution from outside and cannot be refused, such as the result of a
	// task, is still recorded. Default 50,000 and 50 MiB.
	MaxHistoryEvents int
	MaxHistoryBytes  int64
	// MaxPending bounds the tasks, the timers, the promises and the children of an
	// execution that are open at once, of each sort. Default 10,000.
	MaxPending int
	// MaxPollers bounds the polls of an organization that wait on this server.
	// Default 10,000.
	MaxPollers int
	// WorkflowParkAfter and TaskParkAfter are how many activations of an
	// execution, and attempts of a task, must be lost in a row for it to be
	// parked. Default 10 and 3; negative never.
	WorkflowParkAfter int
	TaskParkAfter     int
}

func (l Limits) orDefault() Limits {
	l.MaxPayload = cmp.Or(l.MaxPayload, 1<<20)
	l.MaxCommands = cmp.Or(l.MaxCommands, 10_000)
	l.MaxHistoryEvents = cmp.Or(l.MaxHistoryEvents, 50_000)
	l.MaxHistoryBytes = cmp.Or(l.MaxHistoryBytes, 50<<20)
	l.MaxPending = cmp.Or(l.MaxPending, 10_000)
	l.MaxPollers = cmp.Or(l.MaxPollers, 10_000)
	l.WorkflowParkAfter = cmp.Or(l.WorkflowParkAfter, 10)
	l.TaskParkAfter = cmp.Or(l.TaskParkAfter, 3)
	return l
}

// MaxPayload returns the limit of every payload, in bytes.
func (e *Engine) MaxPayload() int { return e.cfg.MaxPayload }

// TaskParkAfter returns how many attempts in a row must be lost for a task to be
// parked.
func (e *Engine) TaskParkAfter() int { return e.cfg.TaskParkAfter }

// nearlyFull is from which part of a limit on a history is nearly full: 3/4.
const nearlyFull = 0.75

// NearlyFull reports whether a history comes near one of its limits. It is a mark
// and not an event: published SDKs would take an unknown event in a history for
// a result of the workflow's code.
func (e *Engine) NearlyFull(w *flovyn.WorkflowExecution) bool {
	return e.nearlyFull(w.LastSeq, w.HistoryBytes)
}

func (e *Engine) nearlyFull(events flovyn.Seq, bytes int64) bool {
	return float64(events) > nearlyFull*float64(e.cfg.MaxHistoryEvents) || float64(bytes) > nearlyFull*float64(e.cfg.MaxHistoryBytes)
}

// historyFull says why a history may not become as long, or nothing.
func (e *Engine) historyFull(events flovyn.Seq, bytes int64) error {
	switch {
	case int(events) > e.cfg.MaxHistoryEvents:
		return fault.New(fault.Exhausted, "the history may have %d events, and would have %d", e.cfg.MaxHistoryEvents, events)
	case bytes > e.cfg.MaxHistoryBytes:
		return fault.New(fault.Exhausted, "the history may have %d bytes, and would have %d", e.cfg.MaxHistoryBytes, bytes)
	}
	return nil
}

// room checks that one more fact from outside has room in a history.
func (e *Engine) room(w *flovyn.WorkflowExecution, d history.Draft) error {
	return e.historyFull(w.LastSeq+1, w.HistoryBytes+int64(len(d.Data)))
}

// checkPending refuses what leaves too much open. Only what a submission adds to
// is looked at: another limit than before must not stop a workflow from closing
// what it has.
func (e *Engine) checkPending(state *history.State, out *history.Outcome) error {
	for _, sort := range []struct {
		name        string
		added, open int
	}{
		{"tasks", len(out.Tasks), len(state.OpenTasks())},
		{"timers", len(out.Timers), len(state.OpenTimers())},
		{"promises", len(out.Promises), len(state.OpenPromises())},
		{"children", len(out.Children), len(state.OpenChildren())},
	} {
		if sort.added > 0 && sort.open > e.cfg.MaxPending {
			return fault.New(fault.Exhausted, "%d %s would be open at once, %d may be", sort.open, sort.name, e.cfg.MaxPending)
		}
	}
	return nil
}

// warnGrowth logs when a commit has brought a history near its limits.
func (e *Engine) warnGrowth(tx *postgres.Tx, w *flovyn.WorkflowExecution, wasNearlyFull bool) {
	if wasNearlyFull || !e.NearlyFull(w) {
		return
	}
	id, kind, org, events, bytes := w.ID, w.Kind, w.Org, w.LastSeq, w.HistoryBytes
	tx.OnCommit(func() {
		e.log.Warn("a history comes near its limit, at which its execution fails", "execution", id, "kind", kind, "org", org,
			"events", events, "max_events", e.cfg.MaxHistoryEvents, "bytes", bytes, "max_bytes", e.cfg.MaxHistoryBytes)
	})
}

// overflow fails an execution whose history is full. The submission that was too
// much has been refused.
func (e *Engine) overflow(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, why error) error {
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{id}, Parents: []flovyn.ExecutionID{id}}
	text := fault.Message(why)
	return e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil || w.Status != flovyn.WorkflowRunning {
			return err
		}
		e.log.Warn("failing an execution whose history is full", "execution", w.ID, "kind", w.Kind, "reason", text)
		return e.fail(tx, w, history.EndedFailed(text, "", "HISTORY_LIMIT"), ending{errorText: text, reason: text, requestedBy: "server"})
	})
}

// maxRefusals bounds how many executions are remembered whose submission was
// refused.
const maxRefusals = 4096

// refusalKey has the organization of who submitted: nobody leaves a word with the
// execution of another one.
type refusalKey struct {
	org flovyn.OrgID
	id  flovyn.ExecutionID
}

func newRefusals() *lru.Cache[refusalKey, string] {
	cache, err := lru.New[refusalKey, string](maxRefusals)
	if err != nil {
		panic(err) //nolint:forbidigo // only a size that is not positive is refused
	}
	return cache
}

// NoteRefusal remembers that a submission of an execution was refused. Its worker
// can do nothing about that, so the activation will be lost; should the execution
// be parked for it, the reason says more.
func (e *Engine) NoteRefusal(org flovyn.OrgID, id flovyn.ExecutionID, err error) {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Exhausted, fault.Precondition:
		e.refusals.Add(refusalKey{org, id}, fault.Message(err))
	default: // says nothing about the submission
	}
}
