package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/fault"
)

func (i *invocation) scheduleCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "schedule", Aliases: []string{"schedules"}, Short: "Start workflows and tasks by the clock"})
	group.AddCommand(i.scheduleCreate(), i.scheduleUpdate(), i.scheduleList(), i.scheduleGet(), i.scheduleDelete(), i.schedulePause(),
		i.scheduleResume(), i.scheduleTrigger(), i.scheduleRuns())
	return group
}

// scheduleFlags are what a schedule says.
type scheduleFlags struct {
	description, cron, timezone, runAt, endAt string
	workflow, task, queue                     string
	retries                                   int32
	metadata                                  map[string]string
	input                                     jsonFlags
	disabled                                  bool
	missed, overlap                           string
}

func (f *scheduleFlags) declare(i *invocation, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.description, "description", "", "what it is for")
	flags.StringVar(&f.cron, "cron", "", "when: five fields of cron, or six with leading seconds")
	flags.StringVar(&f.timezone, "timezone", "", "time zone of --cron, such as Europe/Berlin (default: UTC)")
	flags.StringVar(&f.runAt, "at", "", "when, once: a time such as 2026-01-31T12:00:00Z")
	flags.StringVar(&f.endAt, "until", "", "no run after this time")
	flags.StringVar(&f.workflow, "workflow", "", "workflow kind to start")
	flags.StringVar(&f.task, "task", "", "task kind to start")
	flags.StringVar(&f.queue, "queue", "", "queue of the workers (default: default)")
	flags.Int32Var(&f.retries, "max-retries", 3, "of a task: how often it is tried again")
	metadataFlag(flags, &f.metadata)
	f.input.declare(i, cmd, "input", "the input")
	flags.BoolVar(&f.disabled, "paused", false, "do not start anything before it is resumed")
	flags.StringVar(&f.missed, "missed", "", "what becomes of missed runs: skip or execute_once (default: skip)")
	flags.StringVar(&f.overlap, "overlap", "", "when the run before still goes on: skip, allow or cancel_previous (default: skip)")
	cmd.MarkFlagsMutuallyExclusive("cron", "at")
	cmd.MarkFlagsMutuallyExclusive("workflow", "task")
}

func (f *scheduleFlags) kind(cmd *cobra.Command) (*apiv1.ScheduleType, error) {
	flags := cmd.Flags()
	kind := &apiv1.ScheduleType{Type: "recurring", Cron: optional(flags, "cron", f.cron), Timezone: optional(flags, "timezone", f.timezone)}
	if f.runAt != "" {
		t, err := exactMoment("--at", f.runAt)
		if err != nil {
			return nil, err
		}
		kind = &apiv1.ScheduleType{Type: "once", RunAt: t}
	}
	if f.endAt != "" {
		t, err := exactMoment("--until", f.endAt)
		if err != nil {
			return nil, err
		}
		kind.EndAt = t
	}
	return kind, nil
}

func exactMoment(flag, text string) (*timestamppb.Timestamp, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fault.InvalidField(flag, "%q is no time; want something like 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+01:00", text)
	}
	return timestamppb.New(t), nil
}

func (f *scheduleFlags) target(cmd *cobra.Command) *apiv1.ScheduleTarget {
	flags := cmd.Flags()
	target := &apiv1.ScheduleTarget{
		Type: "workflow", WorkflowKind: optional(flags, "workflow", f.workflow), Queue: optional(flags, "queue",
			f.queue), Input: f.input.json, Metadata: f.metadata,
	}
	if f.task != "" {
		target.Type, target.WorkflowKind, target.TaskKind = "task", nil, &f.task
		target.MaxRetries = optional(flags, "max-retries", f.retries)
	}
	return target
}

func (i *invocation) scheduleCreate() *cobra.Command {
	f := &scheduleFlags{}
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a schedule", Args: exact("NAME"),
		Example: "  flovyn schedule create nightly --cron '0 3 * * *' --timezone Europe/Berlin --workflow report\n" +
			"  flovyn schedule create launch --at 2026-01-31T12:00:00Z --task announce --input '{}'",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			kind, err := f.kind(cmd)
			if err != nil {
				return err
			}
			enabled, flags := !f.disabled, cmd.Flags()
			answer, err := s.Schedules.CreateSchedule(ctx, &apiv1.CreateScheduleRequest{
				Org: s.Org, Name: args[0], Description: optional(flags, "description", f.description), ScheduleType: kind, Target: f.target(cmd),
				Enabled: &enabled, MissedRunPolicy: optional(flags, "missed", f.missed), OverlapPolicy: optional(flags, "overlap", f.overlap),
			})
			if err != nil {
				return err
			}
			return showSchedule(s, answer, answer.GetSchedule())
		}),
	}
	f.declare(i, cmd)
	cmd.MarkFlagsOneRequired("cron", "at")
	cmd.MarkFlagsOneRequired("workflow", "task")
	return cmd
}

