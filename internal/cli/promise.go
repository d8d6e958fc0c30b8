package cli

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) promiseCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "promise", Aliases: []string{"promises"}, Short: "Settle what workflows wait for",
		Long: "A promise is named by its id, or by key:KEY when it was created with an idempotency key.",
	})
	group.AddCommand(i.promiseGet(), i.promiseResolve(), i.promiseReject())
	return group
}

// identifier is how the API names a promise. An id alone is one too.
func identifier(arg string) string {
	if _, err := uuid.Parse(arg); err == nil {
		return "id:" + arg
	}
	return arg
}

func (i *invocation) promiseGet() *cobra.Command {
	return &cobra.Command{
		Use: "get PROMISE", Aliases: []string{"show"}, Short: "Show a promise", Args: exact("PROMISE"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Promises.GetPromise(ctx, &apiv1.GetPromiseRequest{Org: s.Org, Identifier: identifier(args[0])})
			if err != nil {
				return err
			}
			p := answer.GetPromise()
			return s.Message(answer, []string{p.GetId()}, func() {
				s.Fields(output.Field{Name: "id", Value: p.GetId()}, output.Field{Name: "name", Value: p.GetName()},
					output.Field{Name: "status", Value: p.GetStatus(), Status: true}, output.Field{Name: "workflow", Value: p.GetWorkflowExecutionId()},
					output.Field{Name: "key", Value: p.GetIdempotencyKey()}, output.Field{Name: "times out", Value: at(p.GetTimeoutAt())},
					output.Field{Name: "created", Value: at(p.GetCreatedAt())}, output.Field{Name: "settled", Value: at(p.GetSettledAt())})
			})
		}),
	}
}

func (i *invocation) promiseResolve() *cobra.Command {
	return &cobra.Command{
		Use: "resolve PROMISE [VALUE]", Short: "Give a promise its value", Args: between(1, 2, "PROMISE", "VALUE"),
		Long:    "The value is JSON; - reads it from standard input, and without one it is null. The first\nsettlement wins, and a second one is no error.",
		Example: `  flovyn promise resolve key:stripe:ch_1 '{"paid": true}'`,
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			value, err := i.argJSON("VALUE", args, 1)
			if err != nil {
				return err
			}
			answer, err := s.Promises.ResolvePromise(ctx, &apiv1.ResolvePromiseRequest{Org: s.Org, Identifier: identifier(args[0]), Value: value})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{answer.GetPromiseId()}, func() { settled(s, answer.GetResolved(), answer.GetPromiseId(), "resolved") })
		}),
	}
}

func (i *invocation) promiseReject() *cobra.Command {
	return &cobra.Command{
		Use: "reject PROMISE ERROR", Short: "Reject a promise", Args: exact("PROMISE", "ERROR"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Promises.RejectPromise(ctx, &apiv1.RejectPromiseRequest{Org: s.Org, Identifier: identifier(args[0]), Error: args[1]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{answer.GetPromiseId()}, func() { settled(s, answer.GetResolved(), answer.GetPromiseId(), "rejected") })
		}),
	}
}

func settled(s *server, now bool, id, how string) {
	if now {
		s.Linef("Promise %s is %s.", id, how)
		return
	}
	s.Linef("Promise %s was settled before; nothing has changed.", id)
}
