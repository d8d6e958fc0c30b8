// Package workertoken authenticates workers by the tokens that this server
// issued (see package token).
//
// A token is recognized by its prefix. One with another prefix is somebody
// else's; one with the prefix that is unknown, expired or revoked is refused.
package workertoken

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/token"
)

// Name is the authenticator's name in the configuration.
const Name = "worker_token"

// Authenticator recognizes worker tokens.
type Authenticator struct{ tokens *token.Tokens }

var _ authn.Authenticator = (*Authenticator)(nil)

// New makes an authenticator.
func New(tokens *token.Tokens) *Authenticator { return &Authenticator{tokens} }

// Name returns "worker_token".
func (*Authenticator) Name() string { return Name }

// Authenticate looks the token up. The caller is named after the token's id:
// the token itself must not be in records.
func (a *Authenticator) Authenticate(ctx context.Context, credential authn.Credential) authn.Result {
	if !a.tokens.HasPrefix(credential.Token()) {
		return authn.Result{Outcome: authn.NotMine}
	}
	found, err := a.tokens.Verify(ctx, credential.Token())
	switch {
	case err == nil:
		who := caller.Caller{Kind: caller.Worker, ID: "worker-token:" + found.ID.String(), Org: found.Org}
		if found.ExpiresAt != nil {
			who.Expires = *found.ExpiresAt
		}
		return authn.Accept(who)
	case fault.Is(err, fault.Unauthenticated):
		return authn.Reject(err)
	default:
		return authn.Unanswered(err)
	}
}
