// Package task is what can be done with task executions: units of work outside
// a workflow's deterministic code, or on their own.
//
// A task of a workflow that ends for good tells its workflow in the same
// commit; until then it may be tried 1 + MaxRetries times. A result for a task
// that no longer runs is ignored without an error, because the worker that
// sends it can do nothing about it.
//
// A task whose attempts are lost several times in a row, because its workers fall
// silent while they have it, is parked until somebody releases or cancels it.
package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/live"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// Tasks runs task executions. Methods are safe for concurrent use.
type Tasks struct {
	store  *postgres.Store
	engine *engine.Engine
	log    *slog.Logger
}

// New makes the use-cases of tasks.
func New(store *postgres.Store, e *engine.Engine, log *slog.Logger) *Tasks {
	return &Tasks{store: store, engine: e, log: log}
}

// SubmitRequest asks for a task on behalf of a client.
type SubmitRequest struct {
	Org flovyn.OrgID
	// Workflow must be zero: the tasks of a workflow are scheduled by its code,
	// in its history.
	Workflow flovyn.ExecutionID
	Kind     string
	Input    []byte
	// Queue defaults to flovyn.DefaultQueue.
	Queue string
	// MaxRetries of zero stands for flovyn.DefaultMaxRetries, unless NoRetries.
	MaxRetries     int32
	NoRetries      bool
	Timeout        time.Duration
	Metadata       map[string]string
	IdempotencyKey string
	KeyTTL         time.Duration
	// SameKind refuses, as Exists, a key that stands for a task of another kind.
	SameKind bool

	metadata []byte
	// trace is the one that the request belongs to.
	trace string
}

// SubmitResult names the task that a request created or found.
type SubmitResult struct {
	ID              flovyn.TaskID
	KeyUsed, KeyNew bool
}

func (t *Tasks) checkSubmit(req *SubmitRequest) (err error) {
	if !req.Workflow.IsZero() {
		return fault.InvalidField("workflow_execution_id", "must be empty: a workflow's tasks are scheduled by its own code")
	}
	if err := engine.CheckName("kind", req.Kind, true); err != nil {
		return err
	}
	if err := engine.CheckName("queue", req.Queue, false); err != nil {
		return err
	}
	if req.MaxRetries < 0 || req.MaxRetries > flovyn.MaxMaxRetries {
		return fault.InvalidField("max_retries", "must be between 0 and %d", flovyn.MaxMaxRetries)
	}
	if req.Timeout < 0 || req.Timeout > flovyn.MaxDelay {
		return fault.InvalidField("timeout_ms", "out of range")
	}
	if req.MaxRetries == 0 && !req.NoRetries {
		req.MaxRetries = flovyn.DefaultMaxRetries
	}
	req.Queue = cmp.Or(req.Queue, flovyn.DefaultQueue)
	if req.KeyTTL, err = engine.CheckKey("idempotency_key", req.IdempotencyKey, req.KeyTTL); err != nil {
		return err
	}
	if req.metadata, err = engine.CheckMetadata(req.Metadata); err != nil {
		return err
	}
	req.Input, err = history.Payload("input", req.Input, t.engine.MaxPayload())
	return err
}

// Submit creates a standalone task, or finds the one that the idempotency key
// stands for.
func (t *Tasks) Submit(ctx context.Context, req SubmitRequest) (SubmitResult, error) {
	if err := t.checkSubmit(&req); err != nil {
		return SubmitResult{}, err
	}
	req.trace = trace.Parent(ctx)
	fresh := flovyn.TaskID(flovyn.NewUUID())
	keyed := req.IdempotencyKey != ""
	key := flovyn.Key{Org: req.Org, Scope: flovyn.KeyTask, Name: req.IdempotencyKey}
	var touch postgres.Touch
	if keyed {
		touch.Keys = []flovyn.Key{key}
	}
	var result SubmitResult
	err := t.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		result = SubmitResult{ID: fresh, KeyUsed: keyed, KeyNew: keyed}
		if keyed {
			id, known, err := tx.KeyTarget(key)
			if err != nil {
				return err
			}
			if known {
				result.ID, result.KeyNew = flovyn.TaskID(id), false
				return t.checkKind(tx, &req, result.ID)
			}
			tx.SetKey(key, flovyn.KeyTarget{ID: fresh.UUID(), ExpiresAt: tx.Now().Add(req.KeyTTL)})
		}
		t.create(tx, fresh, &req)
		return nil
	})
	if err != nil { // the step of a caller who went away may still write the result
		return SubmitResult{}, err
	}
	return result, nil
}

