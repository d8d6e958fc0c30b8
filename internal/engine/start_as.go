package engine

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// StartAs is Start under an id that the server chose before, and wrote down: when
// there is an execution of that id, it has been started already.
func (e *Engine) StartAs(ctx context.Context, id flovyn.ExecutionID, req StartRequest) error {
	if err := e.checkStart(&req); err != nil {
		return err
	}
	touch := req.touch()
	touch.Executions = []flovyn.ExecutionID{id}
	err := e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		if taken, err := tx.ExecutionTaken(id); err != nil || taken {
			return err
		}
		_, err := e.create(tx, id, &req)
		return err
	})
	if fault.Is(err, fault.Exists) { // another server was faster
		return nil
	}
	return err
}
