package engine

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// lateSignalGrace is how long after its completion an execution still takes
// signals. A client that sends two signals in a row must not fail because the
// first one completed the workflow; the late one stands in the history.
const lateSignalGrace = 2 * time.Second

// Signal delivers a signal and returns the sequence number of its event. An
// execution that has ended is Precondition, one with too many signals Exhausted.
func (e *Engine) Signal(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, name string, value []byte) (flovyn.Seq, error) {
	value, err := e.checkSignal(name, value)
	if err != nil {
		return 0, err
	}
	var seq flovyn.Seq
	err = e.store.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{id}}, func(tx *postgres.Tx) error {
		w, err := tx.Execution(org, id)
		if err != nil {
			return err
		}
		seq, err = e.signal(tx, w, history.Signalled(name, value))
		return err
	})
	if err != nil { // the step of a caller who went away may still write the result
		return 0, err
	}
	return seq, nil
}

func (e *Engine) checkSignal(name string, value []byte) ([]byte, error) {
	if err := CheckName("signal_name", name, true); err != nil {
		return nil, err
	}
	return e.payload("signal_value", value)
}

func (e *Engine) signal(tx *postgres.Tx, w *flovyn.WorkflowExecution, d history.Draft) (flovyn.Seq, error) {
	if w.LastSeq > flovyn.MaxSignals { // fewer events cannot hold more signals
		state, err := tx.State(w)
		if err != nil {
			return 0, err
		}
		if state.Signals >= flovyn.MaxSignals {
			return 0, fault.New(fault.Exhausted, "the execution has received %d signals, the most it may", flovyn.MaxSignals)
		}
	}
	if err := e.room(w, d); err != nil {
		return 0, err
	}
	wasNearlyFull := e.NearlyFull(w)
	defer func() { e.warnGrowth(tx, w, wasNearlyFull) }()
	if w.Status.Terminal() {
		if w.Status != flovyn.WorkflowCompleted || tx.Now().Sub(w.EndedAt) > lateSignalGrace {
			return 0, fault.New(fault.Precondition, "the workflow execution has ended (%s)", w.Status)
		}
		tx.UpdateExecution(w)
		err := tx.Append(w, d)
		return w.LastSeq, err
	}
	err := e.Tell(tx, w, d)
	return w.LastSeq, err
}

// SignalWithStartRequest asks to signal the execution that an idempotency key
// stands for, and to start it first when there is none that runs.
type SignalWithStartRequest struct {
	// StartRequest's IdempotencyKey is required.
	StartRequest
	SignalName  string
	SignalValue []byte
}

// SignalWithStartResult names the signalled execution.
type SignalWithStartResult struct {
	ID flovyn.ExecutionID
	// Created tells that this request started it.
	Created bool
	// Seq is the sequence number of the signal's event.
	Seq flovyn.Seq
}

// SignalWithStart signals an execution and starts it when needed, in one commit.
func (e *Engine) SignalWithStart(ctx context.Context, req SignalWithStartRequest) (SignalWithStartResult, error) {
	var result SignalWithStartResult
	if req.IdempotencyKey == "" {
		return result, fault.InvalidField("workflow_id", "must not be empty")
	}
	if err := e.checkStart(&req.StartRequest); err != nil {
		return result, err
	}
	value, err := e.checkSignal(req.SignalName, req.SignalValue)
	if err != nil {
		return result, err
	}
	req.trace = trace.Parent(ctx)
	signalled := history.Signalled(req.SignalName, value)
	fresh := flovyn.ExecutionID(flovyn.NewUUID())
	err = e.store.Do(ctx, req.touch(), func(tx *postgres.Tx) error {
		w, err := e.byKey(tx, &req.StartRequest)
		if err != nil {
			return err
		}
		if w != nil && !w.Status.Terminal() {
			seq, err := e.signal(tx, w, signalled)
			result = SignalWithStartResult{ID: w.ID, Seq: seq}
			return err
		}
		w, err = e.create(tx, fresh, &req.StartRequest, signalled)
		if err != nil {
			return err
		}
		result = SignalWithStartResult{ID: fresh, Created: true, Seq: w.LastSeq}
		return nil
	})
	if err != nil { // the step of a caller who went away may still write the result
		return SignalWithStartResult{}, err
	}
	return result, nil
}
