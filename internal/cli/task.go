package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) taskCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "task", Aliases: []string{"tasks", "t"},
		Short: "Create tasks that belong to no workflow, and look at tasks",
	})
	group.AddCommand(i.taskCreate(), i.taskList(), i.taskGet(), i.taskCancel(), i.taskAttempts(), i.taskLogs(), i.taskWatch(), i.taskRelease(),
		i.definitionsOf("definitions [KIND]", "List the task kinds that workers registered, or show one", taskDefinitions))
	return group
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func metadataFields(metadata map[string]string) []output.Field {
	var fields []output.Field
	for _, key := range sortedKeys(metadata) {
		fields = append(fields, output.Field{Name: "metadata." + output.Clean(key), Value: metadata[key]})
	}
	return fields
}

func taskIDs(tasks []*apiv1.TaskExecution) []string {
	var ids []string
	for _, t := range tasks {
		ids = append(ids, t.GetId())
	}
	return ids
}

func taskTable(p *output.Printer, tasks []*apiv1.TaskExecution) {
	var rows [][]string
	for _, t := range tasks {
		rows = append(rows, []string{
			t.GetId(), t.GetKind(), t.GetStatus(), t.GetQueue(), strconv.Itoa(int(t.GetExecutionCount())), percent(t), at(t.GetCreatedAt()),
			at(t.GetCompletedAt()), t.GetParkedReason(), t.GetError(),
		})
	}
	p.Table([]output.Column{
		{Title: "TASK ID"},
		{Title: "KIND", Long: true},
		{Title: "STATUS", Status: true},
		{Title: "QUEUE", Long: true},
		{
			Title: "TRIES",
			Right: true,
		},
		{Title: "PROGRESS", Right: true},
		{Title: "CREATED"},
		{Title: "COMPLETED"},
		{Title: "PARKED", Long: true},
		{Title: "ERROR", Long: true},
	}, rows)
}

func percent(t *apiv1.TaskExecution) string {
	if t.Progress == nil {
		return ""
	}
	return fmt.Sprintf("%d%%", int(t.GetProgress()*100))
}

func (i *invocation) showTask(s *server, answer *apiv1.GetTaskExecutionResponse) error {
	t := answer.GetTask()
	return s.Message(answer, []string{t.GetId()}, func() { s.Fields(taskFields(t)...) })
}

func taskFields(t *apiv1.TaskExecution) []output.Field {
	fields := []output.Field{
		{Name: "id", Value: t.GetId()},
		{Name: "kind", Value: t.GetKind()},
		{Name: "status", Value: t.GetStatus(), Status: true},
		{Name: "queue", Value: t.GetQueue()},
		{Name: "workflow", Value: t.GetWorkflowExecutionId()},
		{Name: "worker", Value: t.GetWorkerId()},
		{Name: "tries", Value: fmt.Sprintf("%d, and %d retries at most", t.GetExecutionCount(), t.GetMaxRetries())},
		{Name: "progress", Value: percent(t)},
		{Name: "details", Value: t.GetProgressDetails()},
		{Name: "created", Value: at(t.GetCreatedAt())},
		{Name: "started", Value: at(t.GetStartedAt())},
		{
			Name:  "completed",
			Value: at(t.GetCompletedAt()),
		},
		{Name: "parked", Value: t.GetParkedReason()},
	}
	fields = append(fields, metadataFields(t.GetMetadata())...)
	return append(fields, output.Field{Name: "input", Value: string(t.GetInput())}, output.Field{Name: "output", Value: string(t.GetOutput())},
		output.Field{Name: "error", Value: t.GetError()})
}

func (i *invocation) taskCreate() *cobra.Command {
	request := &apiv1.CreateTaskExecutionRequest{}
	var input jsonFlags
	var queue, key, ttl string
	var retries, timeout int32
	cmd := &cobra.Command{
		Use: "create KIND", Aliases: []string{"trigger", "start"}, Short: "Create a task", Args: exact("KIND"),
		Example:           `  flovyn task create resize --input '{"image": "a.png"}' --max-retries 5`,
		ValidArgsFunction: i.completeKinds(taskDefinitions),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			request.Org, request.Kind, request.Queue = s.Org, args[0], optional(flags, "queue", queue)
			request.IdempotencyKey, request.IdempotencyKeyTtl = optional(flags, "idempotency-key", key), optional(flags, "ttl", ttl)
			request.MaxRetries, request.TimeoutSeconds = optional(flags, "max-retries", retries), optional(flags, "timeout-seconds", timeout)
			request.Input = input.json
			answer, err := s.Tasks.CreateTaskExecution(ctx, request)
			if err != nil {
				return err
			}
			t := answer.GetTask()
			return s.Message(answer, []string{t.GetId()}, func() {
				s.Fields(output.Field{Name: "id", Value: t.GetId()}, output.Field{Name: "kind", Value: t.GetKind()},
					output.Field{Name: "status", Value: t.GetStatus(), Status: true}, output.Field{Name: "created", Value: at(t.GetCreatedAt())})
				if !answer.GetCreated() {
					i.say("It was created before, with the same idempotency key.")
				}
			})
		}),
	}
	flags := cmd.Flags()
	input.declare(i, cmd, "input", "the task's input")
	flags.StringVar(&queue, "queue", "", "queue of the workers (default: default)")
	flags.Int32Var(&retries, "max-retries", 3, "how often it is tried again after a failure: 0 to 10")
	flags.Int32Var(&timeout, "timeout-seconds", 0, "fail when it has not completed by then (default: never)")
	flags.StringVar(&key, "idempotency-key", "", "create nothing when this key has created a task already")
	flags.StringVar(&ttl, "ttl", "", "how long the key is kept, as 30s, 5m, 2h or 7d (default: 24h)")
	metadataFlag(flags, &request.Metadata)
	return cmd
}

