// Package workertoken authenticates workers by the tokens that this server
// issued (see package token).
//
// A token is recognized by its prefix. One with another prefix is somebody
// else's; one with the prefix that is unknown, expired or revoked is refused.
package workertoken

import (
	"context"
	"errors"
	"strings"

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

// Closed refuses every worker token: the authenticator of a server that has no
// secret to know them by. They are refused here and not left to others, so that
// what a chain says of who judges them is true.
type Closed struct {
	// Prefix begins every worker token.
	Prefix string
}

var _ authn.Authenticator = Closed{}

// Name returns "worker_token".
func (Closed) Name() string { return Name }

// Authenticate refuses.
func (c Closed) Authenticate(_ context.Context, credential authn.Credential) authn.Result {
	if !strings.HasPrefix(credential.Token(), c.Prefix) {
		return authn.Result{Outcome: authn.NotMine}
	}
	return authn.Reject(errNoSecret)
}

var errNoSecret = errors.New("this server has no WORKER_TOKEN_SECRET, so that it knows no worker tokens")

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
