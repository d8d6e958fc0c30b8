package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) workerCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "worker", Aliases: []string{"workers"},
		Short: "See which workers there are, and what they can execute",
	})
	group.AddCommand(i.workerList(), i.workerGet())
	return group
}

func (i *invocation) workerList() *cobra.Command {
	var sort string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List workers by name", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			answer, err := s.Workers.ListWorkers(ctx, &apiv1.ListWorkersRequest{
				Org: s.Org, Type: optional(cmd.Flags(), "type", sort), Limit: &page.limit, Offset: page.offset,
			})
			if err != nil {
				return err
			}
			var ids []string
			for _, w := range answer.GetWorkers() {
				ids = append(ids, w.GetId())
			}
			return s.Message(answer, ids, func() { workerTable(s.Printer, answer.GetWorkers()); i.none(len(ids)) })
		}),
	}
	cmd.Flags().StringVar(&sort, "type", "", "only workers of this type: WORKFLOW, TASK or UNIFIED")
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func workerTable(p *output.Printer, workers []*apiv1.Worker) {
	var rows [][]string
	for _, w := range workers {
		rows = append(rows, []string{w.GetId(), w.GetName(), w.GetType(), w.GetStatus(), w.GetVersion(), w.GetHostName(), p.Age(seen(w))})
	}
	p.Table([]output.Column{
		{Title: "WORKER ID"},
		{Title: "NAME", Long: true},
		{Title: "TYPE"},
		{Title: "STATUS", Status: true},
		{Title: "VERSION", Long: true},
		{Title: "HOST", Long: true},
		{Title: "LAST HEARTBEAT"},
	}, rows)
}

func seen(w *apiv1.Worker) time.Time {
	if w.GetLastHeartbeatAt() == nil {
		return time.Time{}
	}
	return w.GetLastHeartbeatAt().AsTime()
}

func (i *invocation) workerGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a worker and what it can execute", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Workers.GetWorker(ctx, &apiv1.GetWorkerRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			w := answer.GetWorker()
			return s.Message(answer, []string{w.GetId()}, func() {
				s.Fields(output.Field{Name: "id", Value: w.GetId()}, output.Field{Name: "name", Value: w.GetName()},
					output.Field{Name: "type", Value: w.GetType()}, output.Field{Name: "status", Value: w.GetStatus(), Status: true},
					output.Field{Name: "version", Value: w.GetVersion()}, output.Field{Name: "host", Value: w.GetHostName()},
					output.Field{Name: "process", Value: w.GetProcessId()}, output.Field{Name: "registered", Value: at(w.GetRegisteredAt())},
					output.Field{Name: "last heartbeat", Value: at(w.GetLastHeartbeatAt())}, output.Field{
						Name:  "metadata",
						Value: string(w.GetMetadata()),
					},
					output.Field{Name: "workflows", Value: kinds(answer.GetWorkflowCapabilities())},
					output.Field{Name: "tasks", Value: kinds(answer.GetTaskCapabilities())})
			})
		}),
	}
}

func kinds(definitions []*apiv1.Definition) string {
	var names []string
	for _, d := range definitions {
		names = append(names, d.GetKind())
	}
	return strings.Join(names, ", ")
}

func (i *invocation) queueCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "queue", Aliases: []string{"queues"}, Short: "See how much work waits, and where"})
	group.AddCommand(&cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the queues that have work waiting or workers polling", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			answer, err := s.Workers.ListQueues(ctx, &apiv1.ListQueuesRequest{Org: s.Org})
			if err != nil {
				return err
			}
			var names []string
			var rows [][]string
			for _, q := range answer.GetQueues() {
				depth := strconv.FormatInt(q.GetDepth(), 10)
				if q.GetDepthIsCapped() {
					depth += "+"
				}
				oldest := ""
				if q.GetOldestAt() != nil {
					oldest = s.Age(q.GetOldestAt().AsTime())
				}
				names = append(names, q.GetName())
				rows = append(rows, []string{q.GetName(), q.GetClass(), depth, oldest, strconv.Itoa(int(q.GetPollers()))})
			}
			return s.Message(answer, names, func() {
				s.Table([]output.Column{
					{Title: "QUEUE", Long: true}, {Title: "WORK"}, {Title: "WAITING", Right: true}, {Title: "OLDEST"}, {Title: "POLLERS", Right: true},
				}, rows)
				i.none(len(rows))
			})
		}),
	})
	return group
}

// A definitionSort is one of the two sorts of definitions.
type definitionSort struct {
	list func(context.Context, *server, *string, pageFlags) (proto.Message, []*apiv1.Definition, error)
	get  func(context.Context, *server, string) (proto.Message, *apiv1.Definition, []*apiv1.Worker, error)
}

