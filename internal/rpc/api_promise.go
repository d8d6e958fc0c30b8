package rpc

import (
	"context"
	"strings"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// promises serves flovyn.api.v1.PromiseService.
type promises struct {
	apiv1connect.UnimplementedPromiseServiceHandler
	door
}

// identified is a request about one promise.
type identified interface {
	GetOrg() string
	GetIdentifier() string
}

// find returns the promise that a request names: "id:" and its id, or "key:" and
// its idempotency key, which may hold colons itself.
func (h promises) find(ctx context.Context, req identified) (*flovyn.Promise, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	sort, name, _ := strings.Cut(req.GetIdentifier(), ":")
	if name == "" || (sort != "id" && sort != "key") {
		return nil, fault.InvalidField("identifier", "want id: and a UUID, or key: and an idempotency key")
	}
	if sort == "id" {
		if _, err := parseUUID("identifier", name); err != nil {
			return nil, err
		}
	}
	return h.engine.FindPromise(ctx, org, name, sort == "key")
}

// GetPromise returns a promise.
func (h promises) GetPromise(ctx context.Context, req *apiv1.GetPromiseRequest) (*apiv1.GetPromiseResponse, error) {
	p, err := h.find(ctx, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetPromiseResponse{Promise: promiseOut(p)}, nil
}

// ResolvePromise settles a promise with a value.
func (h promises) ResolvePromise(ctx context.Context, req *apiv1.ResolvePromiseRequest) (*apiv1.ResolvePromiseResponse, error) {
	p, err := h.find(ctx, req)
	if err != nil {
		return nil, err
	}
	settled, err := h.engine.Resolve(ctx, p.Org, p.ID, req.GetValue())
	if err != nil {
		return nil, err
	}
	return &apiv1.ResolvePromiseResponse{
		Resolved: settled.Settled, AlreadyResolved: !settled.Settled, PromiseId: p.ID.String(),
	}, nil
}

// RejectPromise settles a promise with an error.
func (h promises) RejectPromise(ctx context.Context, req *apiv1.RejectPromiseRequest) (*apiv1.RejectPromiseResponse, error) {
	p, err := h.find(ctx, req)
	if err != nil {
		return nil, err
	}
	settled, err := h.engine.Reject(ctx, p.Org, p.ID, req.GetError())
	if err != nil {
		return nil, err
	}
	return &apiv1.RejectPromiseResponse{
		Resolved: settled.Settled, AlreadyResolved: !settled.Settled, PromiseId: p.ID.String(),
	}, nil
}
