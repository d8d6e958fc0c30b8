package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) workflowCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "workflow", Aliases: []string{"workflows", "wf"},
		Short: "Start workflows, look at them, and steer them",
	})
	group.AddCommand(
		i.workflowStart("start", "Start a workflow",
			"trigger"), i.workflowList(), i.workflowGet(), i.workflowWait(), i.workflowEvents(), i.workflowLogs(),
		i.workflowTasks(), i.workflowTaskAttempts(), i.workflowChildren(), i.workflowPromises(), i.workflowState(), i.workflowQuery(), i.workflowTimeline(),
		i.workflowSignal(), i.workflowSignalWithStart(), i.workflowCancel(), i.workflowTerminate(), i.workflowRetry(), i.workflowRelease(),
		i.workflowTerminateParked(), i.definitionsOf("definitions [KIND]", "List the workflow kinds that workers registered, or show one",
			workflowDefinitions),
	)
	return group
}

// triggerCommand is the short form of `workflow start`.
func (i *invocation) triggerCommand() *cobra.Command {
	return i.workflowStart("trigger", "Start a workflow, as workflow start does")
}

func at(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return output.Moment(t.AsTime())
}

func (i *invocation) workflowList() *cobra.Command {
	request := &apiv1.ListWorkflowExecutionsRequest{}
	var query, status, kind string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List workflow executions, newest first", Args: exact(),
		Example: "  flovyn workflow list --status FAILED\n" +
			"  flovyn workflow list --query 'kind = \"order\" AND createdAt > -1h ORDER BY createdAt'",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			flags := cmd.Flags()
			request.Org, request.Query = s.Org, optional(flags, "query", query)
			request.Status, request.Kind = optional(flags, "status", status), optional(flags, "kind", kind)
			request.Limit, request.Offset, request.PageToken = &page.limit, page.offset, optional(flags, "page-token", page.token)
			answer, err := s.Executions.ListWorkflowExecutions(ctx, request)
			if err != nil {
				return err
			}
			var ids []string
			for _, w := range answer.GetWorkflows() {
				ids = append(ids, w.GetId())
			}
			return s.Message(answer, ids, func() {
				workflowTable(s.Printer, answer.GetWorkflows())
				i.more(len(ids), answer.GetTotal(), answer.GetTotalIsCapped(), answer.GetNextPageToken())
			})
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&query, "query", "", "only what the query finds")
	flags.StringVar(&status, "status", "", "only with this status: PENDING, RUNNING, WAITING, COMPLETED, FAILED or CANCELLED")
	flags.StringVar(&kind, "kind", "", "only of this kind")
	page.declare(flags, 20, true)
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(
		[]string{"PENDING", "RUNNING", "WAITING", "COMPLETED", "FAILED", "CANCELLED"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("kind", i.completeKinds(workflowDefinitions))
	return cmd
}

// more tells how much there is beyond a page.
func (i *invocation) more(shown int, total int64, capped bool, token string) {
	if int64(shown) >= total && token == "" {
		if total == 0 {
			i.say("None.")
		}
		return
	}
	count := strconv.FormatInt(total, 10)
	if capped {
		count += " or more"
	}
	if token != "" {
		i.say("%d of %s; for the next page: --page-token %s", shown, count, token)
		return
	}
	i.say("%d of %s; see the others with --limit and --offset", shown, count)
}

func workflowTable(p *output.Printer, list []*apiv1.WorkflowExecutionSummary) {
	rows := make([][]string, 0, len(list))
	for _, w := range list {
		rows = append(rows, []string{
			w.GetId(), w.GetKind(), w.GetStatus(), w.GetQueue(), at(w.GetCreatedAt()), at(w.GetCompletedAt()), w.GetParkedReason(),
		})
	}
	p.Table([]output.Column{
		{Title: "ID"},
		{Title: "KIND", Long: true},
		{Title: "STATUS", Status: true},
		{Title: "QUEUE", Long: true},
		{Title: "CREATED"},
		{Title: "COMPLETED"},
		{Title: "PARKED", Long: true},
	}, rows)
}

// get returns one execution.
func (s *server) get(ctx context.Context, id string) (*apiv1.GetWorkflowExecutionResponse, error) {
	return s.Executions.GetWorkflowExecution(ctx, &apiv1.GetWorkflowExecutionRequest{Org: s.Org, Id: id})
}

func (i *invocation) workflowGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a workflow execution", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.get(ctx, args[0])
			if err != nil {
				return err
			}
			w := answer.GetExecution()
			return s.Message(answer, []string{w.GetId()}, func() { s.Fields(executionFields(w)...) })
		}),
	}
}

