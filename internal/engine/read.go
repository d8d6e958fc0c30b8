package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// AllState is the query that returns the whole state of a workflow.
const AllState = "__state"

// Events returns the whole history of an execution.
func (e *Engine) Events(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]history.Event, error) {
	return e.store.Events(ctx, org, id)
}

// Execution returns a workflow execution.
func (e *Engine) Execution(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, error) {
	return e.store.Execution(ctx, org, id)
}

// View is an execution as people look at it.
type View struct {
	*flovyn.WorkflowExecution
	// Input and Output are JSON; an absent output is nil.
	Input, Output []byte
	// Error is why it failed or was cancelled.
	Error string
	// Waiting is what a waiting execution waits for.
	Waiting string
	// NearlyFull tells that the history comes near one of its limits.
	NearlyFull bool
}

// View returns an execution with what its history says of it.
func (e *Engine) View(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (View, error) {
	w, err := e.store.Execution(ctx, org, id)
	if err != nil {
		return View{}, err
	}
	view := View{WorkflowExecution: w, NearlyFull: e.NearlyFull(w)}
	if view.Input, err = e.store.Started(ctx, w); err != nil {
		return view, err
	}
	switch {
	case w.Status.Terminal():
		ended, err := e.store.Ended(ctx, w)
		view.Output, view.Error = history.Ending(ended)
		return view, err
	case w.Status == flovyn.WorkflowWaiting:
		state, err := e.store.State(ctx, org, id)
		if err != nil {
			return view, err
		}
		view.Waiting = state.Waiting()
	}
	return view, nil
}

// Result says how an execution ended, if it has.
type Result struct {
	ID     flovyn.ExecutionID
	Status flovyn.WorkflowStatus
	// Output is JSON, once completed; Error is why it failed or was cancelled.
	Output []byte
	Error  string
}

// Result returns how an execution ended, or that it has not.
func (e *Engine) Result(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (Result, error) {
	w, err := e.store.Execution(ctx, org, id)
	if err != nil {
		return Result{}, err
	}
	result := Result{ID: id, Status: w.Status}
	if w.Status.Terminal() {
		ended, err := e.store.Ended(ctx, w)
		if err != nil {
			return Result{}, err
		}
		result.Output, result.Error = history.Ending(ended)
	}
	return result, nil
}

// EventsAfter returns the events of an execution that come after one: all of
// them, or limit of them at most; more tells that there are others.
func (e *Engine) EventsAfter(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, after flovyn.Seq, limit int) (events []history.Event, more bool, err error) {
	if limit > 0 {
		w, err := e.store.Execution(ctx, org, id)
		if err != nil {
			return nil, false, err
		}
		events, err = e.store.EventsPage(ctx, w, after, limit+1)
		if len(events) > limit {
			return events[:limit], true, err
		}
		return events, false, err
	}
	events, err = e.store.Events(ctx, org, id)
	if err != nil {
		return nil, false, err
	}
	return events[min(int(after), len(events)):], false, nil // contiguous from 1
}

// TasksOf lists the tasks of an execution.
func (e *Engine) TasksOf(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]postgres.TaskView, error) {
	return e.store.TasksOf(ctx, org, id)
}

// Children lists the children of an execution.
func (e *Engine) Children(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]postgres.Child, error) {
	if _, err := e.store.Execution(ctx, org, id); err != nil {
		return nil, err
	}
	return e.store.Children(ctx, org, id)
}

// Promises lists the promises of an execution.
func (e *Engine) Promises(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]*flovyn.Promise, error) {
	if _, err := e.store.Execution(ctx, org, id); err != nil {
		return nil, err
	}
	return e.store.Promises(ctx, org, id)
}

// State returns what a workflow keeps, by key; the values are JSON.
func (e *Engine) State(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (map[string][]byte, error) {
	state, err := e.store.State(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return state.Pairs(), nil
}

// QueueView is the work of one class that waits on a queue, and who waits for it.
type QueueView struct {
	Class flovyn.Class
	postgres.QueueDepth
	// Capped tells that the depth stands for "so many or more".
	Capped bool
	// Pollers counts the polls that wait on this server.
	Pollers int
}

// The bounds of a view of the queues.
const (
	// MaxQueueDepth is how far a backlog is counted.
	MaxQueueDepth = 10_000
	maxQueues     = 1000
)

// Queues lists the queues of an organization that have work waiting, or pollers
// on this server.
func (e *Engine) Queues(ctx context.Context, org flovyn.OrgID) ([]QueueView, error) {
	var views []QueueView
	for _, class := range []flovyn.Class{flovyn.ClassTask, flovyn.ClassWorkflow} {
		pollers := e.tasks.Pollers(org)
		if class == flovyn.ClassWorkflow {
			pollers = e.workflows.Pollers(org)
		}
		depths, err := e.store.QueueDepths(ctx, org, class, MaxQueueDepth+1, maxQueues)
		if err != nil {
			return nil, err
		}
		for _, depth := range depths {
			view := QueueView{Class: class, QueueDepth: depth, Pollers: pollers[depth.Queue]}
			if view.Capped = view.Depth > MaxQueueDepth; view.Capped {
				view.Depth = MaxQueueDepth
			}
			views = append(views, view)
			delete(pollers, depth.Queue)
		}
		for queue, count := range pollers {
			views = append(views, QueueView{Class: class, QueueDepth: postgres.QueueDepth{Queue: queue}, Pollers: count})
		}
	}
	slices.SortFunc(views, func(a, b QueueView) int {
		return cmp.Or(strings.Compare(a.Queue, b.Queue), strings.Compare(string(a.Class), string(b.Class)))
	})
	return views, nil
}

// Query answers from the persisted state of a workflow: name is a state key,
// or AllState. No worker is asked, and params are accepted for what a later
// version may do with them. What cannot be answered is errorText.
func (e *Engine) Query(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, name string, params []byte) (result []byte, errorText string, err error) {
	if _, err := e.payload("params", params); err != nil {
		return nil, "", err
	}
	state, err := e.store.State(ctx, org, id)
	if err != nil {
		return nil, "", err
	}
	if name == AllState {
		return state.Values(), "", nil
	}
	value, ok := state.Value(name)
	if !ok {
		return nil, "the workflow has no state " + name, nil
	}
	return value, "", nil
}

// Locate returns the organization of an execution. Only callers that no
// organization binds may use it: while authentication is switched off.
func (e *Engine) Locate(ctx context.Context, id flovyn.ExecutionID) (flovyn.OrgID, error) {
	return e.store.OrgOfExecution(ctx, id)
}

// LocatePromise is Locate for a promise.
func (e *Engine) LocatePromise(ctx context.Context, ref string) (flovyn.OrgID, error) {
	return e.store.OrgOfPromise(ctx, ref)
}

// Traces returns the traces that executions of an organization belong to; those
// that belong to none, or are not there, are left out.
func (e *Engine) Traces(ctx context.Context, org flovyn.OrgID, ids []flovyn.ExecutionID) (map[flovyn.ExecutionID]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return e.store.Traces(ctx, org, ids)
}
