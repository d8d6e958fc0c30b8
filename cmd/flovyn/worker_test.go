package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/flovyn/flovyn-server/internal/client/flow"
)

// register tells a worker the workflows and tasks of the scripts.
func register(w *flow.Worker) {
	w.RegisterWorkflow("greet", flow.Workflow(func(ctx *flow.Context, who string) (string, error) {
		return flow.Result[string](ctx.ScheduleTask("compose", who, flow.TaskOptions{}))
	}))
	w.RegisterWorkflow("stumble", flow.Workflow(func(*flow.Context, any) (any, error) { return nil, errors.New("the ground was wet") }))
	w.RegisterWorkflow("await", flow.Workflow(func(ctx *flow.Context, _ any) (any, error) {
		if err := ctx.SetState("status", "waiting"); err != nil {
			return nil, err
		}
		var said any
		err := ctx.WaitSignal("go", &said)
		return said, err
	}))
	w.RegisterWorkflow("promise", flow.Workflow(func(ctx *flow.Context, _ any) (any, error) {
		return flow.Result[any](ctx.NewPromise("answer", 0))
	}))
	w.RegisterTask("compose", flow.TypedTask(func(_ context.Context, _ *flow.Task, who string) (string, error) {
		return fmt.Sprintf("Hello, %s!", who), nil
	}))
	w.RegisterTask("break", flow.TypedTask(func(context.Context, *flow.Task, any) (any, error) { return nil, errors.New("it broke") }))
}