func executionFields(w *apiv1.WorkflowExecution) []output.Field {
	nearlyFull := ""
	if w.GetHistoryNearlyFull() {
		nearlyFull = "nearly full; the execution fails at its limit"
	}
	priority := ""
	if w.GetPrioritySeconds() != 0 {
		priority = fmt.Sprintf("%d s", w.GetPrioritySeconds())
	}
	fields := []output.Field{
		{Name: "id", Value: w.GetId()},
		{Name: "kind", Value: w.GetKind()},
		{Name: "status", Value: w.GetStatus(), Status: true},
		{Name: "waits for", Value: w.GetSuspendType()},
		{Name: "queue", Value: w.GetQueue()},
		{Name: "version", Value: w.GetWorkflowVersion()},
		{Name: "parent", Value: w.GetParentWorkflowExecutionId()},
		{Name: "worker", Value: w.GetWorkerId()},
		{Name: "priority", Value: priority},
		{Name: "events", Value: strconv.Itoa(int(w.GetCurrentSequence()))},
		{Name: "history", Value: nearlyFull},
		{Name: "created", Value: at(w.GetCreatedAt())},
		{Name: "started", Value: at(w.GetStartedAt())},
		{
			Name:  "completed",
			Value: at(w.GetCompletedAt()),
		},
		{Name: "parked", Value: w.GetParkedReason()},
		{Name: "parked at", Value: at(w.GetParkedAt())},
	}
	fields = append(fields, metadataFields(w.GetMetadata())...)
	return append(fields, output.Field{Name: "input", Value: string(w.GetInput())}, output.Field{Name: "output", Value: string(w.GetOutput())},
		output.Field{Name: "error", Value: w.GetError()})
}

func (i *invocation) workflowTasks() *cobra.Command {
	return &cobra.Command{
		Use: "tasks ID", Short: "List the tasks of an execution", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Executions.ListWorkflowTasks(ctx, &apiv1.ListWorkflowTasksRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, taskIDs(answer.GetTasks()), func() { taskTable(s.Printer, answer.GetTasks()); i.none(len(answer.GetTasks())) })
		}),
	}
}

// none says of an empty list that it is one.
func (i *invocation) none(count int) {
	if count == 0 {
		i.say("None.")
	}
}

func (i *invocation) workflowTaskAttempts() *cobra.Command {
	return &cobra.Command{
		Use: "task-attempts ID TASK_ID", Short: "List the attempts of a task of an execution", Args: exact("ID", "TASK_ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Executions.ListWorkflowTaskAttempts(ctx, &apiv1.ListWorkflowTaskAttemptsRequest{
				Org: s.Org, Id: args[0],
				TaskId: args[1],
			})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() { attemptTable(s.Printer, answer.GetAttempts()); i.none(len(answer.GetAttempts())) })
		}),
	}
}

func (i *invocation) workflowChildren() *cobra.Command {
	return &cobra.Command{
		Use: "children ID", Short: "List the executions that an execution started", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Executions.ListWorkflowChildren(ctx, &apiv1.ListWorkflowChildrenRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, c := range answer.GetChildren() {
				ids = append(ids, c.GetChildWorkflowExecutionId())
				rows = append(rows, []string{
					c.GetChildWorkflowExecutionId(), c.GetChildExecutionName(), c.GetKind(), c.GetStatus(), at(c.GetCreatedAt()), at(c.GetCompletedAt()),
				})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "CHILD ID"},
					{Title: "NAME", Long: true},
					{Title: "KIND", Long: true},
					{Title: "STATUS", Status: true},
					{Title: "CREATED"},
					{Title: "COMPLETED"},
				}, rows)
				i.none(len(rows))
			})
		}),
	}
}

func (i *invocation) workflowPromises() *cobra.Command {
	return &cobra.Command{
		Use: "promises ID", Short: "List the promises of an execution", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Executions.ListWorkflowPromises(ctx, &apiv1.ListWorkflowPromisesRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, p := range answer.GetPromises() {
				ids = append(ids, p.GetId())
				rows = append(rows, []string{p.GetId(), p.GetName(), p.GetStatus(), p.GetIdempotencyKey(), at(p.GetTimeoutAt()), at(p.GetCreatedAt())})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "PROMISE ID"},
					{Title: "NAME", Long: true},
					{Title: "STATUS", Status: true},
					{Title: "KEY", Long: true},
					{Title: "TIMES OUT"},
					{Title: "CREATED"},
				}, rows)
				i.none(len(rows))
			})
		}),
	}
}

