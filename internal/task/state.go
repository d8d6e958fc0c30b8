package task

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Log appends a line to a task's log.
func (t *Tasks) Log(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, level, message string) error {
	if err := engine.CheckName("level", level, false); err != nil {
		return err
	}
	return t.store.AddTaskLog(ctx, org, id, level, history.FreeText(message, t.engine.MaxPayload()))
}

// GetState returns the JSON of a key of a task's state.
func (t *Tasks) GetState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string) (value []byte, found bool, err error) {
	value, found, err = t.store.TaskState(ctx, org, id, key)
	if err != nil || found {
		return value, found, err
	}
	return nil, false, t.exists(ctx, org, id)
}

// SetState sets a key of a task's state, which outlives its attempts.
func (t *Tasks) SetState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string, value []byte) error {
	if err := engine.CheckName("key", key, false); err != nil {
		return err
	}
	value, err := history.Payload("value", value, t.engine.MaxPayload())
	if err != nil {
		return err
	}
	return t.store.SetTaskState(ctx, org, id, key, history.OrNull(value))
}

// ClearState removes a key of a task's state; one that is not set is no error.
func (t *Tasks) ClearState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, key string) error {
	if err := t.exists(ctx, org, id); err != nil {
		return err
	}
	return t.store.ClearTaskState(ctx, org, id, key)
}

// ClearAllState removes all of a task's state.
func (t *Tasks) ClearAllState(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) error {
	if err := t.exists(ctx, org, id); err != nil {
		return err
	}
	return t.store.ClearAllTaskState(ctx, org, id)
}

// StateKeys returns the keys of a task's state, sorted.
func (t *Tasks) StateKeys(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) ([]string, error) {
	if err := t.exists(ctx, org, id); err != nil {
		return nil, err
	}
	return t.store.TaskStateKeys(ctx, org, id)
}

// Frame is a piece of live output of a task.
type Frame struct {
	// Sequence is the sender's own count; it may repeat.
	Sequence int32
	// Type is "token", "progress", "data" or "error".
	Type string
	// Payload is JSON with a "type" tag.
	Payload []byte
	At      time.Time
}

// Stream takes live output of a task. It is ephemeral: whoever watches sees it,
// nobody else ever will. It is accepted whatever the task's state, because the
// SDKs surface a refusal to the author of the task.
func (t *Tasks) Stream(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, frame Frame) error {
	if _, err := history.Payload("payload", frame.Payload, t.engine.MaxPayload()); err != nil {
		return err
	}
	return t.exists(ctx, org, id)
}
