package postgres

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

func located(what string, org uuid.UUID, err error) (flovyn.OrgID, error) {
	err = translate(err)
	if fault.Is(err, fault.NotFound) {
		return flovyn.OrgID{}, fault.New(fault.NotFound, "%s not found", what)
	}
	return flovyn.OrgID(org), err
}

// OrgOfExecution returns the organization of a workflow execution.
func (s *Store) OrgOfExecution(ctx context.Context, id flovyn.ExecutionID) (flovyn.OrgID, error) {
	org, err := s.q.OrgOfExecution(ctx, s.pool, id.UUID())
	return located("workflow execution "+id.String(), org, err)
}

// OrgOfTask returns the organization of a task.
func (s *Store) OrgOfTask(ctx context.Context, id flovyn.TaskID) (flovyn.OrgID, error) {
	org, err := s.q.OrgOfTask(ctx, s.pool, id.UUID())
	return located("task execution "+id.String(), org, err)
}

// OrgOfWorker returns the organization of a worker.
func (s *Store) OrgOfWorker(ctx context.Context, id flovyn.WorkerID) (flovyn.OrgID, error) {
	org, err := s.q.OrgOfWorker(ctx, s.pool, id.UUID())
	return located("worker "+id.String(), org, err)
}

// OrgOfPromise returns the organization of a promise, given by its id or as
// <execution>:<name>.
func (s *Store) OrgOfPromise(ctx context.Context, ref string) (flovyn.OrgID, error) {
	if id, err := uuid.Parse(ref); err == nil {
		org, err := s.q.OrgOfPromise(ctx, s.pool, id)
		return located("promise "+ref, org, err)
	}
	execution, _, _ := strings.Cut(strings.ReplaceAll(ref, "/", ":"), ":")
	id, err := uuid.Parse(execution)
	if err != nil {
		return flovyn.OrgID{}, fault.InvalidField("promise_id", "neither a UUID nor <execution>:<name>")
	}
	return s.OrgOfExecution(ctx, flovyn.ExecutionID(id))
}
