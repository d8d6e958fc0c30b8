package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// dropPatience is how long the drop of a partition waits for whoever reads
// histories. All who come after it wait with it, so it is short, and tried again
// in the next round.
const dropPatience = "1s"

// Purged is what one batch has deleted.
type Purged struct {
	Executions, Tasks int
	// Months are those in whose partitions histories have been left behind.
	Months []int32
}

// PurgeExecutions deletes up to limit executions that ended longer than age ago,
// with everything that belongs to them but their events, which are left for the
// drop of their partition. What is open, or tied to what is open, is not touched.
func (s *Store) PurgeExecutions(ctx context.Context, org flovyn.OrgID, age time.Duration, limit int) (purged Purged, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := s.q.ExpiredExecutionsLock(ctx, tx, org.UUID(), age, int32(limit))
		if err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]uuid.UUID, len(rows))
		months := set[int32]{}
		for i, r := range rows {
			ids[i] = r.ID
			months.add(r.HistoryMonth)
		}
		if err := s.q.ExecutionsPurgeKeys(ctx, tx, ids, org.UUID()); err != nil {
			return err
		}
		tasks, err := s.q.TasksOfExecutions(ctx, tx, ids, org.UUID())
		if err != nil {
			return err
		}
		purged = Purged{Executions: len(ids), Tasks: len(tasks), Months: members(months)}
		if err := s.purgeTasks(ctx, tx, org, tasks); err != nil {
			return err
		}
		for _, purge := range []func(context.Context, pgq.DBTX, []uuid.UUID, uuid.UUID) error{
			s.q.PromisesPurge, s.q.TimersPurge,
			func(ctx context.Context, db pgq.DBTX, ids []uuid.UUID, org uuid.UUID) error {
				_, err := s.q.ExecutionsPurge(ctx, db, ids, org)
				return err
			},
		} {
			if err := purge(ctx, tx, ids, org.UUID()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Purged{}, fmt.Errorf("deleting executions whose time is over: %w", err)
	}
	return purged, nil
}

// PurgeTasks deletes up to limit standalone tasks that ended longer than age ago.
func (s *Store) PurgeTasks(ctx context.Context, org flovyn.OrgID, age time.Duration, limit int) (n int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		ids, err := s.q.ExpiredTasksLock(ctx, tx, org.UUID(), age, int32(limit))
		if err != nil {
			return err
		}
		n = len(ids)
		return s.purgeTasks(ctx, tx, org, ids)
	})
	if err != nil {
		return 0, fmt.Errorf("deleting tasks whose time is over: %w", err)
	}
	return n, nil
}

// purgeTasks deletes tasks with everything that belongs to them.
func (s *Store) purgeTasks(ctx context.Context, tx pgx.Tx, org flovyn.OrgID, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	for _, purge := range []func(context.Context, pgq.DBTX, []uuid.UUID, uuid.UUID) error{
		s.q.TasksPurgeKeys, s.q.TaskAttemptsPurge, s.q.TaskStatesPurge, s.q.TaskLogsPurge, s.q.TaskPayloadsPurge, s.q.TimersPurge,
	} {
		if err := purge(ctx, tx, ids, org.UUID()); err != nil {
			return err
		}
	}
	_, err := s.q.TasksPurge(ctx, tx, ids, org.UUID())
	return err
}

// HistoryMonths lists the months that have a partition, the oldest first.
func (s *Store) HistoryMonths(ctx context.Context) ([]int32, error) {
	months, err := s.q.HistoryMonths(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("listing the history partitions: %w", translate(err))
	}
	return months, nil
}

// DropHistory drops the partition of a month if no execution has its history
// there. It must be a month in which none begins any more. False says that it is
// needed.
func (s *Store) DropHistory(ctx context.Context, month int32) (dropped bool, err error) {
	begins := time.Date(int(month/12), time.Month(month%12)+1, 1, 0, 0, 0, 0, time.UTC)
	used, err := s.q.HistoryMonthProbe(ctx, s.pool, begins, begins.AddDate(0, 1, 0))
	if err == nil && !used {
		used, err = s.q.HistoryMonthUsed(ctx, s.pool, month)
	}
	if err == nil && !used {
		err = s.inTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+dropPatience+"'"); err != nil {
				return err
			}
			dropped, err = s.q.HistoryPartitionDrop(ctx, tx, month)
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("dropping the history partition of month %d: %w", month, translate(err))
	}
	return dropped, nil
}

// PurgeHistories deletes the events of a month whose execution is gone: of a page
// of up to limit histories that follow after. It returns the last history of the
// page; none is left when there is no page.
func (s *Store) PurgeHistories(ctx context.Context, month int32, after flovyn.ExecutionID, limit int) (last flovyn.ExecutionID, n int, err error) {
	ids, err := s.q.HistoriesOfMonth(ctx, s.pool, int32(limit), month, after.UUID())
	if err != nil || len(ids) == 0 {
		return flovyn.ExecutionID{}, 0, translate(err)
	}
	deleted, err := s.q.HistoriesPurge(ctx, s.pool, month, ids)
	if err != nil {
		return flovyn.ExecutionID{}, 0, fmt.Errorf("deleting histories of month %d: %w", month, translate(err))
	}
	return flovyn.ExecutionID(ids[len(ids)-1]), int(deleted), nil
}

// OrganizationSlugs returns all organizations, by slug.
func (s *Store) OrganizationSlugs(ctx context.Context) (map[string]flovyn.OrgID, error) {
	rows, err := s.q.OrganizationSlugs(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("listing organizations: %w", translate(err))
	}
	orgs := make(map[string]flovyn.OrgID, len(rows))
	for _, r := range rows {
		orgs[r.Slug] = flovyn.OrgID(r.ID)
	}
	return orgs, nil
}
