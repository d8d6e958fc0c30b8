package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) savedQueryCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "query", Aliases: []string{"queries"}, Short: "Keep queries under a name, and learn the language"})
	group.AddCommand(i.queryCreate(), i.queryList(), i.queryGet(), i.queryUpdate(), i.queryDelete(), i.queryRun(), i.queryFields(),
		i.queryOperators())
	return group
}

const entities = "workflow, task, workflowDefinition or taskDefinition"

func showQuery(s *server, answer proto.Message, q *apiv1.SavedQuery) error {
	shared := "no"
	if q.GetIsShared() {
		shared = "yes"
	}
	return s.Message(answer, []string{q.GetId()}, func() {
		s.Fields(output.Field{Name: "id", Value: q.GetId()}, output.Field{Name: "name", Value: q.GetName()},
			output.Field{Name: "description", Value: q.GetDescription()}, output.Field{Name: "entity", Value: q.GetEntity()},
			output.Field{Name: "query", Value: q.GetQuery()}, output.Field{Name: "shared", Value: shared},
			output.Field{Name: "created by", Value: q.GetCreatedBy()}, output.Field{Name: "used", Value: strconv.FormatInt(q.GetUseCount(), 10)},
			output.Field{Name: "last used", Value: at(q.GetLastUsedAt())}, output.Field{Name: "created", Value: at(q.GetCreatedAt())})
	})
}

func (i *invocation) queryCreate() *cobra.Command {
	request := &apiv1.CreateSavedQueryRequest{}
	var description string
	cmd := &cobra.Command{
		Use: "create NAME QUERY", Aliases: []string{"save"}, Short: "Save a query", Args: exact("NAME", "QUERY"),
		Example: `  flovyn query create stuck 'status = "WAITING" AND createdAt < -7d'`,
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			request.Org, request.Name, request.Query = s.Org, args[0], args[1]
			request.Description = optional(cmd.Flags(), "description", description)
			answer, err := s.Queries.CreateSavedQuery(ctx, request)
			if err != nil {
				return err
			}
			return showQuery(s, answer, answer.GetSavedQuery())
		}),
	}
	cmd.Flags().StringVar(&request.Entity, "entity", "workflow", "what it is about: "+entities)
	cmd.Flags().BoolVar(&request.IsShared, "shared", false, "let others of the organization see it")
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	return cmd
}

func (i *invocation) queryList() *cobra.Command {
	var entity string
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List your queries, and those that others share", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			answer, err := s.Queries.ListSavedQueries(ctx, &apiv1.ListSavedQueriesRequest{
				Org: s.Org, Entity: optional(cmd.Flags(), "entity", entity), Limit: &page.limit, Offset: page.offset,
			})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, q := range answer.GetQueries() {
				ids = append(ids, q.GetId())
				rows = append(rows, []string{q.GetId(), q.GetName(), q.GetEntity(), q.GetQuery(), strconv.FormatInt(q.GetUseCount(), 10)})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "ID"}, {Title: "NAME", Long: true}, {Title: "ENTITY"}, {Title: "QUERY", Long: true}, {Title: "USED", Right: true},
				}, rows)
				i.more(len(rows), answer.GetTotal(), false, "")
			})
		}),
	}
	cmd.Flags().StringVar(&entity, "entity", "", "only about this: "+entities)
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func (i *invocation) queryGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show a saved query", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Queries.GetSavedQuery(ctx, &apiv1.GetSavedQueryRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return showQuery(s, answer, answer.GetSavedQuery())
		}),
	}
}

func (i *invocation) queryUpdate() *cobra.Command {
	var name, description, query string
	var shared bool
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change a saved query; what is not named stays", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			answer, err := s.Queries.UpdateSavedQuery(ctx, &apiv1.UpdateSavedQueryRequest{
				Org: s.Org, Id: args[0], Name: optional(flags, "name", name), Description: optional(flags, "description", description),
				Query: optional(flags, "query", query), IsShared: optional(flags, "shared", shared),
			})
			if err != nil {
				return err
			}
			return showQuery(s, answer, answer.GetSavedQuery())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "another name")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.StringVar(&query, "query", "", "another query")
	flags.BoolVar(&shared, "shared", false, "let others of the organization see it")
	return cmd
}

