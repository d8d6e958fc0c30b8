package authz

import (
	"context"
	"log/slog"

	"github.com/flovyn/flovyn-server/internal/caller"
)

// OrgScope permits everything within the caller's own organization, whatever
// the caller's kind and role, and nothing else.
type OrgScope struct{}

// Authorize permits the request when caller and resource are of one
// organization. No organization is not an organization: two zeros do not match.
func (OrgScope) Authorize(_ context.Context, r Request) error {
	switch r.Caller.Kind {
	case caller.User, caller.Worker, caller.Service:
	default:
		return denied(r, "not an authenticated principal")
	}
	if r.Caller.Org.IsZero() || r.Caller.Org != r.Resource.Org {
		return denied(r, "outside the caller's organization")
	}
	return nil
}

// Noop permits everything to everybody.
type Noop struct{}

// NewNoop makes a Noop, and says at error level that the server is open and
// why: a configuration that switches checks off must not be able to do it
// quietly.
func NewNoop(ctx context.Context, log *slog.Logger, reason string) Noop {
	log.ErrorContext(ctx, "authorization is off: every caller may do everything", slog.String("reason", reason))
	return Noop{}
}

// Authorize permits the request.
func (Noop) Authorize(context.Context, Request) error { return nil }
