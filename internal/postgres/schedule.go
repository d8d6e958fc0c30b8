package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

func scheduleOf(r *pgq.Schedule) flovyn.Schedule {
	return flovyn.Schedule{
		ID: flovyn.ScheduleID(r.ID), Org: flovyn.OrgID(r.OrgID), Name: r.Name, Description: r.Description,
		Type: flovyn.ScheduleType(r.Type), RunAt: r.RunAt, Cron: r.Cron, Timezone: r.Timezone, EndAt: r.EndAt,
		Target: flovyn.ScheduleTarget{
			Class: flovyn.Class(r.TargetType), Kind: r.Kind, Queue: r.Queue, Input: r.Input, MaxRetries: r.MaxRetries, Metadata: r.Metadata,
		},
		Enabled: r.Enabled, NextRunAt: r.NextRunAt, LastRunAt: r.LastRunAt, RunCount: r.RunCount,
		Missed: flovyn.MissedPolicy(r.MissedPolicy), Overlap: flovyn.OverlapPolicy(r.OverlapPolicy),
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
}

func scheduleRow(r *pgq.Schedule, err error) (flovyn.Schedule, error) {
	s, err := row(r, err, scheduleOf)
	if fault.Is(err, fault.NotFound) {
		err = scheduleNotFound()
	}
	return s, err
}

func scheduleNotFound() error { return fault.New(fault.NotFound, "schedule not found") }

func runOf(r *pgq.ScheduleRun) flovyn.ScheduleRun {
	return flovyn.ScheduleRun{
		ID: r.ID, Schedule: flovyn.ScheduleID(r.ScheduleID), Org: flovyn.OrgID(r.OrgID), ScheduledAt: r.ScheduledAt,
		StartedAt: r.StartedAt, CompletedAt: r.CompletedAt, Status: flovyn.RunStatus(r.Status), Class: flovyn.Class(r.TargetType),
		Target: r.TargetID, Error: r.Error,
	}
}

// InsertSchedule stores a schedule; Exists when its name is taken.
func (s *Store) InsertSchedule(ctx context.Context, v *flovyn.Schedule) (flovyn.Schedule, error) {
	return scheduleRow(s.q.ScheduleInsert(ctx, s.pool, &pgq.ScheduleInsertParams{
		ID: v.ID.UUID(), OrgID: v.Org.UUID(), Name: v.Name, Description: v.Description, Type: string(v.Type), RunAt: v.RunAt,
		Cron: v.Cron, Timezone: v.Timezone, EndAt: v.EndAt, TargetType: string(v.Target.Class), Kind: v.Target.Kind,
		Queue: v.Target.Queue, Input: v.Target.Input, MaxRetries: v.Target.MaxRetries, Metadata: v.Target.Metadata,
		Enabled: v.Enabled, NextRunAt: v.NextRunAt, MissedPolicy: string(v.Missed), OverlapPolicy: string(v.Overlap), CreatedBy: v.CreatedBy,
	}))
}

// Schedule returns a schedule of the organization.
func (s *Store) Schedule(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) (flovyn.Schedule, error) {
	return scheduleRow(s.q.ScheduleGet(ctx, s.pool, id.UUID(), org.UUID()))
}

// Schedules lists schedules by name, and says how many there are.
func (s *Store) Schedules(ctx context.Context, org flovyn.OrgID, limit, offset int) ([]flovyn.Schedule, int64, error) {
	rows, err := s.q.ScheduleList(ctx, s.pool, org.UUID(), int32(offset), int32(limit))
	if err != nil {
		return nil, 0, translate(err)
	}
	total, err := s.q.ScheduleCount(ctx, s.pool, org.UUID())
	return each(rows, scheduleOf), total, translate(err)
}

// DeleteSchedule deletes a schedule and its runs.
func (s *Store) DeleteSchedule(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) error {
	n, err := s.q.ScheduleDelete(ctx, s.pool, id.UUID(), org.UUID())
	if err == nil && n == 0 {
		return scheduleNotFound()
	}
	return translate(err)
}

// ScheduleTx changes schedules that are locked.
type ScheduleTx struct {
	store *Store
	tx    pgx.Tx
	// Now is the database's time of the transaction.
	Now time.Time
}

func (s *Store) scheduleTx(ctx context.Context, fn func(t *ScheduleTx) error) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		t := &ScheduleTx{store: s, tx: tx}
		if err := tx.QueryRow(ctx, "SELECT now()").Scan(&t.Now); err != nil {
			return err
		}
		return fn(t)
	})
}

// ChangeSchedule gives a schedule to change while nobody else does.
func (s *Store) ChangeSchedule(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID, change func(*ScheduleTx, *flovyn.Schedule) error) (changed flovyn.Schedule, err error) {
	err = s.scheduleTx(ctx, func(t *ScheduleTx) error {
		v, err := scheduleRow(s.q.ScheduleLock(ctx, t.tx, id.UUID(), org.UUID()))
		if err != nil {
			return err
		}
		if err := change(t, &v); err != nil {
			return err
		}
		changed, err = t.write(ctx, &v, true)
		return err
	})
	return changed, err
}

