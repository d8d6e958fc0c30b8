// Package demo runs the example order on a server and shows what happens: it is
// the worker, the customer and the person who approves, all in one process. What
// it prints is the history of the execution, as it grows.
//
// It is also the quickest proof that an installation works: Run fails unless the
// order went all the way through tasks, a retry, a promise, timers and a child
// workflow, to the receipt that it should have.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/flovyn/flovyn-server/examples/order/order"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
)

// Config says which server to show, and to whom.
type Config struct {
	// URL is the server's gRPC address.
	URL string
	// OrgID is the organization's UUID.
	OrgID string
	// UserKey starts the order and approves it, WorkerKey works on it.
	UserKey, WorkerKey string
	// Out is where the history is printed, in colour if it is a terminal.
	Out io.Writer
	// Logger takes what the worker has to say; slog.DiscardHandler when nil.
	Logger *slog.Logger
}

// queue keeps the demonstration away from other workers and their work.
const queue = "demo"

// look is how often the history is looked at.
const look = 50 * time.Millisecond

// Run starts one order and shows it until it has ended. It fails when the order
// did not end as it should, and when ctx ends first.
func Run(ctx context.Context, config Config) error {
	user, err := client.New(client.Config{URL: config.URL, Token: config.UserKey})
	if err != nil {
		return err
	}
	defer user.Close()
	working, stop, err := startWorker(ctx, config)
	if err != nil {
		return err
	}
	err = show(working, user, config)
	if failed := stop(); failed != nil {
		return failed // which is why nothing could be shown
	}
	return err
}

// startWorker runs the example worker until stop is called, or ctx ends, or the
// server turns it away. The context it returns ends with the worker.
func startWorker(ctx context.Context, config Config) (working context.Context, stop func() error, err error) {
	c, err := client.New(client.Config{URL: config.URL, Token: config.WorkerKey})
	if err != nil {
		return nil, nil, err
	}
	worker, err := flow.NewWorker(c, flow.Options{
		Org: config.OrgID, Name: "demo", Queue: queue, MaxWorkflows: 2, MaxTasks: 2, Logger: config.Logger,
	})
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	order.Register(worker)
	working, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var failed error
	running.Go(func() {
		defer cancel()
		failed = worker.Run(working)
	})
	return working, func() error {
		cancel()
		running.Wait()
		c.Close()
		return failed
	}, nil
}

// theOrder is what the demonstration orders.
var theOrder = order.Order{ID: "1001", Item: "lamp", Amount: 2, PriceCents: 4900}

func show(ctx context.Context, user *client.Client, config Config) error {
	id, err := user.StartWorkflow(ctx, client.Start{Org: config.OrgID, Kind: order.Kind, Input: theOrder, Queue: queue})
	if err != nil {
		return err
	}
	p := newPrinter(config.Out, time.Now())
	p.title("order", id)
	last, err := follow(ctx, user, id, p)
	if err != nil {
		return err
	}
	output, err := client.Result(id, last)
	if err != nil {
		return err
	}
	var receipt order.Receipt
	if err := json.Unmarshal(output, &receipt); err != nil {
		return fmt.Errorf("reading the receipt: %w", err)
	}
	if err := verify(receipt); err != nil {
		return err
	}
	p.receipt(receipt)
	return nil
}

// follow prints the history as it grows, approves the order when it asks for it,
// and returns the last event.
func follow(ctx context.Context, user *client.Client, id string, p *printer) (client.Event, error) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for shown := 0; ; {
		events, err := user.Events(ctx, id)
		if err != nil {
			return client.Event{}, err
		}
		for _, e := range events[min(shown, len(events)):] {
			shown++
			data, err := e.Decode()
			if err != nil {
				return client.Event{}, err
			}
			p.event(e, data)
			if e.Type.Terminal() {
				return e, nil
			}
			if e.Type != client.PromiseCreated || data.PromiseName != order.ApprovalPromise {
				continue
			}
			p.note("approving from outside, as a person would")
			if err := user.ResolvePromise(ctx, data.PromiseID, order.Approval{Approved: true, By: "the demo"}); err != nil {
				return client.Event{}, err
			}
		}
		select {
		case <-ctx.Done():
			return client.Event{}, fmt.Errorf("following workflow %s: %w", id, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

func verify(receipt order.Receipt) error {
	want := order.Receipt{
		OrderID: theOrder.ID, ApprovedBy: "the demo", ChargedCents: theOrder.Amount * theOrder.PriceCents,
		PaymentID: receipt.PaymentID, Tracking: "TRACK-" + theOrder.ID,
	}
	if receipt != want || receipt.PaymentID == "" {
		return fmt.Errorf("the order completed with a receipt that is wrong: %+v", receipt)
	}
	return nil
}
