package engine

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// AllState is the query that returns the whole state of a workflow.
const AllState = "__state"

// Events returns the whole history of an execution.
func (e *Engine) Events(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]history.Event, error) {
	return e.store.Events(ctx, org, id)
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