// checkKind refuses a key that stands for a task of another kind, if so asked.
func (t *Tasks) checkKind(tx *postgres.Tx, req *SubmitRequest, id flovyn.TaskID) error {
	if !req.SameKind {
		return nil
	}
	task, err := tx.Task(req.Org, id)
	if err == nil && task.Kind != req.Kind {
		err = fault.New(fault.Exists, "the idempotency key stands for a task of kind %q", task.Kind)
	}
	return err
}

func (t *Tasks) create(tx *postgres.Tx, id flovyn.TaskID, req *SubmitRequest) {
	task := &flovyn.TaskExecution{
		ID: id, Org: req.Org, Kind: req.Kind, Queue: req.Queue, Status: flovyn.TaskPending, MaxRetries: req.MaxRetries,
		Timeout: req.Timeout, IdempotencyKey: req.IdempotencyKey, Metadata: req.metadata, CreatedAt: tx.Now(),
		Traceparent: req.trace,
	}
	tx.InsertTask(task, req.Input)
	if req.Timeout > 0 {
		t.engine.SetTimer(tx, req.Org, deadline(task), req.Timeout)
	}
	t.engine.MakeTaskRunnable(tx, task, history.OrNull(req.Input))
}

// deadline is the timer of a task's timeout.
func deadline(t *flovyn.TaskExecution) flovyn.TimerKey {
	owner := t.Workflow.UUID()
	if t.Standalone() {
		owner = t.ID.UUID()
	}
	return flovyn.TimerKey{Owner: owner, Kind: flovyn.TimerTask, Name: t.ID.String()}
}

// Poll waits up to hold for a runnable task of a queue and claims it for the
// poller. It returns nil when none came.
func (t *Tasks) Poll(ctx context.Context, key wake.Key, p wake.Poller, hold time.Duration) (*flovyn.Assignment, error) {
	return t.engine.PollTask(ctx, key, p, hold)
}

// Return undoes the claim of a task that reached nobody.
func (t *Tasks) Return(ctx context.Context, a flovyn.Assignment) { t.engine.ReturnTask(ctx, a) }

// change runs do on a task, together with the workflow it belongs to.
func (t *Tasks) change(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, do func(*postgres.Tx, *flovyn.TaskExecution) error) error {
	return t.store.Do(ctx, postgres.Touch{Tasks: []flovyn.TaskID{id}}, func(tx *postgres.Tx) error {
		task, err := tx.Task(org, id)
		if err != nil {
			return err
		}
		return do(tx, task)
	})
}

// Complete takes the result of a task.
func (t *Tasks) Complete(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, output []byte) error {
	output, err := history.Payload("output", output, t.engine.MaxPayload())
	if err != nil {
		return err
	}
	return t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		if task.Status != flovyn.TaskRunning {
			return nil
		}
		if task.Standalone() {
			tx.SetTaskOutput(task, output)
		}
		return t.end(tx, task, flovyn.TaskCompleted, "", history.TaskDone(task.ID, output))
	})
}

