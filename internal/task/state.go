package task

import (
	"context"
	"encoding/json"
	"time"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/live"
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
	task, err := t.store.Task(ctx, org, id)
	if err != nil {
		return err
	}
	t.engine.Say(&live.Frame{Topic: topicOf(task), Event: frame.Type, Data: frame.text(), Task: id, At: frame.At})
	return nil
}

// topicOf is where a task is watched: with its workflow, if it has one.
func topicOf(t *flovyn.TaskExecution) live.Topic {
	if t.Standalone() {
		return live.Task(t.Org, t.ID)
	}
	return live.Workflow(t.Org, t.Workflow)
}

// text is what watchers receive of a frame: the text of a token or error, the
// number of progress, and data byte for byte. A payload of another shape is passed
// on as it is.
func (f *Frame) text() string {
	var payload struct {
		Text     *string         `json:"text"`
		Progress json.RawMessage `json:"progress"`
		Data     json.RawMessage `json:"data"`
		Message  *string         `json:"message"`
	}
	if json.Unmarshal(f.Payload, &payload) != nil {
		return string(f.Payload)
	}
	switch {
	case f.Type == live.Token && payload.Text != nil:
		return *payload.Text
	case f.Type == live.Error && payload.Message != nil:
		return *payload.Message
	case f.Type == live.Progress && len(payload.Progress) > 0:
		return string(payload.Progress)
	case f.Type == live.Data && len(payload.Data) > 0:
		return string(payload.Data)
	}
	return string(f.Payload)
}
