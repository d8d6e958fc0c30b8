package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// TaskFunc does the work of a task: anything at all, once more after a failure.
// What it returns is encoded as JSON; an error is an attempt that failed, after
// which the server tries again until the task's retries are used up. The context
// ends when the task is cancelled or the worker's grace period is over.
type TaskFunc func(ctx context.Context, t *Task) (any, error)

// TypedTask makes a TaskFunc of a function with types: the input is decoded
// before it is called.
func TypedTask[In, Out any](fn func(ctx context.Context, t *Task, input In) (Out, error)) TaskFunc {
	return func(ctx context.Context, t *Task) (any, error) {
		var input In
		if err := t.Decode(&input); err != nil {
			return nil, err
		}
		return fn(ctx, t, input)
	}
}

// ErrTaskGone is the cause of a task's context when the server has given the task
// up: it was cancelled, has timed out, or has ended elsewhere.
var ErrTaskGone = errors.New("the task is no longer wanted")

// Task is one attempt at a task.
type Task struct {
	ID   string
	Kind string
	// WorkflowID is the execution that asked for the task, empty for none.
	WorkflowID string
	Queue      string
	// Attempt counts from 1.
	Attempt int
	// Input is JSON.
	Input json.RawMessage

	worker   *Worker
	streamed atomic.Int32
}

// Decode decodes the task's input into the given pointer.
func (t *Task) Decode(into any) error {
	if err := json.Unmarshal(orNull(t.Input), into); err != nil {
		return fmt.Errorf("decoding the input of task %s: %w", t.Kind, err)
	}
	return nil
}

// Progress tells how far the task is, from 0 to 1.
func (t *Task) Progress(ctx context.Context, fraction float64, details string) error {
	_, err := t.worker.client.Tasks.ReportProgress(ctx, &flovynv1.ReportProgressRequest{
		TaskExecutionId: t.ID, Progress: fraction, Details: text(details),
	})
	return t.wrap("reporting progress", err)
}

// Log writes to the task's log on the server.
func (t *Task) Log(ctx context.Context, level slog.Level, message string) error {
	_, err := t.worker.client.Tasks.LogMessage(ctx, &flovynv1.LogMessageRequest{
		TaskExecutionId: t.ID, Level: level.String(), Message: text(message),
	})
	return t.wrap("logging", err)
}

// State decodes a key of the task's state into the given pointer, and reports
// whether it is set. The state outlives the attempt.
func (t *Task) State(ctx context.Context, key string, into any) (bool, error) {
	resp, err := t.worker.client.Tasks.GetState(ctx, &flovynv1.GetStateRequest{TaskExecutionId: t.ID, Key: key})
	if err != nil || !resp.GetFound() {
		return false, t.wrap("getting the state", err)
	}
	return true, t.wrap("decoding the state", json.Unmarshal(orNull(resp.GetValue()), into))
}

// SetState sets a key of the task's state. The value is encoded as JSON.
func (t *Task) SetState(ctx context.Context, key string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return t.wrap("encoding the state", err)
	}
	_, err = t.worker.client.Tasks.SetState(ctx, &flovynv1.SetStateRequest{TaskExecutionId: t.ID, Key: key, Value: encoded})
	return t.wrap("setting the state", err)
}

// ClearState removes a key of the task's state.
func (t *Task) ClearState(ctx context.Context, key string) error {
	_, err := t.worker.client.Tasks.ClearState(ctx, &flovynv1.ClearStateRequest{TaskExecutionId: t.ID, Key: key})
	return t.wrap("clearing the state", err)
}

// StreamToken shows a piece of text to whoever watches the task just now.
func (t *Task) StreamToken(ctx context.Context, token string) error {
	return t.stream(ctx, flovynv1.StreamEventType_TOKEN, map[string]any{"type": "token", "text": token})
}

// StreamData shows a value to whoever watches the task just now.
func (t *Task) StreamData(ctx context.Context, value any) error {
	return t.stream(ctx, flovynv1.StreamEventType_DATA, map[string]any{"type": "data", "data": value})
}