var workflowDefinitions = definitionSort{
	list: func(ctx context.Context, s *server, query *string, page pageFlags) (proto.Message, []*apiv1.Definition, error) {
		answer, err := s.Workers.ListWorkflowDefinitions(ctx, &apiv1.ListWorkflowDefinitionsRequest{
			Org: s.Org, Query: query, Limit: &page.limit, Offset: page.offset,
		})
		return answer, answer.GetDefinitions(), err
	},
	get: func(ctx context.Context, s *server, kind string) (proto.Message, *apiv1.Definition, []*apiv1.Worker, error) {
		answer, err := s.Workers.GetWorkflowDefinition(ctx, &apiv1.GetWorkflowDefinitionRequest{Org: s.Org, Kind: kind})
		return answer, answer.GetDefinition(), answer.GetWorkers(), err
	},
}

var taskDefinitions = definitionSort{
	list: func(ctx context.Context, s *server, query *string, page pageFlags) (proto.Message, []*apiv1.Definition, error) {
		answer, err := s.Workers.ListTaskDefinitions(ctx, &apiv1.ListTaskDefinitionsRequest{
			Org: s.Org, Query: query, Limit: &page.limit, Offset: page.offset,
		})
		return answer, answer.GetDefinitions(), err
	},
	get: func(ctx context.Context, s *server, kind string) (proto.Message, *apiv1.Definition, []*apiv1.Worker, error) {
		answer, err := s.Workers.GetTaskDefinition(ctx, &apiv1.GetTaskDefinitionRequest{Org: s.Org, Kind: kind})
		return answer, answer.GetDefinition(), answer.GetWorkers(), err
	},
}

func (i *invocation) definitionCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "definition", Aliases: []string{"definitions"}, Short: "See which kinds workers registered"})
	group.AddCommand(i.definitionsOf("workflows [KIND]", "List workflow kinds, or show one", workflowDefinitions, "workflow"),
		i.definitionsOf("tasks [KIND]", "List task kinds, or show one", taskDefinitions, "task"))
	return group
}

func (i *invocation) definitionsOf(use, short string, sort definitionSort, aliases ...string) *cobra.Command {
	var query string
	var page pageFlags
	cmd := &cobra.Command{
		Use: use, Aliases: aliases, Short: short, Args: between(0, 1, "KIND"), ValidArgsFunction: i.completeKinds(sort),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				answer, definition, workers, err := sort.get(ctx, s, args[0])
				if err != nil {
					return err
				}
				return s.Message(answer, []string{definition.GetKind()}, func() { showDefinition(s.Printer, definition, workers) })
			}
			answer, definitions, err := sort.list(ctx, s, optional(cmd.Flags(), "query", query), page)
			if err != nil {
				return err
			}
			var names []string
			var rows [][]string
			for _, d := range definitions {
				names = append(names, d.GetKind())
				rows = append(rows, []string{
					d.GetKind(), d.GetName(), d.GetAvailabilityStatus(), strconv.Itoa(int(d.GetWorkerCount())), d.GetLatestVersion(),
				})
			}
			return s.Message(answer, names, func() {
				s.Table([]output.Column{
					{Title: "KIND", Long: true},
					{Title: "NAME", Long: true},
					{Title: "STATUS", Status: true},
					{Title: "WORKERS", Right: true},
					{Title: "VERSION"},
				}, rows)
				i.none(len(rows))
			})
		}),
	}
	cmd.Flags().StringVar(&query, "query", "", "only what the query finds")
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func showDefinition(p *output.Printer, d *apiv1.Definition, workers []*apiv1.Worker) {
	timeout, cancellable := "", "no"
	if d.TimeoutSeconds != nil {
		timeout = strconv.Itoa(int(d.GetTimeoutSeconds())) + " s"
	}
	if d.GetCancellable() {
		cancellable = "yes"
	}
	p.Fields(output.Field{Name: "kind", Value: d.GetKind()}, output.Field{Name: "name", Value: d.GetName()},
		output.Field{Name: "description", Value: d.GetDescription()}, output.Field{
			Name: "status", Value: d.GetAvailabilityStatus(),
			Status: true,
		},
		output.Field{Name: "version", Value: d.GetLatestVersion()}, output.Field{Name: "timeout", Value: timeout},
		output.Field{Name: "retry policy", Value: string(d.GetRetryPolicy())}, output.Field{Name: "cancellable", Value: cancellable},
		output.Field{Name: "tags", Value: strings.Join(d.GetTags(), ", ")}, output.Field{Name: "input schema", Value: string(d.GetInputSchema())},
		output.Field{Name: "output schema", Value: string(d.GetOutputSchema())}, output.Field{Name: "first seen", Value: at(d.GetFirstSeenAt())},
		output.Field{Name: "registered", Value: at(d.GetLastRegisteredAt())}, output.Field{Name: "metadata", Value: string(d.GetMetadata())})
	if len(workers) > 0 {
		p.Linef("")
		workerTable(p, workers)
	}
}

// completionPatience bounds how long somebody who pressed Tab waits.
const completionPatience = 2 * time.Second

// completeKinds offers the kinds that workers registered.
func (i *invocation) completeKinds(sort definitionSort) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		s, _, done, err := i.connect()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer done()
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		if s.findOrg(ctx) != nil { // who presses Tab wants no errors
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		_, definitions, _ := sort.list(ctx, s, nil, pageFlags{limit: 100})
		for _, d := range definitions {
			names = append(names, d.GetKind())
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
