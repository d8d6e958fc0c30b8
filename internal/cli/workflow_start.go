package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

// maxHold is how long the server holds one call that waits.
const maxHold = 60

func (i *invocation) workflowStart(use, short string, aliases ...string) *cobra.Command {
	request := &apiv1.StartWorkflowExecutionRequest{}
	var input jsonFlags
	var queue, version, key, ttl string
	var wait, follow bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: use + " KIND", Aliases: aliases, Short: short, Args: exact("KIND"),
		Long: "Start starts a workflow and prints its id. With --wait it waits for the end and prints\n" +
			"the output, and exits with 1 when the workflow failed; with --follow it prints the\n" +
			"events too, as they come.",
		Example: "  flovyn workflow start order --input '{\"id\": \"1001\"}'\n" +
			"  jq -n '{id: \"1001\"}' | flovyn workflow start order --input - --wait --timeout 5m",
		ValidArgsFunction: i.completeKinds(workflowDefinitions),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			request.Org, request.Kind = s.Org, args[0]
			request.Queue, request.Version = optional(flags, "queue", queue), optional(flags, "version", version)
			request.IdempotencyKey, request.IdempotencyKeyTtl = optional(flags, "idempotency-key", key), optional(flags, "ttl", ttl)
			request.Input = input.json
			answer, err := s.Executions.StartWorkflowExecution(ctx, request)
			if err != nil {
				return err
			}
			id := answer.GetWorkflowExecutionId()
			switch {
			case follow:
				i.say("%s", id)
				return i.followToEnd(ctx, s, id, timeout)
			case wait:
				i.say("%s", id)
				return i.awaitResult(ctx, s, id, timeout)
			}
			return s.Message(answer, []string{id}, func() {
				s.Fields(output.Field{Name: "id", Value: id}, output.Field{Name: "kind", Value: answer.GetKind()},
					output.Field{Name: "status", Value: answer.GetStatus(), Status: true}, output.Field{Name: "created", Value: at(answer.GetCreatedAt())})
				if !answer.GetCreated() {
					i.say("It was started before, with the same idempotency key.")
				}
			})
		}),
	}
	flags := cmd.Flags()
	input.declare(i, cmd, "input", "the workflow's input")
	flags.StringVar(&queue, "queue", "", "queue of the workers (default: default)")
	flags.StringVar(&version, "version", "", "version of the workflow")
	flags.Int32Var(&request.PrioritySeconds, "priority-seconds", 0, "dispatch as if it had been created so many seconds before")
	flags.StringVar(&key, "idempotency-key", "", "start nothing when this key has started an execution already")
	flags.StringVar(&ttl, "ttl", "", "how long the key is kept, as 30s, 5m, 2h or 7d (default: 24h)")
	metadataFlag(flags, &request.Metadata)
	flags.BoolVar(&wait, "wait", false, "wait for the end, and print the output")
	flags.BoolVarP(&follow, "follow", "f", false, "print events as they come, and the output in the end")
	flags.DurationVar(&timeout, "timeout", 0, "how long to wait, such as 5m; then the exit code is 124 (default: for ever)")
	return cmd
}

func (i *invocation) workflowWait() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait ID", Aliases: []string{"result"}, Short: "Wait for the end of an execution, and print its output", Args: exact("ID"),
		Long: "Wait exits with 0 when the execution completed, with 1 when it failed or was\ncancelled, and with 124 when --timeout was over before.",
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			return i.awaitResult(ctx, s, args[0], timeout)
		}),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait, such as 5m (default: for ever)")
	return cmd
}

// awaitResult waits for the end of an execution and prints how it ended.
func (i *invocation) awaitResult(ctx context.Context, s *server, id string, timeout time.Duration) error {
	stop := i.progress("waiting for the end,")
	answer, err := i.result(ctx, s, id, timeout)
	stop()
	if err != nil {
		return err
	}
	return i.ending(s, answer)
}

// result waits, call by call: a server holds none for ever.
func (i *invocation) result(ctx context.Context, s *server, id string, timeout time.Duration) (*apiv1.WaitWorkflowExecutionResponse,
	error,
) {
	var deadline time.Time
	if timeout > 0 {
		deadline = i.now().Add(timeout)
	}
	for {
		hold := int32(maxHold)
		if timeout > 0 {
			hold = int32(min(maxHold, max(0, (deadline.Sub(i.now())+time.Second-1)/time.Second)))
		}
		answer, err := s.Executions.WaitWorkflowExecution(ctx, &apiv1.WaitWorkflowExecutionRequest{Org: s.Org, Id: id, TimeoutSeconds: &hold})
		if err != nil {
			return nil, err
		}
		if answer.GetResult().GetDone() {
			return answer, nil
		}
		if timeout > 0 && !i.now().Before(deadline) {
			return nil, hinted{
				errTimedOut{fmt.Sprintf("%s has not ended within %s; it is %s", id, timeout, answer.GetResult().GetStatus())},
				"It goes on. Wait again with: flovyn workflow wait " + id,
			}
		}
	}
}

// ending prints how an execution ended, and fails if it did not complete.
func (i *invocation) ending(s *server, answer *apiv1.WaitWorkflowExecutionResponse) error {
	result := answer.GetResult()
	failed := result.GetStatus() != "COMPLETED"
	switch {
	case s.ForPrograms():
		if err := s.Message(answer, nil, func() {}); err != nil {
			return err
		}
	case !failed:
		if err := s.Value(result.GetOutput()); err != nil {
			return err
		}
	}
	if !failed {
		return nil
	}
	text := fmt.Sprintf("workflow execution %s is %s", result.GetWorkflowExecutionId(), result.GetStatus())
	if result.GetError() != "" {
		text += ": " + result.GetError()
	}
	return hinted{errors.New(text), "See what happened: flovyn workflow events " + result.GetWorkflowExecutionId()}
}

// progress shows on a terminal that something takes long, until stop is called.
func (i *invocation) progress(what string) (stop func()) {
	if _, ok := terminal(i.Stderr); !ok || i.quiet {
		return func() {}
	}
	begun, done, stopped := i.now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
		for n := 0; ; n++ {
			select {
			case <-done:
				fmt.Fprint(i.Stderr, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprintf(i.Stderr, "\r\x1b[K%c %s %s", frames[n%len(frames)], what, output.Duration(i.now().Sub(begun)))
			}
		}
	}()
	return func() { close(done); <-stopped }
}
