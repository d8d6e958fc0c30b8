package client

import (
	"context"
	"encoding/json"
	"fmt"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// ResolvePromise settles a promise with a value, which is encoded as JSON.
func (c *Client) ResolvePromise(ctx context.Context, promiseID string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the value of promise %s: %w", promiseID, err)
	}
	_, err = c.Workflows.ResolvePromise(ctx, &flovynv1.ResolvePromiseRequest{PromiseId: promiseID, Value: encoded})
	if err != nil {
		return fmt.Errorf("resolving promise %s: %w", promiseID, err)
	}
	return nil
}

// RejectPromise settles a promise with an error.
func (c *Client) RejectPromise(ctx context.Context, promiseID, reason string) error {
	_, err := c.Workflows.RejectPromise(ctx, &flovynv1.RejectPromiseRequest{PromiseId: promiseID, Error: reason})
	if err != nil {
		return fmt.Errorf("rejecting promise %s: %w", promiseID, err)
	}
	return nil
}

// ResolvePromiseByName settles the open promise of that name in an execution. It
// fails with fault.NotFound when there is none, also when it is settled already
// or the workflow has not come so far.
func (c *Client) ResolvePromiseByName(ctx context.Context, executionID, name string, value any) error {
	events, err := c.Events(ctx, executionID)
	if err != nil {
		return err
	}
	id, err := openPromise(events, name)
	if err != nil {
		return err
	}
	if id == "" {
		return fault.New(fault.NotFound, "workflow %s waits for no promise named %q", executionID, name)
	}
	return c.ResolvePromise(ctx, id, value)
}

// openPromise returns the id of the newest promise of that name, empty when there
// is none or it is settled.
func openPromise(events []Event, name string) (string, error) {
	var id string
	for _, e := range events {
		switch e.Type {
		case PromiseCreated, PromiseResolved, PromiseRejected, PromiseTimeout:
		default:
			continue
		}
		data, err := e.Decode()
		switch {
		case err != nil:
			return "", err
		case e.Type == PromiseCreated && data.PromiseName == name:
			id = data.PromiseID
		case e.Type != PromiseCreated && data.PromiseID == id:
			id = ""
		}
	}
	return id, nil
}
