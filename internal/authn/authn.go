// Package authn finds out who calls.
//
// A door has a chain of authenticators, in the order of the configuration. The
// sorts of credential share their looks (an API key, a worker token and a
// configured key may all begin alike), so a chain that stopped at the first
// authenticator which does not know a credential could not work. An
// authenticator therefore has four answers:
//
//	NotMine      not shaped like my credentials: ask the next
//	Accepted     known: this is the caller
//	Rejected     mine, and bad: stop, the caller is unauthenticated
//	Unavailable  mine, and I cannot tell now: stop, the client should retry
//
// The last one matters: an identity provider that is down must not look like a
// bad credential, because workers drop credentials that are refused. Whoever is
// recognized by nobody is unauthenticated.
//
// Authenticators that hold their credentials themselves (see Exact) are asked
// first, wherever they stand: an exact match is unambiguous, costs nothing, and
// keeps a configured key from being sent to a validation service.
//
// The middleware stands in front of everything else at a door, so that nothing
// of a request is decoded before its caller is known. It puts a caller.Caller
// on the context, or answers the request itself. A chain without authenticators
// cannot be made; an open door has to be asked for by name (see Disabled).
package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// PublicMessage is all that a refused client learns. Which check failed is for
// the log, where an attacker does not read.
const PublicMessage = "missing or invalid credentials"

// UnavailableMessage is what a client learns when its credential could not be
// checked.
const UnavailableMessage = "credentials cannot be checked at the moment; try again"

// Authenticator recognizes one sort of credential.
type Authenticator interface {
	// Name is the authenticator's name in the configuration.
	Name() string
	// Authenticate judges a credential. It is called concurrently.
	Authenticate(ctx context.Context, credential Credential) Result
}

// Exact is an Authenticator that holds its credentials, accepts those by
// constant-time comparison, and knows nothing about any other.
type Exact interface {
	Authenticator
	// Exact does nothing; it marks the type.
	Exact()
}

// Outcome is an authenticator's answer.
type Outcome uint8

// The outcomes. The zero value is the harmless one.
const (
	// NotMine leaves the credential to the next authenticator.
	NotMine Outcome = iota
	// Accepted ends the chain with a caller.
	Accepted
	// Rejected ends the chain without one.
	Rejected
	// Unavailable ends the chain without knowing.
	Unavailable
	// Homeless ends the chain like Rejected: a good credential of an organization
	// that there is not. Where organizations are created, and nowhere else, it is
	// enough.
	Homeless
)

// Result is an outcome with what belongs to it.
type Result struct {
	// Outcome says which of the other fields counts.
	Outcome Outcome
	// Caller is who calls, when Accepted or Homeless.
	Caller caller.Caller
	// Cause says why, when not Accepted. It is for the log and never
	// holds the credential. A cause that is a *fault.Error of kind
	// Unauthenticated is written for the client, and shown instead of
	// PublicMessage; make one only where it cannot help an attacker.
	Cause error
}

// Accept is the result for a known credential.
func Accept(c caller.Caller) Result { return Result{Outcome: Accepted, Caller: c} }

// Reject is the result for a credential of the right sort that is no good.
func Reject(cause error) Result { return Result{Outcome: Rejected, Cause: cause} }

// Unanswered is the result when whoever knows the credential does not answer.
func Unanswered(cause error) Result { return Result{Outcome: Unavailable, Cause: cause} }

// Unhoused is the result for a credential that is good, but for an organization
// that there is not. The caller says which in its Claims.
func Unhoused(c caller.Caller, cause error) Result {
	return Result{Outcome: Homeless, Caller: c, Cause: cause}
}

// HomelessError refuses a caller whose credential is good and whose organization
// does not exist. It reads and counts as the refusal that it is.
type HomelessError struct {
	who     caller.Caller
	refusal error
}

// Error returns the text of the refusal.
func (e *HomelessError) Error() string { return e.refusal.Error() }

// Unwrap returns the refusal, which is of kind fault.Unauthenticated.
func (e *HomelessError) Unwrap() error { return e.refusal }

// applicant returns the caller as one who may only create the organization that
// it claims to be of: ok is false unless the caller says which.
func (e *HomelessError) applicant() (who caller.Caller, ok bool) {
	c := e.who
	return c, c.Kind == caller.User && c.ID != "" && c.Org.IsZero() && !c.Trusted && c.Claims != nil && c.Claims.Slug != ""
}

