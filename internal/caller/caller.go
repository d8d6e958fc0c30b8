// Package caller names who asks. The authentication middleware puts a Caller on
// the request's context; a handler takes it off once and passes it down as a
// parameter, so that no function below a door can forget who asks.
package caller

import (
	"context"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
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
	// Authenticator is the name of the one that accepted the credential.
	Authenticator string
	// Email is a user's address, where the credential says it.
	Email string
	// Expires is when the credential ends by itself; zero when it does not say.
	Expires time.Time
	// Claims is set for a User whose credential is good and names an organization
	// that there is not. All such a caller can do is to create that organization.
	Claims *OrgClaim
}

// OrgClaim is what a verified credential says of an organization that this
// server does not have.
type OrgClaim struct {
	// Slug is the organization's name in URLs, and Name that for people.
	Slug, Name string
	// Issuer is who signed the credential, and ExternalID its id of the
	// organization.
	Issuer, ExternalID string
}

// Label names a caller in records, as "type:id".
func (c Caller) Label() string { return strings.ToLower(string(c.Kind)) + ":" + c.ID }

// Same reports whether two callers are the same principal with the same rights.
// When their credentials end, and who accepted them, may differ.
func (c Caller) Same(other Caller) bool {
	return c.Kind == other.Kind && c.ID == other.ID && c.Org == other.Org && c.Role == other.Role && c.Trusted == other.Trusted
}

// Identify finds out anew who stands behind a credential.
type Identify func(context.Context) (Caller, error)

// presence is a caller with the connection and the credential behind it.
type presence struct {
	caller   Caller
	remote   string
	identify Identify
}

type contextKey struct{}

// With returns a context that carries c.
func With(ctx context.Context, c Caller) context.Context {
	return WithPresence(ctx, c, "", nil)
}

// WithPresence returns a context that carries c, the address of the other end of
// the connection, and how to find out anew who it is; nil when nothing can have
// changed.
func WithPresence(ctx context.Context, c Caller, remote string, identify Identify) context.Context {
	return context.WithValue(ctx, contextKey{}, &presence{c, remote, identify})
}

// From returns the caller that the middleware put on ctx; ok is false when
// there is none, which a handler must treat as a refusal.
func From(ctx context.Context) (c Caller, ok bool) {
	p, ok := ctx.Value(contextKey{}).(*presence)
	if !ok {
		return Caller{}, false
	}
	return p.caller, true
}

// Remote returns the address of the other end of the connection, or nothing.
func Remote(ctx context.Context) string {
	if p, ok := ctx.Value(contextKey{}).(*presence); ok {
		return p.remote
	}
	return ""
}

// Recheck returns nil while the credential behind a request still stands for the
// same caller. It is for calls that take long: a credential may have expired or
// been revoked, and a role taken away, since they began.
func Recheck(ctx context.Context) error {
	p, ok := ctx.Value(contextKey{}).(*presence)
	if !ok || p.identify == nil {
		return nil
	}
	now, err := p.identify(ctx)
	if err != nil {
		return err
	}
	if !now.Same(p.caller) {
		return fault.New(fault.Unauthenticated, "the credential stands for somebody else by now; call again")
	}
	return nil
}
