package worker

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// List lists workers by name; an empty type stands for every type.
func (r *Registry) List(ctx context.Context, org flovyn.OrgID, workerType string, limit, offset int) ([]postgres.WorkerView, error) {
	return r.cfg.Store.ViewWorkers(ctx, org, workerType, limit, offset)
}

// Get returns a worker.
func (r *Registry) Get(ctx context.Context, org flovyn.OrgID, id flovyn.WorkerID) (postgres.WorkerView, error) {
	return r.cfg.Store.ViewWorker(ctx, org, id)
}

// OfKind lists, by name, the workers that can execute a kind.
func (r *Registry) OfKind(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string, limit int) ([]postgres.WorkerView, error) {
	return r.cfg.Store.WorkersOfKind(ctx, org, class, kind, limit)
}

// Definitions lists definitions by kind, with how many of their workers are
// online.
func (r *Registry) Definitions(ctx context.Context, q postgres.DefinitionQuery) ([]postgres.DefinitionView, error) {
	return r.cfg.Store.ViewDefinitions(ctx, q)
}

// InputSchema returns the JSON Schema of a kind's input, nil when nobody
// registered one.
func (r *Registry) InputSchema(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string) ([]byte, error) {
	return r.cfg.Store.InputSchema(ctx, org, class, kind)
}
