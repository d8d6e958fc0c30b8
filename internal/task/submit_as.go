package task

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// SubmitAs is Submit under an id that the server chose before, and wrote down:
// when there is a task of that id, it has been created already.
func (t *Tasks) SubmitAs(ctx context.Context, id flovyn.TaskID, req SubmitRequest) error {
	if err := t.checkSubmit(&req); err != nil {
		return err
	}
	err := t.store.Do(ctx, postgres.Touch{Tasks: []flovyn.TaskID{id}}, func(tx *postgres.Tx) error {
		if taken, err := tx.TaskTaken(id); err != nil || taken {
			return err
		}
		t.create(tx, id, &req)
		return nil
	})
	if fault.Is(err, fault.Exists) { // another server was faster
		return nil
	}
	return err
}
