package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// ClaimExecutions takes up to len(workers) runnable executions of a queue off
// the backlog, one for each named worker. kinds restricts them unless empty.
// Fewer than asked mean that the backlog has no more, or, rarely, that others
// were about to take what it has; the sweep of the backlog makes up for that.
func (s *Store) ClaimExecutions(ctx context.Context, org flovyn.OrgID, queue string, kinds, workers []string) ([]flovyn.Activation, error) {
	var rows []*pgq.ExecutionsClaimRow
	err := s.claim(ctx, func(ctx context.Context, db pgq.DBTX) (err error) {
		rows, err = s.q.ExecutionsClaim(ctx, db, &pgq.ExecutionsClaimParams{
			OrgID: org.UUID(), Queue: queue, Kinds: orEmpty(kinds), WorkerIds: workers,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claiming workflow executions: %w", translate(err))
	}
	activations := make([]flovyn.Activation, len(rows))
	changes := make([]Change, len(rows))
	for i, r := range rows {
		e := executionOf(&r.WorkflowExecution)
		activations[i] = flovyn.Activation{Execution: *e, Input: history.Member(r.StartedData, "input"), Now: e.ClaimedAt, Waited: r.Waited}
		changes[i] = Change{e.Org, flovyn.ClassWorkflow, e.ID.UUID(), e.LastSeq + 1}
	}
	s.saw(changes)
	return activations, nil
}

// ClaimTasks is ClaimExecutions for tasks.
func (s *Store) ClaimTasks(ctx context.Context, org flovyn.OrgID, queue string, kinds, workers []string) ([]flovyn.Assignment, error) {
	var rows []*pgq.TasksClaimRow
	err := s.claim(ctx, func(ctx context.Context, db pgq.DBTX) (err error) {
		rows, err = s.q.TasksClaim(ctx, db, &pgq.TasksClaimParams{
			OrgID: org.UUID(), Queue: queue, Kinds: orEmpty(kinds), WorkerIds: workers,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claiming tasks: %w", translate(err))
	}
	assignments := make([]flovyn.Assignment, len(rows))
	var changes []Change
	for i, r := range rows {
		input := r.PayloadInput
		if r.TaskExecution.WorkflowID != nil {
			input = history.Member(r.ScheduledData, "input")
		}
		assignments[i] = flovyn.Assignment{Task: *taskOf(&r.TaskExecution), Input: input, Waited: r.Waited}
		if t := &assignments[i].Task; t.Standalone() {
			changes = append(changes, Change{t.Org, flovyn.ClassTask, t.ID.UUID(), 1})
		}
	}
	s.saw(changes)
	return assignments, nil
}

// claim commits without waiting for the disk: a claim lost in a crash leaves
// the work runnable.
func (s *Store) claim(ctx context.Context, take statement) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = pipeline(ctx, conn.Conn(), []statement{
		plain("BEGIN"), plain("SET LOCAL synchronous_commit = off"), take, plain("COMMIT"),
	})
	if err != nil {
		s.rollback(ctx, conn)
	}
	return err
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Backlog names a queue that has runnable work.
type Backlog struct {
	Class flovyn.Class
	Org   flovyn.OrgID
	Queue string
}

// Backlogs lists the queues that have runnable work.
func (s *Store) Backlogs(ctx context.Context) ([]Backlog, error) {
	rows, err := s.q.ReadyQueues(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("listing the backlog: %w", translate(err))
	}
	backlogs := make([]Backlog, len(rows))
	for i, r := range rows {
		backlogs[i] = Backlog{flovyn.Class(r.Class), flovyn.OrgID(r.OrgID), r.Queue}
	}
	return backlogs, nil
}

// BacklogSample is how much work of a queue waits.
type BacklogSample struct {
	Backlog
	// Depth is how much, as far as it was counted.
	Depth int
	// Age is how long what is next has waited.
	Age time.Duration
}

// SampleBacklogs measures at most so many queues that have runnable work, and
// counts no further than most in each.
func (s *Store) SampleBacklogs(ctx context.Context, queues, most int) ([]BacklogSample, error) {
	rows, err := s.q.ReadySample(ctx, s.pool, int32(most), int32(queues))
	if err != nil {
		return nil, fmt.Errorf("measuring the backlog: %w", translate(err))
	}
	samples := make([]BacklogSample, len(rows))
	for i, r := range rows {
		samples[i] = BacklogSample{Backlog{flovyn.Class(r.Class), flovyn.OrgID(r.OrgID), r.Queue}, int(r.Depth), r.Age}
	}
	return samples, nil
}

// StaleExecution is an activation that a worker has held for too long.
type StaleExecution struct {
	Org       flovyn.OrgID
	ID        flovyn.ExecutionID
	ClaimedAt time.Time
}

// StaleExecutions lists activations that began longer than age ago.
func (s *Store) StaleExecutions(ctx context.Context, age time.Duration, limit int) ([]StaleExecution, error) {
	rows, err := s.q.ExecutionsStale(ctx, s.pool, age, int32(limit))
	if err != nil {
		return nil, fmt.Errorf("looking for stale activations: %w", translate(err))
	}
	stale := make([]StaleExecution, len(rows))
	for i, r := range rows {
		stale[i] = StaleExecution{flovyn.OrgID(r.OrgID), flovyn.ExecutionID(r.ID), timeOf(r.ClaimedAt)}
	}
	return stale, nil
}

// StaleTask is a running task without a sign of life.
type StaleTask struct {
	Org       flovyn.OrgID
	ID        flovyn.TaskID
	WorkerID  string
	ClaimedAt time.Time
	// Silence is how long ago the task's last sign of life was: its claim, a
	// heartbeat, or progress.
	Silence time.Duration
}

// StaleTasks lists running tasks whose own last sign of life is longer than age
// ago: a page of those whose id is greater than after.
func (s *Store) StaleTasks(ctx context.Context, age time.Duration, after flovyn.TaskID, limit int) ([]StaleTask, error) {
	rows, err := s.q.TasksStale(ctx, s.pool, age, after.UUID(), int32(limit))
	if err != nil {
		return nil, fmt.Errorf("looking for stale tasks: %w", translate(err))
	}
	stale := make([]StaleTask, len(rows))
	for i, r := range rows {
		stale[i] = StaleTask{flovyn.OrgID(r.OrgID), flovyn.TaskID(r.ID), r.WorkerID, timeOf(r.ClaimedAt), r.Silence}
	}
	return stale, nil
}
