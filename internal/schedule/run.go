package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// batch bounds what one transaction decides and one look takes on.
const batch = 100

// Fire decides on all schedules that are due, and starts what was decided, here or
// by a server that died before it could. One target that cannot be started does
// not hold up the others.
func (k *Schedules) Fire(ctx context.Context) error {
	decided := func(t *postgres.ScheduleTx, s *flovyn.Schedule) error { return k.decide(ctx, t, s) }
	for {
		n, err := k.store.DueSchedules(ctx, batch, decided)
		if err != nil {
			return err
		}
		if err := k.startPending(ctx); err != nil {
			return err
		}
		if n < batch {
			return nil
		}
	}
}

// Settle notes what became of the targets of runs.
func (k *Schedules) Settle(ctx context.Context) error {
	for {
		n, err := k.store.SettleRuns(ctx, batch)
		if err != nil || n < batch {
			return err
		}
	}
}

// decide says what becomes of a schedule whose time has come, and moves it on.
func (k *Schedules) decide(ctx context.Context, t *postgres.ScheduleTx, s *flovyn.Schedule) error {
	if s.NextRunAt == nil {
		return fault.Bug("schedule %s is due and has no next run", s.ID)
	}
	at := *s.NextRunAt
	late := t.Now.Sub(at)
	missed := late > Tolerance
	from := at
	if missed {
		from = t.Now
	}
	if s.NextRunAt = next(s, from); s.NextRunAt == nil {
		s.Enabled = false
	}
	if missed && s.Missed == flovyn.MissedSkip {
		return skip(ctx, t, s, at, fmt.Sprintf("missed: no server was there until %s later", late.Round(time.Second)))
	}
	if s.Overlap == flovyn.OverlapSkip {
		busy, err := t.Busy(ctx, s)
		if err != nil {
			return err
		}
		if busy {
			return skip(ctx, t, s, at, "an earlier run still goes on")
		}
	}
	_, err := k.decided(ctx, t, s, at)
	return err
}

func skip(ctx context.Context, t *postgres.ScheduleTx, s *flovyn.Schedule, at time.Time, why string) error {
	_, err := t.InsertRun(ctx, &flovyn.ScheduleRun{
		ID: flovyn.NewUUID(), Schedule: s.ID, Org: s.Org, ScheduledAt: at, CompletedAt: &t.Now, Status: flovyn.RunSkipped,
		Class: s.Target.Class, Error: why,
	})
	return err
}

// startPending starts what was decided.
func (k *Schedules) startPending(ctx context.Context) error {
	pending, err := k.store.PendingRuns(ctx, batch)
	if err != nil {
		return err
	}
	var failures []error
	for i := range pending {
		p := &pending[i]
		if p.Schedule.Overlap == flovyn.OverlapCancel {
			err = k.cancelEarlier(ctx, &p.Run)
		}
		if err == nil {
			err = k.startTarget(ctx, &p.Schedule, &p.Run)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("starting a run of schedule %s: %w", p.Schedule.ID, err))
		}
		err = nil
	}
	return errors.Join(failures...)
}

// cancelEarlier cancels what earlier runs started.
func (k *Schedules) cancelEarlier(ctx context.Context, run *flovyn.ScheduleRun) error {
	const reason = "the schedule's next run began"
	earlier, err := k.store.EarlierRuns(ctx, run)
	if err != nil {
		return err
	}
	for _, r := range earlier {
		if r.Target == nil {
			continue
		}
		if r.Class == flovyn.ClassWorkflow {
			err = k.engine.Cancel(ctx, r.Org, flovyn.ExecutionID(*r.Target), reason, "schedule:"+r.Schedule.String())
		} else {
			err = k.tasks.Cancel(ctx, r.Org, flovyn.TaskID(*r.Target), reason)
		}
		// It has ended, or was never started.
		if err != nil && !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// DeleteOldRuns deletes runs that are over for longer than KeepRuns.
func (k *Schedules) DeleteOldRuns(ctx context.Context) error {
	for {
		n, err := k.store.DeleteOldRuns(ctx, KeepRuns, batch)
		if err != nil || n < batch {
			return err
		}
	}
}
