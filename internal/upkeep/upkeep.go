// Package upkeep runs what has to happen by itself, one loop each: due timers
// fire, work of silent workers is taken back, the backlog is looked through in
// case a hint was lost, signs of life are written, schedules fire, expired
// idempotency keys and old audit records go, next month's history partition is
// made in time, and what has been kept for long enough is deleted.
//
// Every server runs all loops. Each acts through steps that look again under
// the lock, so that two servers doing the same thing do it once.
package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/schedule"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

const (
	// timerInterval is how late a timer may be whose server has died.
	timerInterval = 2 * time.Second
	// backlogInterval is how late a lost hint may make a poller.
	backlogInterval = 5 * time.Second
	// reclaimInterval and silenceInterval are how often all open work is looked
	// through for workers that went away; oftener where they have less time.
	reclaimInterval = 15 * time.Second
	silenceInterval = time.Minute
	flushInterval   = 30 * time.Second
	// scheduleInterval is how late a schedule may fire, settleInterval how late the
	// end of what it started may be noted.
	scheduleInterval = time.Second
	settleInterval   = 5 * time.Second
	runsInterval     = time.Hour
	// shortest is as often as anything is looked through.
	shortest       = 250 * time.Millisecond
	keysInterval   = 5 * time.Minute
	monthsInterval = 6 * time.Hour
	// sampleInterval is how old a published depth of a queue may be.
	sampleInterval = 15 * time.Second
	auditInterval  = time.Hour
	// batch bounds what one round takes on, atOnce how much of it runs together.
	batch  = 1000
	atOnce = 64
	// monthsAhead is how many history partitions are made before they are needed.
	monthsAhead = 2
)

// Config says what to look after.
type Config struct {
	Store   *postgres.Store
	Engine  *engine.Engine
	Tasks   *task.Tasks
	Workers *worker.Registry
	// Schedules are those to fire.
	Schedules *schedule.Schedules
	// ActivationTimeout is how long a worker may hold an activation. Default 60 s.
	ActivationTimeout time.Duration
	// TaskSilence is how long the worker of a running task may give no sign of
	// life. Default 5 minutes: a worker with one thread does not poll while it
	// executes a task.
	TaskSilence time.Duration
	// TaskAbandon is how long a running task itself may give no sign of life
	// (heartbeat, progress) although its worker does. Default an hour.
	TaskAbandon time.Duration
	// Retention says how long what has ended is kept; nil is for ever.
	Retention *Retention
	// AuditRetention is after which time audit records are deleted; zero keeps them.
	AuditRetention time.Duration
	// Sampled has the depth of queues measured; nil measures nothing.
	Sampled *Sampling
	Logger  *slog.Logger
}

// Sampling says how queues are measured and who is told.
type Sampling struct {
	// Queues bounds how many are measured, Most how far each is counted.
	Queues, Most int
	// Take is given each sample.
	Take func([]postgres.BacklogSample, error)
}

// Upkeep is all loops.
type Upkeep struct {
	cfg    Config
	timers *loop.Loop
	// retainer is nil where everything is kept.
	retainer *retainer
	parts    []loop.Part
}

// New makes the loops; they are started as parts of a group.
func New(cfg Config) *Upkeep {
	if cfg.ActivationTimeout == 0 {
		cfg.ActivationTimeout = time.Minute
	}
	if cfg.TaskSilence == 0 {
		cfg.TaskSilence = 5 * time.Minute
	}
	if cfg.TaskAbandon == 0 {
		cfg.TaskAbandon = time.Hour
	}
	u := &Upkeep{cfg: cfg}
	u.timers = loop.New("timers", timerInterval, timerInterval/10, u.FireTimers, cfg.Logger)
	reclaim := max(min(reclaimInterval, cfg.ActivationTimeout/4), shortest)
	silence := max(min(silenceInterval, cfg.TaskSilence/4), shortest)
	u.parts = []loop.Part{
		u.timers,
		loop.New("activations", reclaim, reclaim/5, u.ReclaimActivations, cfg.Logger),
		loop.New("tasks", silence, silence/5, u.ReclaimTasks, cfg.Logger),
		loop.New("backlog", backlogInterval, backlogInterval/5, u.WakeBacklog, cfg.Logger),
		loop.New("signs of life", flushInterval, flushInterval/10, cfg.Workers.Flush, cfg.Logger),
		loop.New("schedules", scheduleInterval, scheduleInterval/10, cfg.Schedules.Fire, cfg.Logger),
		loop.New("schedule runs", settleInterval, settleInterval/5, cfg.Schedules.Settle, cfg.Logger),
		loop.New("old schedule runs", runsInterval, runsInterval/10, cfg.Schedules.DeleteOldRuns, cfg.Logger),
		loop.New("idempotency keys", keysInterval, keysInterval/10, u.DeleteExpiredKeys, cfg.Logger),
		loop.New("old audit records", auditInterval, auditInterval/10, u.DeleteOldAudit, cfg.Logger),
		loop.New("history partitions", monthsInterval, monthsInterval/10, u.makePartitions, cfg.Logger),
	}
	if cfg.Retention != nil && !cfg.Retention.off() {
		u.retainer = newRetainer(cfg.Store, cfg.Retention)
		u.parts = append(u.parts, u.retainer.loop(cfg))
	}
	if cfg.Sampled != nil {
		u.parts = append(u.parts, loop.New("queue depth", sampleInterval, sampleInterval/5, u.SampleQueues, cfg.Logger))
	}
	return u
}