func (i *invocation) workflowState() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "state ID", Short: "Show what an execution keeps as its state", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.GetWorkflowState(ctx, &apiv1.GetWorkflowStateRequest{
				Org: s.Org, Id: args[0], Key: optional(cmd.Flags(), "key", key),
			})
			if err != nil {
				return err
			}
			keys := sortedKeys(answer.GetState())
			return s.Message(answer, keys, func() {
				var rows [][]string
				for _, k := range keys {
					rows = append(rows, []string{k, string(answer.GetState()[k])})
				}
				s.Table([]output.Column{{Title: "KEY"}, {Title: "VALUE", Long: true}}, rows)
				i.none(len(rows))
			})
		}),
	}
	cmd.Flags().StringVar(&key, "key", "", "only the value under this key")
	return cmd
}

func (i *invocation) workflowQuery() *cobra.Command {
	var params jsonFlags
	cmd := &cobra.Command{
		Use: "query ID NAME", Short: "Ask an execution about its state", Args: exact("ID", "NAME"),
		Long: "Query answers from the execution's state: the value under the query's name, or the\n" +
			"whole state as one object for the name \"state\".",
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Executions.QueryWorkflowExecution(ctx, &apiv1.QueryWorkflowExecutionRequest{
				Org: s.Org, Id: args[0], QueryName: args[1], Params: params.json,
			})
			if err != nil {
				return err
			}
			if s.Format == output.Table {
				return s.Value(answer.GetResult())
			}
			return s.Message(answer, nil, func() {})
		}),
	}
	params.declare(i, cmd, "params", "the query's parameters")
	return cmd
}

func (i *invocation) workflowSignal() *cobra.Command {
	return &cobra.Command{
		Use: "signal ID NAME [VALUE]", Short: "Send a signal to an execution", Args: between(2, 3, "ID", "NAME", "VALUE"),
		Long:    "Signal sends a value, which is JSON, to an execution. The value - is read from\nstandard input, and without one it is null.",
		Example: `  flovyn workflow signal 0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a4 approved '{"by": "jane"}'`,
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			value, err := i.argJSON("VALUE", args, 2)
			if err != nil {
				return err
			}
			answer, err := s.Executions.SignalWorkflowExecution(ctx, &apiv1.SignalWorkflowExecutionRequest{
				Org: s.Org, Id: args[0], SignalName: args[1], SignalValue: value,
			})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() { s.Linef("Signal %s sent; it is event %d.", args[1], answer.GetSignalEventSequence()) })
		}),
	}
}

func (i *invocation) workflowSignalWithStart() *cobra.Command {
	request := &apiv1.SignalWithStartWorkflowExecutionRequest{}
	var input jsonFlags
	var queue, version, ttl string
	cmd := &cobra.Command{
		Use: "signal-with-start WORKFLOW_ID KIND NAME [VALUE]", Short: "Signal the open execution with a workflow id, and start it first if there is none",
		Args: between(3, 4, "WORKFLOW_ID", "KIND", "NAME", "VALUE"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) (err error) {
			flags := cmd.Flags()
			request.Org, request.WorkflowId, request.WorkflowKind, request.SignalName = s.Org, args[0], args[1], args[2]
			request.Queue, request.Version = optional(flags, "queue", queue), optional(flags, "version", version)
			request.IdempotencyKeyTtl = optional(flags, "ttl", ttl)
			if request.SignalValue, err = i.argJSON("VALUE", args, 3); err != nil {
				return err
			}
			request.WorkflowInput = input.json
			answer, err := s.Executions.SignalWithStartWorkflowExecution(ctx, request)
			if err != nil {
				return err
			}
			return s.Message(answer, []string{answer.GetWorkflowExecutionId()}, func() {
				started := "It ran already"
				if answer.GetWorkflowCreated() {
					started = "It was started"
				}
				s.Linef("Signal %s sent to %s as event %d. %s.", args[2], answer.GetWorkflowExecutionId(), answer.GetSignalEventSequence(), started)
			})
		}),
	}
	flags := cmd.Flags()
	input.declare(i, cmd, "input", "the workflow's input")
	flags.StringVar(&queue, "queue", "", "queue of the workers (default: default)")
	flags.StringVar(&version, "version", "", "version of the workflow")
	flags.Int32Var(&request.PrioritySeconds, "priority-seconds", 0, "dispatch as if it had been created so many seconds before")
	flags.StringVar(&ttl, "ttl", "", "how long the workflow id is kept, as 30s, 5m, 2h or 7d")
	metadataFlag(flags, &request.Metadata)
	return cmd
}

