package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Execution returns a workflow execution of the organization.
func (s *Store) Execution(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, error) {
	r, err := s.q.ExecutionGet(ctx, s.pool, id.UUID(), org.UUID())
	e, err := row(r, err, executionOf)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "workflow execution %s not found", id)
	}
	return e, err
}

// Events returns the whole history of an execution of the organization.
func (s *Store) Events(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) ([]history.Event, error) {
	e, err := s.Execution(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return s.eventsOf(ctx, e)
}

func (s *Store) eventsOf(ctx context.Context, e *flovyn.WorkflowExecution) ([]history.Event, error) {
	id := e.ID
	h := s.cache.entry(id)
	known := h.snapshot()
	s.cache.used(len(known) >= int(e.LastSeq))
	if len(known) >= int(e.LastSeq) {
		return known, nil
	}
	rows, err := s.q.EventsAfter(ctx, s.pool, []uuid.UUID{id.UUID()}, []int32{e.HistoryMonth}, []int32{int32(len(known))})
	if err != nil {
		return nil, fmt.Errorf("reading a history: %w", translate(err))
	}
	fresh := make([]history.Event, len(rows))
	for i, r := range rows {
		fresh[i] = eventOf(r)
	}
	s.cache.extend(h, fresh)
	return append(known, fresh...), nil
}

// State returns what the history of an execution means.
func (s *Store) State(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*history.State, error) {
	events, err := s.Events(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return history.Fold(id, events)
}

// Traces returns the traces that executions belong to, of those that are the
// organization's and belong to one.
func (s *Store) Traces(ctx context.Context, org flovyn.OrgID, ids []flovyn.ExecutionID) (map[flovyn.ExecutionID]string, error) {
	plain := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		plain[i] = id.UUID()
	}
	rows, err := s.q.ExecutionTraces(ctx, s.pool, plain, org.UUID())
	if err != nil {
		return nil, fmt.Errorf("looking up traces: %w", translate(err))
	}
	traces := make(map[flovyn.ExecutionID]string, len(rows))
	for _, r := range rows {
		traces[flovyn.ExecutionID(r.ID)] = r.Traceparent
	}
	return traces, nil
}

// EnsureHistoryPartitions makes the partitions of the coming months.
func (s *Store) EnsureHistoryPartitions(ctx context.Context, ahead int) error {
	_, err := s.q.HistoryPartitionsEnsure(ctx, s.pool, int32(ahead))
	for tries := 0; tries < maxTries && tableExists(err); tries++ { // another server was faster
		_, err = s.q.HistoryPartitionsEnsure(ctx, s.pool, int32(ahead))
	}
	if err != nil {
		return fmt.Errorf("making history partitions: %w", translate(err))
	}
	return nil
}

// DueTimers lists timers whose time has come, the oldest first.
func (s *Store) DueTimers(ctx context.Context, limit int) ([]flovyn.Timer, error) {
	rows, err := s.q.TimersDue(ctx, s.pool, int32(limit))
	if err != nil {
		return nil, fmt.Errorf("looking for due timers: %w", translate(err))
	}
	timers := make([]flovyn.Timer, len(rows))
	for i, r := range rows {
		timers[i] = timerOf(r)
	}
	return timers, nil
}

// NextTimer returns how long it is until a timer is due; ok is false when
// there is none.
func (s *Store) NextTimer(ctx context.Context) (in time.Duration, ok bool, err error) {
	r, err := s.q.TimerNext(ctx, s.pool)
	if err != nil {
		return 0, false, fmt.Errorf("looking for the next timer: %w", translate(err))
	}
	return time.Duration(r.Seconds * float64(time.Second)), !r.None, nil
}

// FindPromiseByName returns the promise of an execution that goes by a name:
// the newest unsettled one, else the newest.
func (s *Store) FindPromiseByName(ctx context.Context, org flovyn.OrgID, e flovyn.ExecutionID, name string) (flovyn.PromiseID, error) {
	id, err := s.q.PromiseFindByName(ctx, s.pool, org.UUID(), e.UUID(), name)
	return flovyn.PromiseID(id), translate(err)
}

// FindKey returns what a live idempotency key stands for.
func (s *Store) FindKey(ctx context.Context, key flovyn.Key) (uuid.UUID, error) {
	id, err := s.q.KeyGet(ctx, s.pool, key.Org.UUID(), string(key.Scope), key.Name)
	return id, translate(err)
}

// DeleteExpiredKeys deletes up to limit idempotency keys whose time is over and
// returns how many.
func (s *Store) DeleteExpiredKeys(ctx context.Context, limit int) (int, error) {
	n, err := s.q.KeysDeleteExpired(ctx, s.pool, int32(limit))
	return int(n), translate(err)
}
