// Package schedule starts workflows and tasks by the clock.
//
// # A run is started once
//
// A due schedule is locked, and in one transaction its run is written down with
// the id that its target will have, and the schedule is moved on to its next
// time. Only then is the target started, under that id. Whoever dies in between
// leaves a run that is written down and not started; the next look of any server
// starts it. Two servers that start the same run start the same id, which exists
// only once. So no run is lost, and none is started twice.
//
// # Missed runs
//
// A run that is at most Tolerance late is started; each of several is. One that
// is later was missed: it is recorded as skipped, or, when the schedule asks for
// it, one run makes up for all that were missed. Either way the schedule goes on
// from now.
//
// # Overlap
//
// An earlier run goes on until its target has ended. While one does, a schedule
// may skip (the run is recorded as skipped), start another one beside it, or
// cancel the earlier ones first. A run that somebody triggers does not ask.
//
// Local time, its gaps and its repetitions are the business of package cron.
package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/cron"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
)

const (
	// Tolerance is how late a run may be that was not missed.
	Tolerance = 5 * time.Minute
	// KeepRuns is how long runs that are over are kept.
	KeepRuns = 30 * 24 * time.Hour
	// maxTargetRetries bounds the retries of a task that a schedule starts.
	maxTargetRetries = 10
	// maxZone bounds the name of a time zone, in bytes.
	maxZone = 64
)

// Schedules keeps schedules and starts what they say. Methods are safe for
// concurrent use.
type Schedules struct {
	store  *postgres.Store
	engine *engine.Engine
	tasks  *task.Tasks
}

// New makes the keeper of schedules.
func New(store *postgres.Store, e *engine.Engine, tasks *task.Tasks) *Schedules {
	return &Schedules{store: store, engine: e, tasks: tasks}
}

// Request is what a caller says of a schedule.
type Request struct {
	Name        string
	Description *string
	Timing      Timing
	Target      Target
	Enabled     bool
	Missed      flovyn.MissedPolicy
	Overlap     flovyn.OverlapPolicy
}

// Timing is when a schedule fires.
type Timing struct {
	Type           flovyn.ScheduleType
	RunAt          *time.Time
	Cron, Timezone string
	EndAt          *time.Time
}

// Target is what a schedule starts.
type Target struct {
	Class      flovyn.Class
	Kind       string
	Queue      string
	Input      []byte
	MaxRetries *int32
	Metadata   map[string]string
}

// Create stores a schedule under a name that is unique in the organization.
func (k *Schedules) Create(ctx context.Context, org flovyn.OrgID, createdBy string, req Request) (flovyn.Schedule, error) {
	s := flovyn.Schedule{
		ID: flovyn.ScheduleID(flovyn.NewUUID()), Org: org, Name: req.Name, Description: req.Description, Enabled: req.Enabled,
		Missed: cmp.Or(req.Missed, flovyn.MissedSkip), Overlap: cmp.Or(req.Overlap, flovyn.OverlapSkip), CreatedBy: createdBy,
	}
	if strings.TrimSpace(s.Name) == "" {
		return s, fault.InvalidField("name", "is required")
	}
	now, err := k.store.Now(ctx)
	if err != nil {
		return s, err
	}
	if err := setTiming(&s, req.Timing, now); err != nil {
		return s, err
	}
	if s.Target, err = k.target(req.Target); err != nil {
		return s, err
	}
	if s.Enabled {
		s.NextRunAt = next(&s, now)
		if s.NextRunAt == nil {
			return s, fault.InvalidField("schedule_type.end_at", "there is no run before it")
		}
	}
	return k.store.InsertSchedule(ctx, &s)
}

// setTiming checks when a schedule is to fire, and takes it over.
func setTiming(s *flovyn.Schedule, t Timing, now time.Time) error {
	switch t.Type {
	case flovyn.ScheduleOnce:
		switch {
		case t.RunAt == nil:
			return fault.InvalidField("schedule_type.run_at", "is required for a schedule that fires once")
		case t.Cron != "" || t.Timezone != "" || t.EndAt != nil:
			return fault.InvalidField("schedule_type", "cron, timezone and end_at are for recurring schedules")
		case !t.RunAt.After(now):
			return fault.InvalidField("schedule_type.run_at", "%s is in the past", t.RunAt.UTC().Format(time.RFC3339))
		}
	case flovyn.ScheduleRecurring:
		if err := checkRecurring(t, now); err != nil {
			return err
		}
	default:
		return fault.InvalidField("schedule_type.type", "want once or recurring")
	}
	s.Type, s.RunAt, s.Cron, s.Timezone, s.EndAt = t.Type, t.RunAt, t.Cron, t.Timezone, t.EndAt
	return nil
}