func (i *invocation) workflowCancel() *cobra.Command {
	var reason string
	var cascade bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel an execution and its children", Args: exact("ID"),
		Long: "Cancel asks an execution to end. Its workflow gets to know of it and may clean up;\nsee workflow terminate for one that does not end.",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.CancelWorkflowExecution(ctx, &apiv1.CancelWorkflowExecutionRequest{
				Org: s.Org, Id: args[0], Reason: optional(cmd.Flags(), "reason", reason), CascadeToChildren: optional(cmd.Flags(), "cascade", cascade),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() {
				if answer.GetStatus() == "ALREADY_TERMINAL" {
					s.Linef("%s has ended already.", args[0])
					return
				}
				s.Linef("%s is being cancelled, and %d of its children.", args[0], answer.GetCancelledChildren())
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept in the history")
	cmd.Flags().BoolVar(&cascade, "cascade", true, "cancel the children too")
	return cmd
}

func (i *invocation) workflowTerminate() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "terminate ID", Short: "End an execution at once, without asking its worker", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.TerminateWorkflowExecution(ctx, &apiv1.TerminateWorkflowExecutionRequest{
				Org: s.Org, Id: args[0], Reason: optional(cmd.Flags(), "reason", reason),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() {
				if answer.GetStatus() == "ALREADY_TERMINAL" {
					s.Linef("%s has ended already.", args[0])
					return
				}
				s.Linef("%s is terminated.", args[0])
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept in the history")
	return cmd
}

func (i *invocation) workflowRetry() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Let a failed execution try again from where it failed", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.RetryWorkflowExecution(ctx, &apiv1.RetryWorkflowExecutionRequest{
				Org: s.Org, Id: args[0], Note: optional(cmd.Flags(), "note", note),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{answer.GetWorkflowExecutionId()}, func() {
				s.Linef("%s is %s again; a worker picks it up.", answer.GetWorkflowExecutionId(), answer.GetStatus())
			})
		}),
	}
	cmd.Flags().StringVar(&note, "note", "", "kept in the history")
	return cmd
}

// selectionFlags say which parked executions are meant.
type selectionFlags struct {
	kind, queue string
	all         bool
}

func (f *selectionFlags) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kind, "kind", "", "all of this kind")
	cmd.Flags().StringVar(&f.queue, "queue", "", "all of this queue")
	cmd.Flags().BoolVar(&f.all, "all", false, "all of the organization")
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, ids []string) error {
		if args != nil {
			if err := args(cmd, ids); err != nil {
				return err
			}
		}
		if len(ids) == 0 && !f.all && f.kind == "" && f.queue == "" {
			return hinted{errors.New("which ones? Name some by ID, or give --kind, --queue or --all"), "usage: " + cmd.UseLine()}
		}
		return nil
	}
}

func (f *selectionFlags) parked(cmd *cobra.Command, ids []string) *apiv1.ParkedSelection {
	return &apiv1.ParkedSelection{
		Ids: ids, Kind: optional(cmd.Flags(), "kind", f.kind), Queue: optional(cmd.Flags(), "queue", f.queue), All: f.all,
	}
}

func (i *invocation) workflowRelease() *cobra.Command {
	var which selectionFlags
	cmd := &cobra.Command{
		Use: "release [ID...]", Short: "Give parked executions to workers again",
		Long: "An execution that no worker could carry out is parked: no worker gets it any more.\nRelease gives it to workers again, when what was wrong is mended.",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.ReleaseWorkflowExecutions(ctx, &apiv1.ReleaseWorkflowExecutionsRequest{
				Org: s.Org, Selection: which.parked(cmd, args),
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

func (i *invocation) workflowTerminateParked() *cobra.Command {
	var which selectionFlags
	var reason string
	cmd := &cobra.Command{
		Use: "terminate-parked [ID...]", Short: "End parked executions at once",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			answer, err := s.Executions.TerminateParkedWorkflowExecutions(ctx, &apiv1.TerminateParkedWorkflowExecutionsRequest{
				Org: s.Org, Selection: which.parked(cmd, args), Reason: optional(cmd.Flags(), "reason", reason),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() { s.Linef("%d terminated.", answer.GetTerminated()) })
		}),
	}
	which.declare(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept in the histories")
	return cmd
}