func (i *invocation) queryDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Aliases: []string{"rm"}, Short: "Delete a saved query", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Queries.DeleteSavedQuery(ctx, &apiv1.DeleteSavedQueryRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("Query %s is deleted.", args[0]) })
		}),
	}
}

func (i *invocation) queryRun() *cobra.Command {
	var page pageFlags
	cmd := &cobra.Command{
		Use: "run ID", Aliases: []string{"execute"}, Short: "Run a saved query", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Queries.ExecuteSavedQuery(ctx, &apiv1.ExecuteSavedQueryRequest{
				Org: s.Org, Id: args[0], Limit: &page.limit, Offset: page.offset,
			})
			if err != nil {
				return err
			}
			found := append(taskIDs(answer.GetTasks()), answer.GetKinds()...)
			for _, w := range answer.GetWorkflows() {
				found = append(found, w.GetId())
			}
			return s.Message(answer, found, func() {
				switch answer.GetEntity() {
				case "workflow":
					workflowTable(s.Printer, answer.GetWorkflows())
				case "task":
					taskTable(s.Printer, answer.GetTasks())
				default:
					for _, kind := range answer.GetKinds() {
						s.Linef("%s", output.Clean(kind))
					}
				}
				i.more(len(found), answer.GetTotal(), answer.GetTotalIsCapped(), "")
			})
		}),
	}
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func (i *invocation) queryFields() *cobra.Command {
	var entity string
	cmd := &cobra.Command{
		Use: "fields", Short: "List what queries can ask for", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			answer, err := s.Language.ListQueryFields(ctx, &apiv1.ListQueryFieldsRequest{Org: s.Org, Entity: entity})
			if err != nil {
				return err
			}
			var names []string
			var rows [][]string
			for _, f := range answer.GetFields() {
				names = append(names, f.GetName())
				rows = append(rows, []string{f.GetName(), f.GetType(), strings.Join(f.GetOperators(), " "), f.GetDescription()})
			}
			return s.Message(answer, names, func() {
				s.Table([]output.Column{{Title: "FIELD"}, {Title: "TYPE"}, {Title: "OPERATORS", Long: true}, {Title: "WHAT IT IS", Long: true}}, rows)
			})
		}),
	}
	cmd.Flags().StringVar(&entity, "entity", "workflow", "of what: "+entities)
	return cmd
}

func (i *invocation) queryOperators() *cobra.Command {
	return &cobra.Command{
		Use: "operators", Short: "List the operators of the language", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			answer, err := s.Language.ListQueryOperators(ctx, &apiv1.ListQueryOperatorsRequest{Org: s.Org})
			if err != nil {
				return err
			}
			var names []string
			var rows [][]string
			for _, o := range answer.GetOperators() {
				names = append(names, o.GetValue())
				rows = append(rows, []string{o.GetValue(), o.GetDescription()})
			}
			return s.Message(answer, names, func() { s.Table([]output.Column{{Title: "OPERATOR"}, {Title: "WHAT IT DOES", Long: true}}, rows) })
		}),
	}
}

func (i *invocation) metadataCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "metadata", Short: "Say what people may expect in the metadata of executions",
		Long: "A field informs those who fill in forms, and refuses nothing: other keys and values are\nas good.",
	})
	group.AddCommand(i.metadataCreate(), i.metadataList(), i.metadataUpdate(), i.metadataDelete())
	return group
}

func showField(s *server, answer proto.Message, f *apiv1.MetadataField) error {
	return s.Message(answer, []string{f.GetId()}, func() {
		s.Fields(output.Field{Name: "id", Value: f.GetId()}, output.Field{Name: "key", Value: f.GetKey()}, output.Field{
			Name:  "name",
			Value: f.GetDisplayName(),
		},
			output.Field{Name: "description", Value: f.GetDescription()}, output.Field{Name: "type", Value: f.GetFieldType()},
			output.Field{Name: "values", Value: strings.Join(f.GetAllowedValues(), ", ")}, output.Field{Name: "of", Value: f.GetScope()})
	})
}