// DueSchedules gives up to limit schedules whose time has come to decide, one
// after the other, and commits what was decided of all of them. It returns how
// many there were. What another server is deciding is left to it.
func (s *Store) DueSchedules(ctx context.Context, limit int, decide func(*ScheduleTx, *flovyn.Schedule) error) (n int, err error) {
	err = s.scheduleTx(ctx, func(t *ScheduleTx) error {
		due, err := s.q.SchedulesDue(ctx, t.tx, int32(limit))
		if err != nil {
			return fmt.Errorf("looking for due schedules: %w", err)
		}
		n = len(due)
		for _, r := range due {
			v := scheduleOf(r)
			if err := decide(t, &v); err != nil {
				return fmt.Errorf("deciding on schedule %s: %w", v.ID, err)
			}
			if _, err := t.write(ctx, &v, false); err != nil {
				return fmt.Errorf("writing schedule %s: %w", v.ID, err)
			}
		}
		return nil
	})
	return n, err
}

func (t *ScheduleTx) write(ctx context.Context, v *flovyn.Schedule, edited bool) (flovyn.Schedule, error) {
	return scheduleRow(t.store.q.ScheduleUpdate(ctx, t.tx, &pgq.ScheduleUpdateParams{
		ID: v.ID.UUID(), OrgID: v.Org.UUID(), Name: v.Name, Description: v.Description, RunAt: v.RunAt, Cron: v.Cron,
		Timezone: v.Timezone, EndAt: v.EndAt, TargetType: string(v.Target.Class), Kind: v.Target.Kind, Queue: v.Target.Queue,
		Input: v.Target.Input, MaxRetries: v.Target.MaxRetries, Metadata: v.Target.Metadata, Enabled: v.Enabled,
		NextRunAt: v.NextRunAt, LastRunAt: v.LastRunAt, RunCount: v.RunCount, MissedPolicy: string(v.Missed),
		OverlapPolicy: string(v.Overlap), Edited: edited,
	}))
}

// Busy reports whether something that the schedule started goes on.
func (t *ScheduleTx) Busy(ctx context.Context, v *flovyn.Schedule) (bool, error) {
	return t.store.q.ScheduleBusy(ctx, t.tx, v.ID.UUID(), v.Org.UUID())
}

// InsertRun records a run of a locked schedule.
func (t *ScheduleTx) InsertRun(ctx context.Context, r *flovyn.ScheduleRun) (flovyn.ScheduleRun, error) {
	inserted, err := t.store.q.ScheduleRunInsert(ctx, t.tx, &pgq.ScheduleRunInsertParams{
		ID: r.ID, ScheduleID: r.Schedule.UUID(), OrgID: r.Org.UUID(), ScheduledAt: r.ScheduledAt, CompletedAt: r.CompletedAt,
		Status: string(r.Status), TargetType: string(r.Class), TargetID: r.Target, Error: r.Error,
	})
	return row(inserted, err, runOf)
}

// ScheduleRuns lists runs, newest first, and says how many there are.
func (s *Store) ScheduleRuns(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID, limit, offset int) ([]flovyn.ScheduleRun, int64, error) {
	rows, err := s.q.ScheduleRunList(ctx, s.pool, &pgq.ScheduleRunListParams{
		ScheduleID: id.UUID(), OrgID: org.UUID(), Most: int32(limit), Skip: int32(offset),
	})
	if err != nil {
		return nil, 0, translate(err)
	}
	total, err := s.q.ScheduleRunCount(ctx, s.pool, id.UUID(), org.UUID())
	return each(rows, runOf), total, translate(err)
}

// ScheduleRun returns a run.
func (s *Store) ScheduleRun(ctx context.Context, org flovyn.OrgID, id uuid.UUID) (flovyn.ScheduleRun, error) {
	r, err := s.q.ScheduleRunGet(ctx, s.pool, id, org.UUID())
	return row(r, err, runOf)
}

// PendingRun is a run that is to be started, and its schedule.
type PendingRun struct {
	Run      flovyn.ScheduleRun
	Schedule flovyn.Schedule
}

// PendingRuns lists runs of all organizations that are to be started.
func (s *Store) PendingRuns(ctx context.Context, limit int) ([]PendingRun, error) {
	rows, err := s.q.ScheduleRunsPending(ctx, s.pool, int32(limit))
	return each(rows, func(r *pgq.ScheduleRunsPendingRow) PendingRun {
		return PendingRun{runOf(&r.ScheduleRun), scheduleOf(&r.Schedule)}
	}), translate(err)
}

// EarlierRuns lists runs of a schedule that were open before one.
func (s *Store) EarlierRuns(ctx context.Context, r *flovyn.ScheduleRun) ([]flovyn.ScheduleRun, error) {
	rows, err := s.q.ScheduleRunsOpen(ctx, s.pool, r.Schedule.UUID(), r.Org.UUID(), r.ID)
	return each(rows, runOf), translate(err)
}

// RunStarted notes that a run was started.
func (s *Store) RunStarted(ctx context.Context, r *flovyn.ScheduleRun) error {
	return translate(s.q.ScheduleRunStarted(ctx, s.pool, r.ID, r.Org.UUID()))
}

// RunFailed notes that a run cannot be started.
func (s *Store) RunFailed(ctx context.Context, r *flovyn.ScheduleRun, why string) error {
	return translate(s.q.ScheduleRunFailed(ctx, s.pool, why, r.ID, r.Org.UUID()))
}

// SettleRuns notes the ends of up to limit runs, and returns of how many.
func (s *Store) SettleRuns(ctx context.Context, limit int) (int, error) {
	n, err := s.q.ScheduleRunsSettle(ctx, s.pool, int32(limit))
	return int(n), translate(err)
}

// DeleteOldRuns deletes up to limit runs that are over and older than an age, and
// returns how many.
func (s *Store) DeleteOldRuns(ctx context.Context, age time.Duration, limit int) (int, error) {
	n, err := s.q.ScheduleRunsDeleteOld(ctx, s.pool, age, int32(limit))
	return int(n), translate(err)
}
