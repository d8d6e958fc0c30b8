package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/schedule"
)

// schedules serves flovyn.api.v1.ScheduleService.
type schedules struct {
	apiv1connect.UnimplementedScheduleServiceHandler
	door
}

// scheduleID reads what a request about one schedule is about.
func (h schedules) scheduleID(ctx context.Context, slug, text string) (flovyn.OrgID, flovyn.ScheduleID, error) {
	org, err := h.slugged(ctx, slug)
	if err != nil {
		return org, flovyn.ScheduleID{}, err
	}
	id, err := parseUUID("id", text)
	return org, flovyn.ScheduleID(id), err
}

// CreateSchedule creates a schedule.
func (h schedules) CreateSchedule(ctx context.Context, req *apiv1.CreateScheduleRequest) (*apiv1.CreateScheduleResponse, error) {
	org, who, err := h.asker(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	timing, err := timingIn(req.GetScheduleType())
	if err != nil {
		return nil, err
	}
	target, err := targetIn(req.GetTarget())
	if err != nil {
		return nil, err
	}
	s, err := h.schedules.Create(ctx, org, who, schedule.Request{
		Name: req.GetName(), Description: req.Description, Timing: timing, Target: target,
		Enabled: req.Enabled == nil || req.GetEnabled(),
		Missed:  flovyn.MissedPolicy(req.GetMissedRunPolicy()), Overlap: flovyn.OverlapPolicy(req.GetOverlapPolicy()),
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateScheduleResponse{Schedule: scheduleOut(s)}, nil
}

// ListSchedules lists schedules by name.
func (h schedules) ListSchedules(ctx context.Context, req *apiv1.ListSchedulesRequest) (*apiv1.ListSchedulesResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	found, total, err := h.schedules.List(ctx, org, limit, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ListSchedulesResponse{
		Schedules: convert(found, scheduleOut), Total: total, Limit: int32(limit), Offset: req.GetOffset(),
	}, nil
}

// GetSchedule returns a schedule.
func (h schedules) GetSchedule(ctx context.Context, req *apiv1.GetScheduleRequest) (*apiv1.GetScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	s, err := h.schedules.Get(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetScheduleResponse{Schedule: scheduleOut(s)}, nil
}

// UpdateSchedule changes a schedule.
func (h schedules) UpdateSchedule(ctx context.Context, req *apiv1.UpdateScheduleRequest) (*apiv1.UpdateScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	change := schedule.Change{
		Name: req.Name, Description: req.Description, Enabled: req.Enabled,
		Missed: flovyn.MissedPolicy(req.GetMissedRunPolicy()), Overlap: flovyn.OverlapPolicy(req.GetOverlapPolicy()),
	}
	if req.GetScheduleType() != nil {
		timing, err := timingIn(req.GetScheduleType())
		if err != nil {
			return nil, err
		}
		change.Timing = &timing
	}
	if req.GetTarget() != nil {
		target, err := targetIn(req.GetTarget())
		if err != nil {
			return nil, err
		}
		change.Target = &target
	}
	s, err := h.schedules.Update(ctx, org, id, change)
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateScheduleResponse{Schedule: scheduleOut(s)}, nil
}

// DeleteSchedule deletes a schedule.
func (h schedules) DeleteSchedule(ctx context.Context, req *apiv1.DeleteScheduleRequest) (*apiv1.DeleteScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	return &apiv1.DeleteScheduleResponse{}, h.schedules.Delete(ctx, org, id)
}

// PauseSchedule stops a schedule until it is resumed.
func (h schedules) PauseSchedule(ctx context.Context, req *apiv1.PauseScheduleRequest) (*apiv1.PauseScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	s, err := h.schedules.Pause(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.PauseScheduleResponse{Schedule: scheduleOut(s)}, nil
}

// ResumeSchedule lets a schedule go on from now.
func (h schedules) ResumeSchedule(ctx context.Context, req *apiv1.ResumeScheduleRequest) (*apiv1.ResumeScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	s, err := h.schedules.Resume(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.ResumeScheduleResponse{Schedule: scheduleOut(s)}, nil
}

// TriggerSchedule starts the target of a schedule now.
func (h schedules) TriggerSchedule(ctx context.Context, req *apiv1.TriggerScheduleRequest) (*apiv1.TriggerScheduleResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	run, err := h.schedules.Trigger(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.TriggerScheduleResponse{Run: runOut(run)}, nil
}

// ListScheduleRuns lists the runs of a schedule.
func (h schedules) ListScheduleRuns(ctx context.Context, req *apiv1.ListScheduleRunsRequest) (*apiv1.ListScheduleRunsResponse, error) {
	org, id, err := h.scheduleID(ctx, req.GetOrg(), req.GetId())
	if err != nil {
		return nil, err
	}
	limit := pageOf(req.Limit)
	runs, total, err := h.schedules.Runs(ctx, org, id, limit, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ListScheduleRunsResponse{Runs: convert(runs, runOut), Total: total, Limit: int32(limit), Offset: req.GetOffset()}, nil
}

func timingIn(t *apiv1.ScheduleType) (timing schedule.Timing, err error) {
	timing = schedule.Timing{Type: flovyn.ScheduleType(t.GetType()), Cron: t.GetCron(), Timezone: t.GetTimezone()}
	if timing.RunAt, err = momentIn("schedule_type.run_at", t.GetRunAt()); err != nil {
		return timing, err
	}
	timing.EndAt, err = momentIn("schedule_type.end_at", t.GetEndAt())
	return timing, err
}

// momentIn reads a time that may be absent.
func momentIn(field string, t *timestamppb.Timestamp) (*time.Time, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // absent
	}
	if err := t.CheckValid(); err != nil {
		return nil, fault.InvalidField(field, "is not a time")
	}
	// What the database keeps.
	return new(t.AsTime().Truncate(time.Microsecond)), nil
}

func targetIn(t *apiv1.ScheduleTarget) (schedule.Target, error) {
	target := schedule.Target{
		Class: flovyn.Class(t.GetType()), Kind: t.GetWorkflowKind(), Queue: t.GetQueue(), Input: t.GetInput(),
		MaxRetries: t.MaxRetries, Metadata: t.GetMetadata(),
	}
	switch target.Class {
	case flovyn.ClassWorkflow:
		if t.GetTaskKind() != "" {
			return target, fault.InvalidField("target.task_kind", "is for tasks")
		}
	case flovyn.ClassTask:
		if t.GetWorkflowKind() != "" {
			return target, fault.InvalidField("target.workflow_kind", "is for workflows")
		}
		target.Kind = t.GetTaskKind()
	}
	return target, nil
}

// localLayout is a time without its offset.
const localLayout = "2006-01-02T15:04:05"

func scheduleOut(s flovyn.Schedule) *apiv1.Schedule {
	out := &apiv1.Schedule{
		Id: s.ID.String(), OrgId: s.Org.String(), Name: s.Name, Description: s.Description,
		ScheduleType: &apiv1.ScheduleType{
			Type: string(s.Type), RunAt: maybeAt(s.RunAt), Cron: maybe(s.Cron), Timezone: maybe(s.Timezone), EndAt: maybeAt(s.EndAt),
			Description: maybe(schedule.Describe(&s)),
		},
		Target: &apiv1.ScheduleTarget{
			Type: string(s.Target.Class), Queue: &s.Target.Queue, Input: s.Target.Input, MaxRetries: s.Target.MaxRetries,
			Metadata: metadataOut(s.Target.Metadata),
		},
		Enabled: s.Enabled, NextRunAt: maybeAt(s.NextRunAt), LastRunAt: maybeAt(s.LastRunAt), RunCount: s.RunCount,
		MissedRunPolicy: string(s.Missed), OverlapPolicy: string(s.Overlap), CreatedBy: s.CreatedBy,
		CreatedAt: at(s.CreatedAt), UpdatedAt: at(s.UpdatedAt),
	}
	if s.Target.Class == flovyn.ClassWorkflow {
		out.Target.WorkflowKind = &s.Target.Kind
	} else {
		out.Target.TaskKind = &s.Target.Kind
	}
	if local := schedule.Local(&s); local != nil {
		out.NextRunAtLocal = new(local.Format(localLayout))
	}
	return out
}

func runOut(r flovyn.ScheduleRun) *apiv1.ScheduleRun {
	out := &apiv1.ScheduleRun{
		Id: r.ID.String(), ScheduleId: r.Schedule.String(), ScheduledAt: at(r.ScheduledAt), StartedAt: maybeAt(r.StartedAt),
		CompletedAt: maybeAt(r.CompletedAt), Status: string(r.Status), TargetType: string(r.Class), Error: maybe(r.Error),
	}
	if r.Status == flovyn.RunPending { // it will be in a moment
		out.Status = string(flovyn.RunRunning)
	}
	if r.Target != nil {
		out.TargetId = new(r.Target.String())
	}
	return out
}
