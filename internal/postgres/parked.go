package postgres

import (
	"context"
	"fmt"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// ParkedExecutions lists parked executions of an organization, the longest parked
// first.
func (s *Store) ParkedExecutions(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) ([]*flovyn.WorkflowExecution, error) {
	rows, err := s.q.ExecutionsParked(ctx, s.pool, &pgq.ExecutionsParkedParams{
		OrgID: org.UUID(), AfterAt: q.AfterAt, AfterID: q.AfterID, Ids: orEmpty(q.IDs), Kind: q.Kind, Queue: q.Queue, Max: int32(q.Limit),
	})
	if err != nil {
		return nil, fmt.Errorf("listing parked executions: %w", translate(err))
	}
	parked := make([]*flovyn.WorkflowExecution, len(rows))
	for i, r := range rows {
		parked[i] = executionOf(r)
	}
	return parked, nil
}

// ParkedTasks is ParkedExecutions for tasks.
func (s *Store) ParkedTasks(ctx context.Context, org flovyn.OrgID, q flovyn.ParkedQuery) ([]*flovyn.TaskExecution, error) {
	rows, err := s.q.TasksParked(ctx, s.pool, &pgq.TasksParkedParams{
		OrgID: org.UUID(), AfterAt: q.AfterAt, AfterID: q.AfterID, Ids: orEmpty(q.IDs), Kind: q.Kind, Queue: q.Queue, Max: int32(q.Limit),
	})
	if err != nil {
		return nil, fmt.Errorf("listing parked tasks: %w", translate(err))
	}
	parked := make([]*flovyn.TaskExecution, len(rows))
	for i, r := range rows {
		parked[i] = taskOf(r)
	}
	return parked, nil
}