// end closes a task and tells its workflow.
func (t *Tasks) end(tx *postgres.Tx, task *flovyn.TaskExecution, status flovyn.TaskStatus, errorText string, facts ...history.Draft) error {
	if task.Status == flovyn.TaskPending {
		tx.UnlistTask(task.ID)
	}
	task.Status, task.Error, task.EndedAt = status, errorText, tx.Now()
	task.ParkedAt, task.ParkedReason = time.Time{}, ""
	t.traceEnd(tx, task)
	tx.UpdateTask(task)
	if task.Timeout > 0 {
		tx.DropTimer(deadline(task))
	}
	if task.Standalone() {
		return nil
	}
	w, err := tx.Execution(task.Org, task.Workflow)
	if err != nil {
		return err
	}
	return t.engine.Tell(tx, w, facts...)
}

// traceEnd sends the span of a task, from when it was made to its end.
func (t *Tasks) traceEnd(tx *postgres.Tx, task *flovyn.TaskExecution) {
	if !t.engine.Tracer().Enabled() || task.Traceparent == "" {
		return
	}
	span := trace.Span{
		Parent: task.Traceparent, Name: "task." + strings.ToLower(string(task.Status)), Start: task.CreatedAt, End: task.EndedAt,
		Attributes: map[string]any{
			"tenant.id": task.Org.String(), "task.id": task.ID.String(), "task.type": task.Kind,
			"execution_count": task.Attempt, "total_duration_ms": task.EndedAt.Sub(task.CreatedAt),
		},
	}
	if !task.Standalone() {
		span.Attributes["workflow.id"] = task.Workflow.String()
	}
	if !task.StartedAt.IsZero() {
		span.Attributes["pending_duration_ms"] = task.StartedAt.Sub(task.CreatedAt)
		span.Attributes["running_duration_ms"] = task.EndedAt.Sub(task.StartedAt)
	}
	if task.Status == flovyn.TaskFailed {
		span.Error = errTaskFailed
	}
	tx.OnCommit(func() { t.engine.Tracer().Record(span) })
}

// errTaskFailed marks spans. What the task itself said may be a customer's.
var errTaskFailed = errors.New("the task failed")

// Fail takes the failure of an attempt: the task is tried again while it has
// attempts left, and ends otherwise.
func (t *Tasks) Fail(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, errorText string) error {
	errorText = history.FreeText(errorText, t.engine.MaxPayload())
	return t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		if task.Status != flovyn.TaskRunning {
			return nil
		}
		return t.failAttempt(tx, task, flovyn.AttemptFailed, errorText)
	})
}

func (t *Tasks) failAttempt(tx *postgres.Tx, task *flovyn.TaskExecution, how flovyn.AttemptStatus, errorText string) error {
	if over, err := t.engine.Over(tx, task); err != nil {
		return err
	} else if over {
		return t.end(tx, task, flovyn.TaskCancelled, "the workflow ended")
	}
	if task.Attempt > task.MaxRetries {
		return t.end(tx, task, flovyn.TaskFailed, errorText, history.TaskGaveUp(task.ID, errorText, task.Attempt))
	}
	tx.AddAttempt(flovyn.Attempt{
		Task: task.ID, Org: task.Org, Number: task.Attempt, Status: how, Error: errorText,
		WorkerID: task.WorkerID, StartedAt: task.ClaimedAt, EndedAt: tx.Now(),
	})
	task.Error = errorText
	if how == flovyn.AttemptLost && t.lose(tx, task) {
		return nil
	}
	if how != flovyn.AttemptLost {
		task.Lost = 0
	}
	t.engine.MakeTaskRunnable(tx, task, nil)
	return nil
}

// Cancel ends a task that waits or runs. Cancelling twice is no error;
// cancelling what ended otherwise is Precondition.
func (t *Tasks) Cancel(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, reason string) error {
	reason = history.FreeText(reason, t.engine.MaxPayload())
	return t.change(ctx, org, id, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		switch {
		case task.Status == flovyn.TaskCancelled:
			return nil
		case task.Status.Terminal():
			return fault.New(fault.Precondition, "the task has ended (%s)", task.Status)
		}
		return t.cancel(tx, task, reason)
	})
}