func (i *invocation) metadataCreate() *cobra.Command {
	request := &apiv1.CreateMetadataFieldRequest{}
	var name, description, workflow, task string
	cmd := &cobra.Command{
		Use: "create KEY", Short: "Create a field, for all executions or for one kind", Args: exact("KEY"),
		Example: "  flovyn metadata create region --type enum --values eu,us --workflow order",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			request.Org, request.Key = s.Org, args[0]
			request.DisplayName, request.Description = optional(flags, "name", name), optional(flags, "description", description)
			request.WorkflowKind, request.TaskKind = optional(flags, "workflow", workflow), optional(flags, "task", task)
			answer, err := s.Metadata.CreateMetadataField(ctx, request)
			if err != nil {
				return err
			}
			return showField(s, answer, answer.GetField())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&request.FieldType, "type", "text", "enum, text, number or boolean")
	flags.StringSliceVar(&request.AllowedValues, "values", nil, "of an enum, with commas")
	flags.StringVar(&name, "name", "", "what people call it")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.StringVar(&workflow, "workflow", "", "for this kind of workflow")
	flags.StringVar(&task, "task", "", "for this kind of task")
	flags.Int32Var(&request.DisplayOrder, "display-order", 0, "where it stands in a form")
	cmd.MarkFlagsMutuallyExclusive("workflow", "task")
	return cmd
}

func (i *invocation) metadataList() *cobra.Command {
	var workflow, task string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List fields: the global ones, or those that hold for a kind", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			answer, err := s.Metadata.ListMetadataFields(ctx, &apiv1.ListMetadataFieldsRequest{
				Org: s.Org, WorkflowKind: optional(cmd.Flags(), "workflow", workflow), TaskKind: optional(cmd.Flags(), "task", task),
			})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, f := range answer.GetFields() {
				ids = append(ids, f.GetId())
				rows = append(rows, []string{
					f.GetId(), f.GetKey(), f.GetDisplayName(), f.GetFieldType(), strings.Join(f.GetAllowedValues(), ","), f.GetScope(),
				})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "ID"}, {Title: "KEY", Long: true}, {Title: "NAME", Long: true}, {Title: "TYPE"}, {
						Title: "VALUES",
						Long:  true,
					}, {Title: "OF", Long: true},
				}, rows)
				i.none(len(rows))
			})
		}),
	}
	cmd.Flags().StringVar(&workflow, "workflow", "", "those that hold for this kind of workflow")
	cmd.Flags().StringVar(&task, "task", "", "those that hold for this kind of task")
	cmd.MarkFlagsMutuallyExclusive("workflow", "task")
	return cmd
}

func (i *invocation) metadataUpdate() *cobra.Command {
	var name, description, sort string
	var values []string
	var order int32
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change a field; what is not named stays", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			answer, err := s.Metadata.UpdateMetadataField(ctx, &apiv1.UpdateMetadataFieldRequest{
				Org: s.Org, Id: args[0], DisplayName: optional(flags, "name", name), Description: optional(flags, "description", description),
				FieldType: optional(flags, "type", sort), AllowedValues: values, DisplayOrder: optional(flags, "display-order", order),
			})
			if err != nil {
				return err
			}
			return showField(s, answer, answer.GetField())
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "what people call it")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.StringVar(&sort, "type", "", "enum, text, number or boolean")
	flags.StringSliceVar(&values, "values", nil, "of an enum, with commas; they replace the others")
	flags.Int32Var(&order, "display-order", 0, "where it stands in a form")
	return cmd
}

func (i *invocation) metadataDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Aliases: []string{"rm"}, Short: "Delete a field; metadata that was written stays", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Metadata.DeleteMetadataField(ctx, &apiv1.DeleteMetadataFieldRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("Field %s is deleted.", args[0]) })
		}),
	}
}
