package rpc

import (
	"context"
	"time"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/token"
)

// workerTokens serves flovyn.api.v1.WorkerTokenService.
type workerTokens struct {
	apiv1connect.UnimplementedWorkerTokenServiceHandler
	door
}

// CreateWorkerToken issues a token and shows it, once.
func (h workerTokens) CreateWorkerToken(
	ctx context.Context, req *apiv1.CreateWorkerTokenRequest,
) (*apiv1.CreateWorkerTokenResponse, error) {
	org, err := h.issuer(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	c, _ := caller.From(ctx)
	request := token.Request{Org: org, Name: req.GetDisplayName(), Description: req.GetDescription(), CreatedBy: c.Label()}
	if req.ExpiresInSeconds != nil {
		expires := time.Now().Add(time.Duration(req.GetExpiresInSeconds()) * time.Second)
		request.ExpiresAt = &expires
	}
	made, text, err := h.tokens.Create(ctx, request)
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateWorkerTokenResponse{
		Token: text, Id: made.ID.String(), DisplayName: made.Name, CreatedAt: at(made.CreatedAt), ExpiresAt: maybeAt(made.ExpiresAt),
	}, nil
}

// defaultTokenLimit is how many tokens a page has when nobody says it.
const defaultTokenLimit = 50

// ListWorkerTokens lists the organization's tokens, newest first.
func (h workerTokens) ListWorkerTokens(ctx context.Context, req *apiv1.ListWorkerTokensRequest) (*apiv1.ListWorkerTokensResponse, error) {
	org, err := h.issuer(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	limit := int32(defaultTokenLimit)
	if req.Limit != nil {
		limit = req.GetLimit()
	}
	page, total, err := h.tokens.Page(ctx, org, int(limit), int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	answer := &apiv1.ListWorkerTokensResponse{Total: int64(total), Limit: limit, Offset: req.GetOffset()}
	for i := range page {
		answer.Tokens = append(answer.Tokens, workerTokenOut(&page[i]))
	}
	return answer, nil
}

// GetWorkerToken returns what is known of a token.
func (h workerTokens) GetWorkerToken(ctx context.Context, req *apiv1.GetWorkerTokenRequest) (*apiv1.GetWorkerTokenResponse, error) {
	org, err := h.issuer(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	found, err := h.tokens.Get(ctx, org, flovyn.TokenID(id))
	if err != nil {
		return nil, err
	}
	return &apiv1.GetWorkerTokenResponse{WorkerToken: workerTokenOut(&found)}, nil
}

// RevokeWorkerToken ends a token for good.
func (h workerTokens) RevokeWorkerToken(
	ctx context.Context, req *apiv1.RevokeWorkerTokenRequest,
) (*apiv1.RevokeWorkerTokenResponse, error) {
	org, err := h.issuer(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	if err := h.tokens.Revoke(ctx, org, flovyn.TokenID(id)); err != nil {
		return nil, err
	}
	return &apiv1.RevokeWorkerTokenResponse{}, nil
}

// issuer returns the organization of a request about tokens, if this server
// issues any.
func (h workerTokens) issuer(ctx context.Context, slug string) (flovyn.OrgID, error) {
	org, err := h.slugged(ctx, slug)
	if err == nil && h.tokens == nil {
		err = fault.New(fault.Precondition, "this server accepts no worker tokens of its own: worker_token is not among its authenticators, or has no secret")
	}
	return org, err
}

func workerTokenOut(t *flovyn.WorkerToken) *apiv1.WorkerToken {
	return &apiv1.WorkerToken{
		Id: t.ID.String(), Prefix: t.Prefix, DisplayName: t.Name, Description: maybe(t.Description), CreatedBy: t.CreatedBy,
		CreatedAt: at(t.CreatedAt), ExpiresAt: maybeAt(t.ExpiresAt), LastUsedAt: maybeAt(t.LastUsedAt), RevokedAt: maybeAt(t.RevokedAt),
	}
}