func checkRecurring(t Timing, now time.Time) error {
	switch {
	case t.RunAt != nil:
		return fault.InvalidField("schedule_type.run_at", "is for schedules that fire once")
	case t.Cron == "":
		return fault.InvalidField("schedule_type.cron", "is required for a recurring schedule")
	}
	if _, err := cron.Parse(t.Cron); err != nil {
		return fault.InvalidField("schedule_type.cron", "%s", err.Error())
	}
	if _, err := cron.Zone(t.Timezone); err != nil || len(t.Timezone) > maxZone {
		return fault.InvalidField("schedule_type.timezone", "%q is not an IANA time zone such as Europe/Berlin", t.Timezone)
	}
	if t.EndAt != nil && !t.EndAt.After(now) {
		return fault.InvalidField("schedule_type.end_at", "%s is in the past", t.EndAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// target checks what a schedule is to start, as a start would.
func (k *Schedules) target(t Target) (flovyn.ScheduleTarget, error) {
	out := flovyn.ScheduleTarget{Class: t.Class, Kind: t.Kind, Queue: cmp.Or(t.Queue, flovyn.DefaultQueue), MaxRetries: t.MaxRetries}
	field := "target.workflow_kind"
	switch t.Class {
	case flovyn.ClassWorkflow:
		if t.MaxRetries != nil {
			return out, fault.InvalidField("target.max_retries", "is for tasks")
		}
	case flovyn.ClassTask:
		field = "target.task_kind"
	default:
		return out, fault.InvalidField("target.type", "want workflow or task")
	}
	if err := engine.CheckName(field, t.Kind, true); err != nil {
		return out, err
	}
	if err := engine.CheckName("target.queue", out.Queue, false); err != nil {
		return out, err
	}
	if t.MaxRetries != nil && (*t.MaxRetries < 0 || *t.MaxRetries > maxTargetRetries) {
		return out, fault.InvalidField("target.max_retries", "must be between 0 and %d", maxTargetRetries)
	}
	if len(t.Input) == 0 {
		t.Input = []byte("{}")
	}
	var err error
	if out.Input, err = history.Payload("target.input", t.Input, k.engine.MaxPayload()); err != nil {
		return out, err
	}
	out.Metadata, err = engine.CheckMetadata(t.Metadata)
	return out, err
}

// next returns when a schedule fires after a time, nil when it does not any more.
func next(s *flovyn.Schedule, after time.Time) *time.Time {
	if s.Type == flovyn.ScheduleOnce {
		if s.RunAt != nil && s.RunAt.After(after) {
			return s.RunAt
		}
		return nil
	}
	expression, err := cron.Parse(s.Cron)
	if err != nil {
		return nil
	}
	zone, err := cron.Zone(s.Timezone)
	if err != nil {
		return nil
	}
	at, ok := expression.Next(after, zone)
	if !ok || s.EndAt != nil && at.After(*s.EndAt) {
		return nil
	}
	return &at
}

// Describe says in words when a schedule fires.
func Describe(s *flovyn.Schedule) string {
	if s.Type == flovyn.ScheduleOnce {
		return "Once"
	}
	expression, err := cron.Parse(s.Cron)
	if err != nil {
		return s.Cron
	}
	return expression.Describe()
}

// Local returns the next run in the schedule's own zone, nil when there is none.
func Local(s *flovyn.Schedule) *time.Time {
	zone, err := cron.Zone(s.Timezone)
	if err != nil || s.NextRunAt == nil {
		return nil
	}
	return new(s.NextRunAt.In(zone))
}

// Get returns a schedule.
func (k *Schedules) Get(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) (flovyn.Schedule, error) {
	return k.store.Schedule(ctx, org, id)
}

// List lists schedules by name, and says how many there are.
func (k *Schedules) List(ctx context.Context, org flovyn.OrgID, limit, offset int) ([]flovyn.Schedule, int64, error) {
	return k.store.Schedules(ctx, org, limit, offset)
}

// Delete deletes a schedule and its runs; what it started goes on.
func (k *Schedules) Delete(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) error {
	return k.store.DeleteSchedule(ctx, org, id)
}

// Change is what becomes different of a schedule; nil stays as it is.
type Change struct {
	Name, Description *string
	Timing            *Timing
	Target            *Target
	Enabled           *bool
	Missed            flovyn.MissedPolicy
	Overlap           flovyn.OverlapPolicy
}

// Update changes a schedule, but not its type. When its timing changes, or it is
// switched on, it goes on from now.
func (k *Schedules) Update(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID, c Change) (flovyn.Schedule, error) {
	if c.Name != nil && strings.TrimSpace(*c.Name) == "" {
		return flovyn.Schedule{}, fault.InvalidField("name", "is required")
	}
	var target flovyn.ScheduleTarget
	if c.Target != nil {
		var err error
		if target, err = k.target(*c.Target); err != nil {
			return flovyn.Schedule{}, err
		}
	}
	return k.store.ChangeSchedule(ctx, org, id, func(t *postgres.ScheduleTx, s *flovyn.Schedule) error {
		if c.Name != nil {
			s.Name = *c.Name
		}
		if c.Description != nil {
			s.Description = c.Description
		}
		if c.Target != nil {
			s.Target = target
		}
		s.Missed, s.Overlap = cmp.Or(c.Missed, s.Missed), cmp.Or(c.Overlap, s.Overlap)
		enabled := s.Enabled
		if c.Enabled != nil {
			enabled = *c.Enabled
		}
		if c.Timing != nil {
			if c.Timing.Type != s.Type {
				return fault.InvalidField("schedule_type.type", "cannot be changed")
			}
			if err := setTiming(s, *c.Timing, t.Now); err != nil {
				return err
			}
		}
		switch {
		case !enabled:
			pause(s)
		case !s.Enabled || c.Timing != nil:
			return resume(s, t.Now)
		}
		return nil
	})
}

func pause(s *flovyn.Schedule) { s.Enabled, s.NextRunAt = false, nil }

func resume(s *flovyn.Schedule, now time.Time) error {
	at := next(s, now)
	if at == nil {
		return fault.New(fault.Precondition, "the schedule has no run left: change when it fires")
	}
	s.Enabled, s.NextRunAt = true, at
	return nil
}

// Pause stops a schedule until it is resumed.
func (k *Schedules) Pause(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) (flovyn.Schedule, error) {
	return k.store.ChangeSchedule(ctx, org, id, func(_ *postgres.ScheduleTx, s *flovyn.Schedule) error {
		pause(s)
		return nil
	})
}

// Resume lets a paused schedule go on from now. One with no run left is
// Precondition.
func (k *Schedules) Resume(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) (flovyn.Schedule, error) {
	return k.store.ChangeSchedule(ctx, org, id, func(t *postgres.ScheduleTx, s *flovyn.Schedule) error {
		if s.Enabled {
			return nil
		}
		return resume(s, t.Now)
	})
}

// Runs lists the runs of a schedule, newest first, and says how many there are.
func (k *Schedules) Runs(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID, limit, offset int) ([]flovyn.ScheduleRun, int64, error) {
	if _, err := k.store.Schedule(ctx, org, id); err != nil {
		return nil, 0, err
	}
	return k.store.ScheduleRuns(ctx, org, id, limit, offset)
}

// Trigger starts the target of a schedule now, also while it is paused and while
// an earlier run goes on.
func (k *Schedules) Trigger(ctx context.Context, org flovyn.OrgID, id flovyn.ScheduleID) (flovyn.ScheduleRun, error) {
	var run flovyn.ScheduleRun
	s, err := k.store.ChangeSchedule(ctx, org, id, func(t *postgres.ScheduleTx, s *flovyn.Schedule) (err error) {
		run, err = k.decided(ctx, t, s, t.Now)
		return err
	})
	if err != nil {
		return run, err
	}
	if err := k.startTarget(ctx, &s, &run); err != nil {
		return run, err
	}
	return k.store.ScheduleRun(ctx, org, run.ID)
}

// decided writes down a run that is to be started.
func (k *Schedules) decided(ctx context.Context, t *postgres.ScheduleTx, s *flovyn.Schedule, at time.Time) (flovyn.ScheduleRun, error) {
	s.RunCount++
	s.LastRunAt = &t.Now
	target := flovyn.NewUUID()
	return t.InsertRun(ctx, &flovyn.ScheduleRun{
		ID: flovyn.NewUUID(), Schedule: s.ID, Org: s.Org, ScheduledAt: at, Status: flovyn.RunPending, Class: s.Target.Class, Target: &target,
	})
}

// startTarget starts the target of a run, and notes it. It may be called again
// for the same run.
func (k *Schedules) startTarget(ctx context.Context, s *flovyn.Schedule, run *flovyn.ScheduleRun) error {
	if run.Target == nil {
		return fault.Bug("a pending run without a target")
	}
	err := k.start(ctx, s, *run.Target)
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Exhausted, fault.Precondition, fault.NotFound:
		// It will never start as it stands.
		return k.store.RunFailed(ctx, run, fault.Message(err))
	}
	if err != nil {
		return err
	}
	return k.store.RunStarted(ctx, run)
}

func (k *Schedules) start(ctx context.Context, s *flovyn.Schedule, id uuid.UUID) error {
	t := s.Target
	var metadata map[string]string
	if len(t.Metadata) > 0 {
		if err := json.Unmarshal(t.Metadata, &metadata); err != nil {
			return fault.Bug("the metadata of schedule %s: %v", s.ID, err)
		}
	}
	if t.Class == flovyn.ClassWorkflow {
		return k.engine.StartAs(ctx, flovyn.ExecutionID(id), engine.StartRequest{
			Org: s.Org, Kind: t.Kind, Queue: t.Queue, Input: t.Input, Metadata: metadata,
		})
	}
	req := task.SubmitRequest{Org: s.Org, Kind: t.Kind, Queue: t.Queue, Input: t.Input, Metadata: metadata}
	if t.MaxRetries != nil {
		req.MaxRetries, req.NoRetries = *t.MaxRetries, *t.MaxRetries == 0
	}
	return k.tasks.SubmitAs(ctx, flovyn.TaskID(id), req)
}