func (i *invocation) taskList() *cobra.Command {
	var query, status, kind, queue string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List tasks, newest first", Args: exact(),
		Long: "List shows the tasks that belong to no workflow, or those that a query finds by\nworkflowId.",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			flags := cmd.Flags()
			answer, err := s.Tasks.ListTaskExecutions(ctx, &apiv1.ListTaskExecutionsRequest{
				Org: s.Org, Query: optional(flags, "query", query), Status: optional(flags, "status", status), Kind: optional(flags, "kind", kind),
				Queue: optional(flags, "queue", queue), Limit: &page.limit, Offset: page.offset, PageToken: optional(flags, "page-token", page.token),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, taskIDs(answer.GetTasks()), func() {
				taskTable(s.Printer, answer.GetTasks())
				i.more(len(answer.GetTasks()), answer.GetTotal(), answer.GetTotalIsCapped(), answer.GetNextPageToken())
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&query, "query", "", "only what the query finds")
	flags.StringVar(&status, "status", "", "only with this status: PENDING, RUNNING, COMPLETED, FAILED or CANCELLED")
	flags.StringVar(&kind, "kind", "", "only of this kind")
	flags.StringVar(&queue, "queue", "", "only of this queue")
	page.declare(flags, 50, true)
	_ = cmd.RegisterFlagCompletionFunc("kind", i.completeKinds(taskDefinitions))
	return cmd
}

func (i *invocation) taskGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a task", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Tasks.GetTaskExecution(ctx, &apiv1.GetTaskExecutionRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return i.showTask(s, answer)
		}),
	}
}

func (i *invocation) taskCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "Cancel a task that no worker has yet", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Tasks.CancelTaskExecution(ctx, &apiv1.CancelTaskExecutionRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("%s is cancelled.", args[0]) })
		}),
	}
}

func attemptTable(p *output.Printer, attempts []*apiv1.TaskAttempt) {
	var rows [][]string
	for _, a := range attempts {
		duration := ""
		if a.DurationMs != nil {
			duration = strconv.FormatInt(a.GetDurationMs(), 10)
		}
		rows = append(rows, []string{
			strconv.Itoa(int(a.GetAttempt())), a.GetStatus(), at(a.GetStartedAt()), duration, a.GetWorkerId(), a.GetError(),
		})
	}
	p.Table([]output.Column{
		{Title: "ATTEMPT", Right: true},
		{Title: "STATUS", Status: true},
		{Title: "STARTED"},
		{Title: "DURATION(ms)", Right: true},
		{Title: "WORKER", Long: true},
		{Title: "ERROR", Long: true},
	}, rows)
}

func (i *invocation) taskAttempts() *cobra.Command {
	return &cobra.Command{
		Use: "attempts ID", Short: "List the attempts of a task", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Tasks.ListTaskAttempts(ctx, &apiv1.ListTaskAttemptsRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() { attemptTable(s.Printer, answer.GetAttempts()); i.none(len(answer.GetAttempts())) })
		}),
	}
}

func (i *invocation) taskLogs() *cobra.Command {
	var level string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what a task logged", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Tasks.ListTaskLogs(ctx, &apiv1.ListTaskLogsRequest{
				Org: s.Org, Id: args[0], Level: optional(cmd.Flags(), "level", level), Limit: &page.limit, Offset: page.offset,
			})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() {
				for _, l := range answer.GetLogs() {
					s.Linef("%s  %s  %s", at(l.GetTimestamp()), s.PaintAs(l.GetLevel(), fmt.Sprintf("%-5s", l.GetLevel())), output.Clean(l.GetMessage()))
				}
				i.more(len(answer.GetLogs()), answer.GetTotal(), false, "")
			})
		}),
	}
	cmd.Flags().StringVar(&level, "level", "", "only lines of this level: DEBUG, INFO, WARN or ERROR")
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func (i *invocation) taskWatch() *cobra.Command {
	var types string
	cmd := &cobra.Command{
		Use: "watch ID", Aliases: []string{"follow"}, Short: "Show what a task does, live, until it ends", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			ended := func() bool {
				answer, err := s.Tasks.GetTaskExecution(ctx, &apiv1.GetTaskExecutionRequest{Org: s.Org, Id: args[0]})
				return err == nil && answer.GetTask().GetCompletedAt() != nil
			}
			err := s.frames(ctx, func(ctx context.Context, last *string) (frameStream, error) {
				return s.Streams.StreamTaskExecution(ctx, &apiv1.StreamTaskExecutionRequest{
					Org: s.Org, Id: args[0], Types: optional(cmd.Flags(), "types", types), LastEventId: last,
				})
			}, ended)
			if err != nil {
				return err
			}
			answer, err := s.Tasks.GetTaskExecution(ctx, &apiv1.GetTaskExecutionRequest{Org: s.Org, Id: args[0]})
			if err == nil {
				i.say("It is %s.", answer.GetTask().GetStatus())
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&types, "types", "", "some of events, tokens, progress, data and errors, with commas")
	return cmd
}

func (i *invocation) taskRelease() *cobra.Command {
	var which selectionFlags
	cmd := &cobra.Command{
		Use: "release [ID...]", Short: "Give parked tasks to workers again",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Tasks.ReleaseTaskExecutions(ctx, &apiv1.ReleaseTaskExecutionsRequest{
				Org: s.Org, Ids: args, Kind: optional(cmd.Flags(), "kind", which.kind), Queue: optional(cmd.Flags(), "queue",
					which.queue), All: which.all,
			})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() { s.Linef("%d released.", answer.GetReleased()) })
		}),
	}
	which.declare(cmd)
	return cmd
}