func (t *Tasks) cancel(tx *postgres.Tx, task *flovyn.TaskExecution, reason string) error {
	text := "Task cancelled"
	if reason != "" {
		text += ": " + reason
	}
	return t.end(tx, task, flovyn.TaskCancelled, text,
		history.TaskWithdrawn(task.ID, task.Kind, reason), history.TaskGaveUp(task.ID, text, task.Attempt))
}

// Expire ends a task whose deadline has come, for good.
func (t *Tasks) Expire(ctx context.Context, timer flovyn.Timer) error {
	parsed, err := uuid.Parse(timer.Name)
	if err != nil {
		return fault.Bug("a timer names task %q", timer.Name)
	}
	id := flovyn.TaskID(parsed)
	err = t.store.Do(ctx, postgres.Touch{Tasks: []flovyn.TaskID{id}}, func(tx *postgres.Tx) error {
		tx.DropTimer(timer.TimerKey)
		task, err := tx.Task(timer.Org, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil || task.Status.Terminal() {
			return err
		}
		text := fmt.Sprintf("Task timed out after %s", task.Timeout)
		return t.end(tx, task, flovyn.TaskFailed, text, history.TaskGaveUp(task.ID, text, task.Attempt))
	})
	if err != nil {
		return fmt.Errorf("expiring task %s: %w", id, err)
	}
	return nil
}

// Reclaim takes a task back from a worker that gives no sign of life.
func (t *Tasks) Reclaim(ctx context.Context, stale postgres.StaleTask) error {
	err := t.change(ctx, stale.Org, stale.ID, func(tx *postgres.Tx, task *flovyn.TaskExecution) error {
		if task.Status != flovyn.TaskRunning || !task.ClaimedAt.Equal(stale.ClaimedAt) {
			return nil
		}
		t.log.Warn("taking back a task from a silent worker", "task", task.ID, "kind", task.Kind, "worker", task.WorkerID)
		return t.failAttempt(tx, task, flovyn.AttemptLost, "the worker that ran the task fell silent")
	})
	if err != nil {
		return fmt.Errorf("reclaiming task %s: %w", stale.ID, err)
	}
	return nil
}

// Heartbeat notes a sign of life of a running task; one that was cancelled or
// has ended is Precondition, so that the worker can stop.
func (t *Tasks) Heartbeat(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	running, err := t.store.HeartbeatTask(ctx, org, id)
	if err != nil || running {
		return err
	}
	task, err := t.store.Task(ctx, org, id)
	if err != nil {
		return err
	}
	return fault.New(fault.Precondition, "the task does not run (%s)", task.Status)
}

// ReportProgress stores how far a running task is. progress is a fraction, by
// convention from 0 to 1. A task that has ended keeps what it had.
func (t *Tasks) ReportProgress(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, progress float64, details string) error {
	if math.IsNaN(progress) || math.IsInf(progress, 0) {
		return fault.InvalidField("progress", "not a finite number")
	}
	details = history.FreeText(details, t.engine.MaxPayload())
	running, err := t.store.SetTaskProgress(ctx, org, id, progress, details)
	if err != nil {
		return err
	}
	task, err := t.store.Task(ctx, org, id)
	if err != nil || !running {
		return err
	}
	t.engine.Say(&live.Frame{
		Topic: topicOf(task), Event: live.Progress, Data: strconv.FormatFloat(progress, 'g', -1, 64), Task: id,
		At: time.Now(), //nolint:forbidigo // when it was said; nothing is decided by it
	})
	return nil
}

func (t *Tasks) exists(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	_, err := t.store.Task(ctx, org, id)
	return err
}

// Locate returns the organization of a task. Only callers that no organization
// binds may use it: while authentication is switched off.
func (t *Tasks) Locate(ctx context.Context, id flovyn.TaskID) (flovyn.OrgID, error) {
	return t.store.OrgOfTask(ctx, id)
}
