package timeline

import (
	"context"

	"golang.org/x/sync/errgroup"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/client"
)

// Parts are what the server knows of an execution.
type Parts struct {
	Execution *apiv1.WorkflowExecution
	// History is the answer with the events.
	History  *apiv1.ListWorkflowEventsResponse
	Tasks    []*apiv1.TaskExecution
	Children []*apiv1.WorkflowChild
	Promises []*apiv1.Promise
}

// Fetch asks for all parts at once.
func Fetch(ctx context.Context, c *client.Management, org, id string) (*Parts, error) {
	p := &Parts{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		answer, err := c.Executions.GetWorkflowExecution(ctx, &apiv1.GetWorkflowExecutionRequest{Org: org, Id: id})
		p.Execution = answer.GetExecution()
		return err
	})
	group.Go(func() error {
		answer, err := c.Executions.ListWorkflowEvents(ctx, &apiv1.ListWorkflowEventsRequest{Org: org, Id: id})
		p.History = answer
		return err
	})
	group.Go(func() error {
		answer, err := c.Executions.ListWorkflowTasks(ctx, &apiv1.ListWorkflowTasksRequest{Org: org, Id: id})
		p.Tasks = answer.GetTasks()
		return err
	})
	group.Go(func() error {
		answer, err := c.Executions.ListWorkflowChildren(ctx, &apiv1.ListWorkflowChildrenRequest{Org: org, Id: id})
		p.Children = answer.GetChildren()
		return err
	})
	group.Go(func() error {
		answer, err := c.Executions.ListWorkflowPromises(ctx, &apiv1.ListWorkflowPromisesRequest{Org: org, Id: id})
		p.Promises = answer.GetPromises()
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err // which is the first one, and says what was wrong
	}
	return p, nil
}
