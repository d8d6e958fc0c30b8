package engine

import (
	"cmp"
	"context"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// CancelRequest asks for the end of an execution.
type CancelRequest struct {
	Org flovyn.OrgID
	ID  flovyn.ExecutionID
	// Reason is what the history says; it is free text.
	Reason string
	// RequestedBy names the principal.
	RequestedBy string
	// Cascade cancels the open children as well, and theirs.
	Cascade bool
}

// CancelResult says what a cancellation did.
type CancelResult struct {
	// AlreadyEnded tells that there was nothing left to cancel.
	AlreadyEnded bool
	// Descendants counts the executions that were cancelled with this one.
	Descendants int
}

// CancelExecution ends an execution as cancelled, with its children or without
// them. One that has ended, however, is left as it is.
func (e *Engine) CancelExecution(ctx context.Context, req CancelRequest) (CancelResult, error) {
	how := cancellation{history.FreeText(req.Reason, e.cfg.MaxPayload), req.RequestedBy, req.Cascade}
	touch := postgres.Touch{Histories: []flovyn.ExecutionID{req.ID}, Parents: []flovyn.ExecutionID{req.ID}}
	var result CancelResult
	err := e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		w, err := tx.Execution(req.Org, req.ID)
		if err != nil {
			return err
		}
		result = CancelResult{AlreadyEnded: w.Status.Terminal()}
		if result.AlreadyEnded {
			return nil
		}
		cancelled, err := e.cancelCounting(tx, req.Org, req.ID, how)
		result.Descendants = cancelled - 1
		return err
	})
	if err != nil { // the step of a caller who went away may still write the result
		return CancelResult{}, err
	}
	return result, nil
}

// cancellation is how executions are cancelled.
type cancellation struct {
	reason, requestedBy string
	cascade             bool
}

// cancelCounting cancels an execution before its children, which then have
// nobody left to tell, and returns how many it cancelled.
func (e *Engine) cancelCounting(tx *postgres.Tx, org flovyn.OrgID, id flovyn.ExecutionID, how cancellation) (int, error) {
	w, err := tx.Execution(org, id)
	if err != nil || w.Status.Terminal() {
		return 0, err
	}
	state, err := tx.State(w)
	if err != nil {
		return 0, err
	}
	if w.Status == flovyn.WorkflowPending {
		tx.UnlistExecution(id)
	}
	for _, d := range []history.Draft{history.CancelRequested(how.reason, how.requestedBy), history.EndedCancelled(how.reason)} {
		if err := tx.Append(w, d); err != nil {
			return 0, err
		}
	}
	children, err := e.endCounting(tx, w, state, ending{
		status: flovyn.WorkflowCancelled, errorText: history.CancelledText(how.reason),
		takesChildren: how.cascade, reason: how.reason, requestedBy: how.requestedBy,
	})
	return children + 1, err
}

// endCounting is endWithChildren, and returns how many descendants it cancelled.
func (e *Engine) endCounting(tx *postgres.Tx, w *flovyn.WorkflowExecution, state *history.State, how ending) (int, error) {
	var children []flovyn.ExecutionID
	if how.takesChildren {
		children = state.OpenChildren()
		if err := tx.PreloadHistories(children); err != nil {
			return 0, err
		}
	}
	if err := e.end(tx, w, state, how); err != nil {
		return 0, err
	}
	total := 0
	by := cmp.Or(how.requestedBy, "workflow:"+w.ID.String())
	for _, child := range children {
		cancelled, err := e.cancelCounting(tx, w.Org, child, cancellation{how.reason, by, true})
		if err != nil && !fault.Is(err, fault.NotFound) {
			return total, err
		}
		total += cancelled
	}
	return total, nil
}
