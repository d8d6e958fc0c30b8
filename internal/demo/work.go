package demo

import (
	"context"

	"github.com/flovyn/flovyn-server/examples/order/order"
)

// What an invitation to order something has to say.
const (
	// Kind is the workflow that the example worker runs.
	Kind = order.Kind
	// Queue is where it looks for work.
	Queue = queue
	// Input is an order.
	Input = `{"id": "1002", "item": "lamp", "amount": 1, "priceCents": 4900}`
	// ApprovalPromise is what the order waits for.
	ApprovalPromise = order.ApprovalPromise
	// ApprovalValue settles it.
	ApprovalValue = `{"approved": true, "by": "me"}`
)

// Work runs the example worker until ctx ends, for the orders of others. It fails
// when the server does not accept the worker.
func Work(ctx context.Context, config Config) error {
	working, stop, err := startWorker(ctx, config)
	if err != nil {
		return err
	}
	<-working.Done()
	return stop()
}
