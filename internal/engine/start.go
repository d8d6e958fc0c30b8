package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// StartRequest asks for a new workflow execution.
type StartRequest struct {
	Org  flovyn.OrgID
	Kind string
	// Input is JSON; empty stands for null.
	Input []byte
	// Queue defaults to flovyn.DefaultQueue.
	Queue string
	// Priority lets the execution count as created earlier by that much.
	Priority time.Duration
	Version  string
	Metadata map[string]string
	// IdempotencyKey lets a repeated request find the first one's execution.
	IdempotencyKey string
	// KeyTTL defaults to flovyn.DefaultIdempotencyTTL.
	KeyTTL time.Duration

	metadata []byte
	// trace is the one that the request belongs to.
	trace string
}

// StartResult names the execution that a request created or found.
type StartResult struct {
	ID flovyn.ExecutionID
	// KeyUsed tells that a key was given, KeyNew that this request created the
	// execution.
	KeyUsed, KeyNew bool
	// Created tells that this request created the execution, with or without a key.
	Created bool
	// What the execution is, and since when.
	Kind      string
	Status    flovyn.WorkflowStatus
	CreatedAt time.Time
}

func (r *StartResult) describe(w *flovyn.WorkflowExecution) {
	r.ID, r.Kind, r.Status, r.CreatedAt = w.ID, w.Kind, w.Status, w.CreatedAt
}

func (e *Engine) checkStart(req *StartRequest) (err error) {
	if err := CheckName("workflow_kind", req.Kind, true); err != nil {
		return err
	}
	if err := CheckName("queue", req.Queue, false); err != nil {
		return err
	}
	if err := CheckName("workflow_version", req.Version, false); err != nil {
		return err
	}
	if req.Priority.Abs() > flovyn.MaxDelay {
		return fault.InvalidField("priority_seconds", "out of range")
	}
	if req.KeyTTL, err = CheckKey("idempotency_key", req.IdempotencyKey, req.KeyTTL); err != nil {
		return err
	}
	if req.metadata, err = CheckMetadata(req.Metadata); err != nil {
		return err
	}
	req.Queue = cmp.Or(req.Queue, flovyn.DefaultQueue)
	req.Input, err = e.payload("input", req.Input)
	return err
}

func (req *StartRequest) key() flovyn.Key {
	return flovyn.Key{Org: req.Org, Scope: flovyn.KeyWorkflow, Name: req.IdempotencyKey}
}

func (req *StartRequest) touch() (touch postgres.Touch) {
	if req.IdempotencyKey != "" {
		touch.Keys = []flovyn.Key{req.key()}
	}
	return touch
}

// Start creates a workflow execution, or finds the one that the idempotency key
// stands for. The kind need not be registered by any worker yet. Invalid input
// is Invalid, an oversized payload Exhausted.
func (e *Engine) Start(ctx context.Context, req StartRequest) (StartResult, error) {
	if err := e.checkStart(&req); err != nil {
		return StartResult{}, err
	}
	req.trace = trace.Parent(ctx)
	fresh := flovyn.ExecutionID(flovyn.NewUUID())
	var result StartResult
	err := e.store.Do(ctx, req.touch(), func(tx *postgres.Tx) error {
		existing, err := e.byKey(tx, &req)
		if err != nil {
			return err
		}
		result = StartResult{KeyUsed: req.IdempotencyKey != "", KeyNew: existing == nil && req.IdempotencyKey != ""}
		if existing != nil {
			result.describe(existing)
			return nil
		}
		w, err := e.create(tx, fresh, &req)
		if err != nil {
			return err
		}
		result.Created = true
		result.describe(w)
		return nil
	})
	if err != nil { // the step of a caller who went away may still write the result
		return StartResult{}, err
	}
	return result, nil
}

// byKey returns the execution that the request's key stands for, nil if none.
func (e *Engine) byKey(tx *postgres.Tx, req *StartRequest) (*flovyn.WorkflowExecution, error) {
	if req.IdempotencyKey == "" {
		return nil, nil //nolint:nilnil // no key, no execution, no error
	}
	id, ok, err := tx.KeyTarget(req.key())
	if err != nil || !ok {
		return nil, err
	}
	w, err := tx.Execution(req.Org, flovyn.ExecutionID(id))
	return w, ignoreAbsent(err)
}