func (t *Task) stream(ctx context.Context, kind flovynv1.StreamEventType, payload map[string]any) error {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return t.wrap("encoding what to stream", err)
	}
	_, err = t.worker.client.Tasks.StreamTaskData(ctx, &flovynv1.StreamTaskDataRequest{
		TaskExecutionId: t.ID, WorkflowExecutionId: t.WorkflowID, Type: kind, Payload: string(encoded),
		Sequence:    t.streamed.Add(1) - 1,
		TimestampMs: time.Now().UnixMilli(), //nolint:forbidigo // the moment of streaming is what is to be told
	})
	return t.wrap("streaming", err)
}

func (t *Task) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of task %s: %w", doing, t.Kind, err)
}

// takeTask polls for one task and runs it.
func (w *Worker) takeTask(ctx, work context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.PollTimeout+pollSlack)
	defer cancel()
	resp, err := w.client.Tasks.PollTask(ctx, &flovynv1.PollTaskRequest{
		WorkerId: *w.id.Load(), OrgId: w.opts.Org, Queue: w.opts.Queue,
		TimeoutSeconds: int64(w.opts.PollTimeout / time.Second),
	})
	if err != nil || resp.GetTask() == nil {
		return false, err
	}
	info := resp.GetTask()
	w.runTask(work, &Task{
		ID: info.GetTaskExecutionId(), Kind: info.GetKind(), WorkflowID: info.GetWorkflowExecutionId(),
		Queue: info.GetQueue(), Attempt: int(info.GetExecutionCount()), Input: info.GetInput(), worker: w,
	})
	return true, nil
}

func (w *Worker) runTask(ctx context.Context, t *Task) {
	logger := w.logger.With("task_execution_id", t.ID, "kind", t.Kind, "attempt", t.Attempt)
	output, err := w.attempt(ctx, t)
	if err == nil {
		err = w.deliver(ctx, func(ctx context.Context) error {
			_, err := w.client.Tasks.CompleteTask(ctx, &flovynv1.CompleteTaskRequest{TaskExecutionId: t.ID, Output: output})
			return err
		})
		if err == nil {
			return
		}
		if !refused(err) {
			logger.ErrorContext(ctx, "completing a task failed", "error", err)
			return
		}
		err = fmt.Errorf("the server refused the task's output: %w", err)
	}
	logger.WarnContext(ctx, "task attempt failed", "error", err)
	message := text(err.Error())
	err = w.deliver(ctx, func(ctx context.Context) error {
		_, err := w.client.Tasks.FailTask(ctx, &flovynv1.FailTaskRequest{TaskExecutionId: t.ID, Error: message})
		return err
	})
	if err != nil {
		logger.ErrorContext(ctx, "reporting a failed task failed", "error", err)
	}
}

// attempt calls the task's function and encodes its output.
func (w *Worker) attempt(ctx context.Context, t *Task) (output []byte, err error) {
	fn, ok := w.tasks[t.Kind]
	if !ok {
		return nil, fmt.Errorf("the worker %s knows no task %s", w.opts.Name, t.Kind)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w.running.add(t.ID, stop)
	defer w.running.remove(t.ID)
	defer func() {
		if r := recover(); r != nil {
			w.logger.ErrorContext(ctx, "task panicked", "kind", t.Kind, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	value, err := fn(ctx, t)
	if err != nil {
		return nil, err
	}
	if output, err = json.Marshal(value); err != nil {
		return nil, fmt.Errorf("encoding the output: %w", err)
	}
	return output, nil
}

// runningTasks knows how to stop the tasks that run.
type runningTasks struct {
	mu    sync.Mutex
	tasks map[string]context.CancelCauseFunc
}

func (r *runningTasks) add(id string, stop context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tasks == nil {
		r.tasks = map[string]context.CancelCauseFunc{}
	}
	r.tasks[id] = stop
}

func (r *runningTasks) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tasks, id)
}

// all is a copy, so that slow calls do not hold the lock.
func (r *runningTasks) all() iter.Seq2[string, context.CancelCauseFunc] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.All(maps.Clone(r.tasks))
}
