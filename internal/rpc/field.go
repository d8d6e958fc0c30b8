package rpc

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// named returns the organization that a request names, which must be the
// caller's. The guard has asked the policies already; this is the second wall,
// and it has no policies. A caller who is trusted because authentication is off
// may name any organization that there is.
func (d door) named(ctx context.Context, orgID string) (flovyn.OrgID, error) {
	c, ok := caller.From(ctx)
	if !ok {
		return flovyn.OrgID{}, fault.New(fault.Unauthenticated, "Authentication required")
	}
	org, err := parseOrg(orgID)
	if err != nil {
		return org, err
	}
	if c.Trusted {
		return org, d.orgs.check(ctx, org)
	}
	if org != c.Org {
		return org, fault.New(fault.Denied, "Access denied: the organization is not the caller's")
	}
	return org, nil
}

// slugged returns the organization whose slug a request of the management API
// names. The guard has compared it already; this is the second wall.
func (d door) slugged(ctx context.Context, slug string) (flovyn.OrgID, error) {
	c, ok := caller.From(ctx)
	if !ok {
		return flovyn.OrgID{}, fault.New(fault.Unauthenticated, "Authentication required")
	}
	return d.orgs.slugged(ctx, c, slug)
}

// own returns the organization of a request that names none: the caller's. A
// caller who is trusted because authentication is off has none, and locate then
// finds it by what the request is about.
func own(ctx context.Context, locate func() (flovyn.OrgID, error)) (flovyn.OrgID, error) {
	c, ok := caller.From(ctx)
	switch {
	case !ok:
		return flovyn.OrgID{}, fault.New(fault.Unauthenticated, "Authentication required")
	case c.Trusted:
		return locate()
	case c.Org.IsZero():
		return flovyn.OrgID{}, fault.New(fault.Denied, "Access denied: the caller has no organization")
	default:
		return c.Org, nil
	}
}

func parseOrg(text string) (flovyn.OrgID, error) {
	id, err := parseUUID("org_id", text)
	return flovyn.OrgID(id), err
}

// uuidLength is the length of a UUID in its canonical form.
const uuidLength = 36

// parseUUID accepts the one canonical form, and not the nil UUID, which SDKs
// make of what they cannot parse.
func parseUUID(field, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, fault.InvalidField(field, "is required")
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != uuidLength {
		return uuid.Nil, fault.InvalidField(field, "is not a UUID")
	}
	if id == uuid.Nil {
		return uuid.Nil, fault.InvalidField(field, "is the nil UUID")
	}
	return id, nil
}

func parseExecution(field, text string) (flovyn.ExecutionID, error) {
	id, err := parseUUID(field, text)
	return flovyn.ExecutionID(id), err
}

// parseParent accepts an empty text for a task that stands alone.
func parseParent(field, text string) (flovyn.ExecutionID, error) {
	if text == "" {
		return flovyn.ExecutionID{}, nil
	}
	return parseExecution(field, text)
}

func parseTask(field, text string) (flovyn.TaskID, error) {
	id, err := parseUUID(field, text)
	return flovyn.TaskID(id), err
}

// required refuses an empty name.
func required(field, value string) error {
	if strings.TrimSpace(value) == "" {
		return fault.InvalidField(field, "is required")
	}
	return nil
}

// millis reads a duration that must not be negative nor beyond every calendar.
func millis(field string, n int64) (time.Duration, error) {
	if n < 0 || n > flovyn.MaxDelay.Milliseconds() {
		return 0, fault.InvalidField(field, "%d is not between 0 and %d milliseconds", n, flovyn.MaxDelay.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}

// keyTTL reads the lifetime of an idempotency key; none and zero stand for the
// default.
func keyTTL(field string, seconds *int64) (time.Duration, error) {
	const least, most = int64(flovyn.MinIdempotencyTTL / time.Second), int64(flovyn.MaxIdempotencyTTL / time.Second)
	switch {
	case seconds == nil || *seconds == 0:
		return 0, nil
	case *seconds < least || *seconds > most:
		return 0, fault.InvalidField(field, "%d is not between %d and %d seconds", *seconds, least, most)
	default:
		return time.Duration(*seconds) * time.Second, nil
	}
}

// pollTimeout reads how long a worker is willing to wait; the registry caps it.
func pollTimeout(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), 3600)) * time.Second
}
