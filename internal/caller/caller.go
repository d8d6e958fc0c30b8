// Package caller names who asks. The authentication middleware puts a Caller on
// the request's context; a handler takes it off once and passes it down as a
// parameter, so that no function below a door can forget who asks.
package caller

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Kind is the sort of principal behind a credential.
type Kind string

// The kinds of principal.
const (
	// User is a person, or a program acting for one.
	User Kind = "User"
	// Worker is a program that executes workflows, tasks and agents.
	Worker Kind = "Worker"
	// Service is a trusted program that manages organizations.
	Service Kind = "Service"
	// Anonymous is a caller without a credential, possible only where
	// authentication is off or a path is public.
	Anonymous Kind = "Anonymous"
)

// Role is what a user is within an organization.
type Role string

// The roles, from most to least powerful, and the absence of one.
const (
	Owner  Role = "OWNER"
	Admin  Role = "ADMIN"
	Member Role = "MEMBER"
	NoRole Role = ""
)

// Caller is an authenticated principal.
type Caller struct {
	// Kind is what sort of principal this is.
	Kind Kind
	// ID is the principal's stable name, for audit records; never a secret.
	ID string
	// Org is the only organization the caller may touch; zero for an org-less
	// service or anonymous caller.
	Org flovyn.OrgID
	// Role is the caller's role within Org; only users have one.
	Role Role
	// Trusted is set only while authentication is switched off: the caller then
	// belongs to whatever organization the request names.
	Trusted bool
	// Expires is when the credential ends by itself; zero when it does not say.
	Expires time.Time
}

type contextKey struct{}

// With returns a context that carries c.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From returns the caller that the middleware put on ctx; ok is false when
// there is none, which a handler must treat as a refusal.
func From(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(contextKey{}).(Caller)
	return c, ok
}