// create inserts a new execution with its first events and makes it runnable.
func (e *Engine) create(tx *postgres.Tx, id flovyn.ExecutionID, req *StartRequest, facts ...history.Draft) (*flovyn.WorkflowExecution, error) {
	w := newExecution(tx, id, req)
	tx.InsertExecution(w)
	if req.IdempotencyKey != "" {
		tx.SetKey(req.key(), flovyn.KeyTarget{ID: id.UUID(), ExpiresAt: tx.Now().Add(req.KeyTTL)})
	}
	for _, draft := range append([]history.Draft{history.Started(w.Kind, req.Input)}, facts...) {
		if err := tx.Append(w, draft); err != nil {
			return nil, err
		}
	}
	return w, e.MakeRunnable(tx, w)
}

func newExecution(tx *postgres.Tx, id flovyn.ExecutionID, req *StartRequest) *flovyn.WorkflowExecution {
	return &flovyn.WorkflowExecution{
		ID: id, Org: req.Org, Kind: req.Kind, Queue: req.Queue, Status: flovyn.WorkflowPending,
		HistoryMonth: flovyn.HistoryMonth(tx.Now()), Priority: req.Priority, Version: req.Version,
		IdempotencyKey: req.IdempotencyKey, Metadata: req.metadata, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		Traceparent: req.trace,
	}
}

// ChildRequest asks for a child of a running execution.
type ChildRequest struct {
	Org      flovyn.OrgID
	Parent   flovyn.ExecutionID
	Name     string
	Kind     string
	Queue    string
	Input    []byte
	Priority time.Duration
}

// StartChild creates a child execution from outside its parent's code. The
// parent is told as if it had asked for it.
func (e *Engine) StartChild(ctx context.Context, req ChildRequest) (flovyn.ExecutionID, error) {
	if err := CheckName("child_execution_name", req.Name, true); err != nil {
		return flovyn.ExecutionID{}, err
	}
	start := StartRequest{Org: req.Org, Kind: req.Kind, Input: req.Input, Priority: req.Priority, Queue: req.Queue}
	if err := e.checkStart(&start); err != nil {
		return flovyn.ExecutionID{}, err
	}
	id := flovyn.ExecutionID(flovyn.NewUUID())
	err := e.store.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{req.Parent}}, func(tx *postgres.Tx) error {
		parent, err := tx.Execution(req.Org, req.Parent)
		if err != nil {
			return err
		}
		if parent.Status.Terminal() {
			return fault.New(fault.Precondition, "the parent execution has ended")
		}
		child := history.ScheduleChild{
			ID: id, Name: req.Name, Kind: req.Kind, Queue: childQueue(req.Queue, parent), Input: start.Input, Priority: req.Priority,
		}
		asked := history.ChildAsked(child)
		if err := e.room(parent, asked); err != nil {
			return err
		}
		if err := e.Tell(tx, parent, asked); err != nil {
			return err
		}
		return e.createChild(tx, parent, child)
	})
	return id, err
}

// childQueue is the parent's queue unless another one is named: SDKs send an
// empty or the default queue when the workflow named none.
func childQueue(queue string, parent *flovyn.WorkflowExecution) string {
	if queue == "" || queue == flovyn.DefaultQueue {
		return parent.Queue
	}
	return queue
}

func (e *Engine) createChild(tx *postgres.Tx, parent *flovyn.WorkflowExecution, c history.ScheduleChild) error {
	child := newExecution(tx, c.ID, &StartRequest{Org: parent.Org, Kind: c.Kind, Queue: c.Queue, Priority: c.Priority, trace: parent.Traceparent})
	child.Parent, child.ChildName = parent.ID, c.Name
	tx.InsertExecution(child)
	if err := tx.Append(child, history.Started(c.Kind, c.Input)); err != nil {
		return err
	}
	if err := e.MakeRunnable(tx, child); err != nil {
		return err
	}
	if child.Status == flovyn.WorkflowRunning && !parent.Status.Terminal() {
		return tx.Append(parent, history.ChildBegan(child))
	}
	return nil
}