func (i *invocation) scheduleUpdate() *cobra.Command {
	f := &scheduleFlags{}
	var name string
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change a schedule; what is not named stays", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			request := &apiv1.UpdateScheduleRequest{
				Org: s.Org, Id: args[0], Name: optional(flags, "name", name), Description: optional(flags, "description", f.description),
				MissedRunPolicy: optional(flags, "missed", f.missed), OverlapPolicy: optional(flags, "overlap", f.overlap),
				Enabled: optional(flags, "paused", !f.disabled),
			}
			if err := f.changed(ctx, s, cmd, request); err != nil {
				return err
			}
			answer, err := s.Schedules.UpdateSchedule(ctx, request)
			if err != nil {
				return err
			}
			return showSchedule(s, answer, answer.GetSchedule())
		}),
	}
	f.declare(i, cmd)
	cmd.Flags().StringVar(&name, "name", "", "another name")
	return cmd
}

// changed puts the parts of the schedule that the flags change into the request.
// The server replaces when and what as wholes, so what the flags do not name is
// taken from the schedule as it is.
func (f *scheduleFlags) changed(ctx context.Context, s *server, cmd *cobra.Command, request *apiv1.UpdateScheduleRequest) error {
	flags := cmd.Flags()
	given := func(names ...string) bool {
		return slices.ContainsFunc(names, flags.Changed)
	}
	when := given("cron", "timezone", "at", "until")
	what := given("workflow", "task", "queue", "max-retries", "metadata", "input", "input-file")
	if !when && !what {
		return nil
	}
	answer, err := s.Schedules.GetSchedule(ctx, &apiv1.GetScheduleRequest{Org: s.Org, Id: request.GetId()})
	if err != nil {
		return err
	}
	now := answer.GetSchedule()
	if when {
		kind, err := f.kind(cmd)
		if err != nil {
			return err
		}
		if !given("cron", "at") {
			kind.Type = now.GetScheduleType().GetType()
			kind.Cron, kind.RunAt = now.GetScheduleType().Cron, now.GetScheduleType().GetRunAt()
		}
		if !given("timezone") && kind.GetType() == "recurring" {
			kind.Timezone = now.GetScheduleType().Timezone
		}
		if !given("until") {
			kind.EndAt = now.GetScheduleType().GetEndAt()
		}
		request.ScheduleType = kind
	}
	if what {
		target := f.target(cmd)
		merged, _ := proto.Clone(now.GetTarget()).(*apiv1.ScheduleTarget)
		if given("workflow", "task") {
			merged.Type, merged.WorkflowKind, merged.TaskKind = target.GetType(), target.WorkflowKind, target.TaskKind
		}
		if given("queue") {
			merged.Queue = target.Queue
		}
		if given("max-retries") {
			merged.MaxRetries = &f.retries
		}
		if given("metadata") {
			merged.Metadata = target.GetMetadata()
		}
		if given("input", "input-file") {
			merged.Input = target.GetInput()
		}
		request.Target = merged
	}
	return nil
}

func showSchedule(s *server, answer proto.Message, schedule *apiv1.Schedule) error {
	return s.Message(answer, []string{schedule.GetId()}, func() { s.Fields(scheduleDetails(schedule)...) })
}

func scheduleDetails(c *apiv1.Schedule) []output.Field {
	status := "active"
	if !c.GetEnabled() {
		status = "paused"
	}
	fields := []output.Field{
		{Name: "id", Value: c.GetId()},
		{Name: "name", Value: c.GetName()},
		{Name: "description", Value: c.GetDescription()},
		{Name: "status", Value: status, Status: true},
		{Name: "when", Value: when(c.GetScheduleType())},
		{
			Name:  "in words",
			Value: c.GetScheduleType().GetDescription(),
		},
		{Name: "until", Value: at(c.GetScheduleType().GetEndAt())},
		{Name: "starts", Value: starts(c.GetTarget())},
		{
			Name:  "queue",
			Value: c.GetTarget().GetQueue(),
		},
		{Name: "next run", Value: at(c.GetNextRunAt())},
		{Name: "next run, local", Value: c.GetNextRunAtLocal()},
		{
			Name:  "last run",
			Value: at(c.GetLastRunAt()),
		},
		{Name: "runs", Value: strconv.FormatInt(c.GetRunCount(), 10)},
		{Name: "missed runs", Value: c.GetMissedRunPolicy()},
		{Name: "overlap", Value: c.GetOverlapPolicy()},
		{Name: "created by", Value: c.GetCreatedBy()},
		{
			Name:  "created",
			Value: at(c.GetCreatedAt()),
		},
	}
	fields = append(fields, metadataFields(c.GetTarget().GetMetadata())...)
	return append(fields, output.Field{Name: "input", Value: string(c.GetTarget().GetInput())})
}

