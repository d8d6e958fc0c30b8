// Package order is an example: an order that is reserved, approved by a person,
// paid and shipped. It shows most of what a workflow can do, in the smallest
// program that does something one would really want.
//
// Read Process from top to bottom. It looks like a function that runs once, and
// may be thought of as one: it can be stopped at any line, for days, by a deploy
// or a power cut, and goes on where it was. What makes that true is the history
// of the execution: the function is run from the top again whenever something
// happens, and every call of ctx returns at once what the history says it
// returned. So the code of a workflow only decides; whatever touches the world is
// a task.
package order

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/flovyn/flovyn-server/internal/client/flow"
)

// The names under which the workflows are started, and the promise settled.
const (
	Kind            = "order"
	ShippingKind    = "order-shipping"
	ApprovalPromise = "approval"
)

const (
	reserveStock  = "reserve-stock"
	chargePayment = "charge-payment"
)

// Order is the input of the workflow.
type Order struct {
	ID     string `json:"id"`
	Item   string `json:"item"`
	Amount int    `json:"amount"`
	// PriceCents is the price of one.
	PriceCents int `json:"priceCents"`
}

// Approval is what a person settles the approval promise with.
type Approval struct {
	Approved bool   `json:"approved"`
	By       string `json:"by"`
}

// Receipt is the output of the workflow.
type Receipt struct {
	OrderID      string `json:"orderId"`
	ApprovedBy   string `json:"approvedBy"`
	ChargedCents int    `json:"chargedCents"`
	PaymentID    string `json:"paymentId"`
	Tracking     string `json:"tracking"`
}

// Register tells a worker about the workflows and their tasks.
func Register(w *flow.Worker) {
	w.RegisterWorkflow(Kind, flow.Workflow(Process))
	w.RegisterWorkflow(ShippingKind, flow.Workflow(Ship))
	w.RegisterTask(reserveStock, flow.TypedTask(ReserveStock))
	w.RegisterTask(chargePayment, flow.TypedTask(ChargePayment))
}

// Process is the order workflow.
func Process(ctx *flow.Context, order Order) (*Receipt, error) {
	// State is for people who look at the execution.
	if err := ctx.SetState("status", "reserving"); err != nil {
		return nil, err
	}

	// A task is scheduled at once, and awaited where its result is needed. The
	// server tries it again when it fails, four times if nothing else is said.
	reservation := ctx.ScheduleTask(reserveStock, order, flow.TaskOptions{})
	if err := reservation.Get(nil); err != nil {
		return nil, fmt.Errorf("reserving %d of %s: %w", order.Amount, order.Item, err)
	}

	approval, err := awaitApproval(ctx)
	if err != nil {
		return nil, err
	}
	if !approval.Approved {
		return nil, flow.Cancel("declined by " + approval.By) // neither a success nor a failure
	}

	if err := ctx.SetState("status", "charging"); err != nil {
		return nil, err
	}
	// A value that differs every time must come out of the history the second
	// time. This one lets the payment provider recognize a repeated attempt.
	charge := Charge{Key: flow.SideEffect(ctx, "payment-key", newPaymentKey), Cents: order.Amount * order.PriceCents}
	payment, err := flow.Result[Payment](ctx.ScheduleTask(chargePayment, charge, flow.TaskOptions{MaxRetries: new(int32(5))}))
	if err != nil {
		return nil, fmt.Errorf("charging order %s: %w", order.ID, err)
	}

	if err := ctx.SetState("status", "shipping"); err != nil {
		return nil, err
	}
	// A child is a workflow of its own, with its own history, and perhaps on the
	// workers of another team.
	tracking, err := flow.Result[string](ctx.Child("shipping", ShippingKind, order))
	if err != nil {
		return nil, fmt.Errorf("shipping order %s: %w", order.ID, err)
	}

	ctx.ClearState("status")
	return &Receipt{
		OrderID: order.ID, ApprovedBy: approval.By,
		ChargedCents: payment.Cents, PaymentID: payment.ID, Tracking: tracking,
	}, nil
}

// awaitApproval waits for a person, but no longer than a day. Waiting costs
// nothing: no goroutine, no connection and no memory is held meanwhile.
func awaitApproval(ctx *flow.Context) (Approval, error) {
	if err := ctx.SetState("status", "waiting for approval"); err != nil {
		return Approval{}, err
	}
	approved := ctx.NewPromise(ApprovalPromise, 0)
	deadline := ctx.NewTimer(24 * time.Hour)
	if flow.Any(approved, deadline) == deadline {
		return Approval{}, errors.New("nobody approved the order within a day")
	}
	deadline.Cancel()
	return flow.Result[Approval](approved)
}

// packing is how long the parcel is packed.
const packing = 300 * time.Millisecond

// Ship is the child workflow: it packs, which takes its time, and hands over.
func Ship(ctx *flow.Context, order Order) (string, error) {
	if err := ctx.Sleep(packing); err != nil {
		return "", err
	}
	return "TRACK-" + order.ID, nil
}

// ReserveStock is a task: ordinary code, which may call anything and may fail.
func ReserveStock(ctx context.Context, t *flow.Task, order Order) (int, error) {
	if order.Amount <= 0 {
		return 0, fmt.Errorf("order %s asks for %d of %s", order.ID, order.Amount, order.Item)
	}
	if err := t.Progress(ctx, 1, "on the shelf"); err != nil {
		return 0, err
	}
	return order.Amount, nil
}

// Charge is the input of ChargePayment.
type Charge struct {
	Key   string `json:"key"`
	Cents int    `json:"cents"`
}

// Payment is the output of ChargePayment.
type Payment struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

// ChargePayment is a task whose provider is out of reach the first time, as they
// are. Its error is an attempt that failed; the workflow never hears of it.
func ChargePayment(_ context.Context, t *flow.Task, charge Charge) (Payment, error) {
	if t.Attempt == 1 {
		return Payment{}, errors.New("the payment provider does not answer")
	}
	return Payment{ID: "pay-" + charge.Key, Cents: charge.Cents}, nil
}

// newPaymentKey makes a key that no other payment has.
func newPaymentKey() string { return rand.Text() }
