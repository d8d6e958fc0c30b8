package postgres

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

func taskNotFound(id flovyn.TaskID) error {
	return fault.New(fault.NotFound, "task execution %s not found", id)
}

// Task returns a task of the organization.
func (s *Store) Task(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (*flovyn.TaskExecution, error) {
	r, err := s.q.TaskGet(ctx, s.pool, id.UUID(), org.UUID())
	t, err := row(r, err, taskOf)
	if fault.Is(err, fault.NotFound) {
		return nil, taskNotFound(id)
	}
	return t, err
}

// TaskPayload returns input and output of a standalone task.
func (s *Store) TaskPayload(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (input, output []byte, err error) {
	r, err := s.q.TaskPayloadGet(ctx, s.pool, id.UUID(), org.UUID())
	if err != nil {
		return nil, nil, translate(err)
	}
	return r.Input, r.Output, nil
}

// HeartbeatTask notes a sign of life; running is false when the task does not
// run (any more).
func (s *Store) HeartbeatTask(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (running bool, err error) {
	n, err := s.q.TaskHeartbeat(ctx, s.pool, id.UUID(), org.UUID())
	return n > 0, translate(err)
}

// SetTaskProgress stores the progress of a running task.
func (s *Store) SetTaskProgress(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, progress float64, details string) (running bool, err error) {
	n, err := s.q.TaskSetProgress(ctx, s.pool, &pgq.TaskSetProgressParams{
		Progress: &progress, Details: details, ID: id.UUID(), OrgID: org.UUID(),
	})
	return n > 0, translate(err)
}

// AddTaskLog appends to a task's log.
func (s *Store) AddTaskLog(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, level, message string) error {
	n, err := s.q.TaskLogInsert(ctx, s.pool, &pgq.TaskLogInsertParams{
		Level: level, Message: message, TaskID: id.UUID(), OrgID: org.UUID(),
	})
	if err == nil && n == 0 {
		return taskNotFound(id)
	}
	return translate(err)
}

// TaskLog is one line of a task's log.
type TaskLog struct {
	Level, Message string
	At             time.Time
}

// TaskLogs returns the first lines of a task's log.
func (s *Store) TaskLogs(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, limit int) ([]TaskLog, error) {
	rows, err := s.q.TaskLogsList(ctx, s.pool, id.UUID(), org.UUID(), int32(limit))
	if err != nil {
		return nil, translate(err)
	}
	logs := make([]TaskLog, len(rows))
	for i, r := range rows {
		logs[i] = TaskLog{r.Level, r.Message, r.LoggedAt}
	}
	return logs, nil
}

// TaskAttempts returns the attempts that did not end a task, in order.
func (s *Store) TaskAttempts(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) ([]flovyn.Attempt, error) {
	rows, err := s.q.TaskAttemptsList(ctx, s.pool, id.UUID(), org.UUID())
	if err != nil {
		return nil, translate(err)
	}
	attempts := make([]flovyn.Attempt, len(rows))
	for i, r := range rows {
		attempts[i] = flovyn.Attempt{
			Task: flovyn.TaskID(r.TaskID), Org: flovyn.OrgID(r.OrgID), Number: r.Attempt, Status: flovyn.AttemptStatus(r.Status),
			Error: r.Error, WorkerID: r.WorkerID, StartedAt: timeOf(r.StartedAt), EndedAt: r.EndedAt,
		}
	}
	return attempts, nil
}

// TaskState returns the JSON of a key of a task's state; ok is false when it is
// not set.
func (s *Store) TaskState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string) (value []byte, ok bool, err error) {
	value, err = s.q.TaskStateGet(ctx, s.pool, id.UUID(), org.UUID(), key)
	err = translate(err)
	if fault.Is(err, fault.NotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}

// SetTaskState sets a key of a task's state.
func (s *Store) SetTaskState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string, value []byte) error {
	n, err := s.q.TaskStateSet(ctx, s.pool, &pgq.TaskStateSetParams{Key: key, Value: value, TaskID: id.UUID(), OrgID: org.UUID()})
	if err == nil && n == 0 {
		return taskNotFound(id)
	}
	return translate(err)
}

// ClearTaskState removes a key of a task's state.
func (s *Store) ClearTaskState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string) error {
	return translate(s.q.TaskStateClear(ctx, s.pool, id.UUID(), org.UUID(), key))
}

// ClearAllTaskState removes all of a task's state.
func (s *Store) ClearAllTaskState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	return translate(s.q.TaskStateClearAll(ctx, s.pool, id.UUID(), org.UUID()))
}

// TaskStateKeys returns the keys of a task's state, sorted.
func (s *Store) TaskStateKeys(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) ([]string, error) {
	keys, err := s.q.TaskStateKeys(ctx, s.pool, id.UUID(), org.UUID())
	return keys, translate(err)
}