func when(t *apiv1.ScheduleType) string {
	if t.GetType() == "once" {
		return "once, at " + at(t.GetRunAt())
	}
	if t.GetTimezone() != "" {
		return t.GetCron() + " " + t.GetTimezone()
	}
	return t.GetCron()
}

func starts(t *apiv1.ScheduleTarget) string {
	return t.GetType() + " " + t.GetWorkflowKind() + t.GetTaskKind()
}

func (i *invocation) scheduleList() *cobra.Command {
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List schedules by name", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			answer, err := s.Schedules.ListSchedules(ctx, &apiv1.ListSchedulesRequest{Org: s.Org, Limit: &page.limit, Offset: page.offset})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, c := range answer.GetSchedules() {
				status := "active"
				if !c.GetEnabled() {
					status = "paused"
				}
				ids = append(ids, c.GetId())
				rows = append(rows, []string{c.GetId(), c.GetName(), status, when(c.GetScheduleType()), starts(c.GetTarget()), at(c.GetNextRunAt())})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "ID"},
					{Title: "NAME", Long: true},
					{Title: "STATUS", Status: true},
					{Title: "WHEN", Long: true},
					{
						Title: "STARTS",
						Long:  true,
					},
					{Title: "NEXT RUN"},
				}, rows)
				i.more(len(rows), answer.GetTotal(), false, "")
			})
		}),
	}
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func (i *invocation) scheduleGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a schedule", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.GetSchedule(ctx, &apiv1.GetScheduleRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return showSchedule(s, answer, answer.GetSchedule())
		}),
	}
}

func (i *invocation) scheduleDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Aliases: []string{"rm"}, Short: "Delete a schedule; what it started goes on", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.DeleteSchedule(ctx, &apiv1.DeleteScheduleRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("Schedule %s is deleted.", args[0]) })
		}),
	}
}

func (i *invocation) schedulePause() *cobra.Command {
	return &cobra.Command{
		Use: "pause ID", Short: "Stop a schedule until it is resumed", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.PauseSchedule(ctx, &apiv1.PauseScheduleRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("Schedule %s is paused.", output.Clean(answer.GetSchedule().GetName())) })
		}),
	}
}

func (i *invocation) scheduleResume() *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "Let a schedule go on, from now", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.ResumeSchedule(ctx, &apiv1.ResumeScheduleRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() {
				s.Linef("Schedule %s goes on; the next run is at %s.", output.Clean(answer.GetSchedule().GetName()),
					at(answer.GetSchedule().GetNextRunAt()))
			})
		}),
	}
}

func (i *invocation) scheduleTrigger() *cobra.Command {
	return &cobra.Command{
		Use: "trigger ID", Aliases: []string{"run"}, Short: "Start now what a schedule starts", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.TriggerSchedule(ctx, &apiv1.TriggerScheduleRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			run := answer.GetRun()
			return s.Message(answer, []string{run.GetTargetId()}, func() {
				if run.GetTargetId() == "" {
					s.Linef("Nothing was started: the run is %s. %s", run.GetStatus(), output.Clean(run.GetError()))
					return
				}
				s.Linef("Started %s %s.", run.GetTargetType(), run.GetTargetId())
			})
		}),
	}
}

func (i *invocation) scheduleRuns() *cobra.Command {
	var page pageFlags
	cmd := &cobra.Command{
		Use: "runs ID", Short: "List the runs of a schedule, newest first", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Schedules.ListScheduleRuns(ctx, &apiv1.ListScheduleRunsRequest{
				Org: s.Org, Id: args[0], Limit: &page.limit,
				Offset: page.offset,
			})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, r := range answer.GetRuns() {
				ids = append(ids, r.GetId())
				rows = append(rows, []string{
					at(r.GetScheduledAt()), r.GetStatus(), fmt.Sprintf("%s %s", r.GetTargetType(), r.GetTargetId()), at(r.GetCompletedAt()), r.GetError(),
				})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "SCHEDULED"}, {Title: "STATUS", Status: true}, {Title: "STARTED"}, {Title: "COMPLETED"}, {Title: "ERROR", Long: true},
				}, rows)
				i.more(len(rows), answer.GetTotal(), false, "")
			})
		}),
	}
	page.declare(cmd.Flags(), 50, false)
	return cmd
}
