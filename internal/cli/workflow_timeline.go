package cli

import (
	"context"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/timeline"
	"github.com/flovyn/flovyn-server/internal/client"
)

// usualWidth is that of what is drawn where there is no terminal.
const usualWidth = 100

func (i *invocation) workflowTimeline() *cobra.Command {
	return &cobra.Command{
		Use: "timeline ID", Aliases: []string{"diagram"}, Short: "Draw when the parts of an execution ran", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			parts, answer, err := fetchParts(ctx, s.Management, s.Org, args[0])
			if err != nil {
				return err
			}
			return s.Message(answer, nil, func() {
				width := s.Width
				if width == 0 {
					width = usualWidth
				}
				scale, lines := timeline.Draw(timeline.Spans(parts), i.now(), width)
				s.Linef("%s", s.Dim(scale))
				for _, line := range lines {
					s.Linef("%s %s %s", line.Label, s.PaintAs(line.Status, line.Bar), line.Length)
				}
				s.Linef("%s", s.Dim(s.Fit(timeline.Legend, 0)))
			})
		}),
	}
}

// fetchParts asks for all that the timeline shows, at once.
func fetchParts(ctx context.Context, c *client.Management, org, id string) (p timeline.Parts, answer *apiv1.ListWorkflowEventsResponse, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		execution, err := c.Executions.GetWorkflowExecution(ctx, &apiv1.GetWorkflowExecutionRequest{Org: org, Id: id})
		p.Execution = execution.GetExecution()
		return err
	})
	group.Go(func() error {
		events, err := c.Executions.ListWorkflowEvents(ctx, &apiv1.ListWorkflowEventsRequest{Org: org, Id: id})
		answer, p.Events = events, events.GetEvents()
		return err
	})
	group.Go(func() error {
		tasks, err := c.Executions.ListWorkflowTasks(ctx, &apiv1.ListWorkflowTasksRequest{Org: org, Id: id})
		p.Tasks = tasks.GetTasks()
		return err
	})
	group.Go(func() error {
		children, err := c.Executions.ListWorkflowChildren(ctx, &apiv1.ListWorkflowChildrenRequest{Org: org, Id: id})
		p.Children = children.GetChildren()
		return err
	})
	group.Go(func() error {
		promises, err := c.Executions.ListWorkflowPromises(ctx, &apiv1.ListWorkflowPromisesRequest{Org: org, Id: id})
		p.Promises = promises.GetPromises()
		return err
	})
	err = group.Wait()
	return p, answer, err
}