// Parts returns the loops in the order in which they are to be started.
func (u *Upkeep) Parts() []loop.Part { return u.parts }

// TimerSet has the timers looked at again when the time is over.
func (u *Upkeep) TimerSet(in time.Duration) {
	if in < timerInterval {
		u.timers.RunAt(time.Now().Add(in))
	}
}

// FireTimers fires everything that is due and asks to be run again when the
// next timer is. One that cannot be fired does not hold up the others.
func (u *Upkeep) FireTimers(ctx context.Context) error {
	var failure error
	for {
		due, err := u.cfg.Store.DueTimers(ctx, batch)
		if err != nil {
			return err
		}
		failure = each(ctx, due, u.fire)
		if failure != nil || len(due) < batch {
			break
		}
	}
	in, ok, err := u.cfg.Store.NextTimer(ctx)
	if err == nil && ok && failure == nil {
		u.TimerSet(in)
	}
	return errors.Join(failure, err)
}

func (u *Upkeep) fire(ctx context.Context, timer flovyn.Timer) error {
	switch timer.Kind {
	case flovyn.TimerSleep:
		return u.cfg.Engine.FireTimer(ctx, timer)
	case flovyn.TimerPromise:
		return u.cfg.Engine.ExpirePromise(ctx, timer)
	case flovyn.TimerTask:
		return u.cfg.Tasks.Expire(ctx, timer)
	default:
		return fault.Bug("a timer of kind %q", timer.Kind)
	}
}

// each runs do on all items, some at once, and returns all failures: one bad
// item does not keep the others waiting.
func each[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	failures := make([]error, len(items))
	for i, item := range items {
		group.Go(func() error {
			failures[i] = do(ctx, item)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return errors.Join(failures...)
}

// ReclaimActivations takes back activations that were not submitted in time.
func (u *Upkeep) ReclaimActivations(ctx context.Context) error {
	stale, err := u.cfg.Store.StaleExecutions(ctx, u.cfg.ActivationTimeout, batch)
	if err != nil {
		return err
	}
	return each(ctx, stale, u.cfg.Engine.Reclaim)
}

// ReclaimTasks takes back tasks whose worker gives no sign of life, and those of
// which nothing was heard for so long that their result must have been lost:
// a worker reports a result once, and does not know when that came to nothing.
func (u *Upkeep) ReclaimTasks(ctx context.Context) error {
	var failures []error
	var after flovyn.TaskID
	for {
		stale, err := u.cfg.Store.StaleTasks(ctx, u.cfg.TaskSilence, after, batch)
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		failures = append(failures, each(ctx, stale, u.reclaimTask))
		if len(stale) < batch {
			return errors.Join(failures...)
		}
		after = stale[len(stale)-1].ID
	}
}

func (u *Upkeep) reclaimTask(ctx context.Context, t postgres.StaleTask) error {
	if t.Silence < u.cfg.TaskAbandon {
		silence, err := u.cfg.Workers.SilentSince(ctx, t.Org, t.WorkerID)
		if err != nil || silence < u.cfg.TaskSilence {
			return err
		}
	}
	return u.cfg.Tasks.Reclaim(ctx, t)
}

// WakeBacklog wakes the pollers of every queue that has a backlog.
func (u *Upkeep) WakeBacklog(ctx context.Context) error {
	backlogs, err := u.cfg.Store.Backlogs(ctx)
	for _, b := range backlogs {
		u.cfg.Engine.Wake(b.Class, wake.Key{Org: b.Org, Queue: b.Queue})
	}
	return err
}

// SampleQueues measures how much work waits in the queues.
func (u *Upkeep) SampleQueues(ctx context.Context) error {
	samples, err := u.cfg.Store.SampleBacklogs(ctx, u.cfg.Sampled.Queues, u.cfg.Sampled.Most)
	u.cfg.Sampled.Take(samples, err)
	return err
}

// DeleteExpiredKeys deletes idempotency keys whose time is over.
func (u *Upkeep) DeleteExpiredKeys(ctx context.Context) error {
	for {
		n, err := u.cfg.Store.DeleteExpiredKeys(ctx, batch)
		if err != nil || n < batch {
			return err
		}
	}
}

// DeleteOldAudit deletes audit records that are older than they are kept.
func (u *Upkeep) DeleteOldAudit(ctx context.Context) error {
	for u.cfg.AuditRetention > 0 {
		n, err := u.cfg.Store.DeleteAuditRecords(ctx, u.cfg.AuditRetention, batch)
		if err != nil || n < batch {
			return err
		}
	}
	return nil
}

func (u *Upkeep) makePartitions(ctx context.Context) error {
	return u.cfg.Store.EnsureHistoryPartitions(ctx, monthsAhead)
}