// Chain asks authenticators in order.
type Chain struct {
	authenticators []Authenticator
	disabled       bool
}

// NewChain makes a chain. One without authenticators is refused: an empty list
// has once meant "let everybody in".
func NewChain(authenticators ...Authenticator) (*Chain, error) {
	if len(authenticators) == 0 {
		return nil, errors.New("a chain needs at least one authenticator")
	}
	var first, rest []Authenticator
	seen := map[string]bool{}
	for _, a := range authenticators {
		if seen[a.Name()] {
			return nil, fmt.Errorf("authenticator %q is in the chain twice", a.Name())
		}
		seen[a.Name()] = true
		if _, exact := a.(Exact); exact {
			first = append(first, a)
		} else {
			rest = append(rest, a)
		}
	}
	return &Chain{authenticators: slices.Concat(first, rest)}, nil
}

// Disabled returns the chain of a server whose authentication is switched off:
// everybody is anonymous and trusted.
func Disabled() *Chain { return &Chain{disabled: true} }

// IsDisabled reports whether the chain lets everybody in.
func (c *Chain) IsDisabled() bool { return c.disabled }

// Names returns the authenticators' names in the order they are asked.
func (c *Chain) Names() []string {
	names := make([]string, len(c.authenticators))
	for i, a := range c.authenticators {
		names[i] = a.Name()
	}
	return names
}

// Authenticate returns the caller behind a request's headers. A failure is of
// kind fault.Unauthenticated or fault.Unavailable.
func (c *Chain) Authenticate(ctx context.Context, header http.Header) (caller.Caller, error) {
	if c.disabled {
		return caller.Caller{Kind: caller.Anonymous, ID: "anonymous", Trusted: true}, nil
	}
	credential, err := FromHeader(header)
	if err != nil {
		return caller.Caller{}, unauthenticated(err)
	}
	for _, a := range c.authenticators {
		result := a.Authenticate(ctx, credential)
		if result.Outcome == NotMine {
			continue
		}
		return result.conclude(a.Name())
	}
	return caller.Caller{}, unauthenticated(errors.New("no authenticator recognizes the credential"))
}

// conclude turns a result that ends the chain into the chain's answer.
func (r Result) conclude(name string) (caller.Caller, error) {
	switch r.Outcome {
	case Accepted:
		if err := sound(r.Caller); err != nil {
			return caller.Caller{}, unauthenticated(fmt.Errorf("%s accepted %w", name, err))
		}
		r.Caller.Authenticator = name
		return r.Caller, nil
	case Homeless:
		r.Caller.Authenticator = name
		return caller.Caller{}, &HomelessError{who: r.Caller, refusal: unauthenticated(fmt.Errorf("%s: %w", name, orUnsaid(r.Cause)))}
	case Unavailable:
		cause := fmt.Errorf("%s: %w", name, orUnsaid(r.Cause))
		return caller.Caller{}, fault.Wrap(fault.Unavailable, cause, UnavailableMessage)
	default:
		return caller.Caller{}, unauthenticated(fmt.Errorf("%s: %w", name, orUnsaid(r.Cause)))
	}
}

// sound refuses callers that no credential can stand for, so that a mistake in
// one authenticator cannot make a caller of every organization, or of none.
func sound(c caller.Caller) error {
	switch {
	case c.Kind != caller.User && c.Kind != caller.Worker && c.Kind != caller.Service:
		return fmt.Errorf("a caller of kind %q", c.Kind)
	case c.Trusted:
		return errors.New("a trusted caller, which only a disabled chain makes")
	case c.Claims != nil:
		return errors.New("a caller who is still looking for an organization")
	case c.ID == "":
		return errors.New("a caller without a name")
	case c.Org.IsZero() && c.Kind != caller.Service:
		return fmt.Errorf("%s %q without an organization", c.Kind, c.ID)
	default:
		return nil
	}
}

func orUnsaid(cause error) error {
	if cause == nil {
		return errors.New("without a reason")
	}
	return cause
}

// unauthenticated is the refusal for a cause: with the cause's own message when
// it was written for the client.
func unauthenticated(cause error) error {
	message := PublicMessage
	var public *fault.Error
	if errors.As(cause, &public) && public.Kind == fault.Unauthenticated {
		message = public.Message
	}
	return fault.Wrap(fault.Unauthenticated, cause, "%s", message)
}
