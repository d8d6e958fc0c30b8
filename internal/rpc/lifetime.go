package rpc

import (
	"context"
	"errors"
	"time"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// recheckEvery is how often the credential behind an open stream is looked at.
const recheckEvery = time.Minute

// lifetime ends streams: when the caller's credential expires, soon after it is
// revoked, and at the latest when they have reached an age. Whoever may still
// listen opens another one. It ends the context of the handler, which has to
// return then; what it returns does not matter.
//
// Public procedures have no credential to outlive, and reveal nothing.
func lifetime(maxAge time.Duration) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			rule, _ := authz.Lookup(spec.Procedure)
			who, known := caller.From(ctx)
			if spec.StreamType == connect.StreamTypeUnary || rule.Public || !known {
				return next(ctx, spec, stream)
			}
			ctx, end := limited(ctx, who, maxAge, recheckEvery)
			defer end()
			err := next(ctx, spec, stream)
			if cause := context.Cause(ctx); ctx.Err() != nil && isFault(cause) {
				return cause
			}
			return err
		}
	}
}

func isFault(err error) bool {
	_, is := errors.AsType[*fault.Error](err)
	return is
}

// limited returns a context that ends as lifetime says, with the reason as its
// cause. It must be ended.
func limited(ctx context.Context, who caller.Caller, maxAge, every time.Duration) (context.Context, context.CancelFunc) {
	deadline, reason := time.Now().Add(maxAge), fault.New(fault.Unavailable, "the stream has reached the age of %s; open another one", maxAge)
	if !who.Expires.IsZero() && who.Expires.Before(deadline) {
		deadline, reason = who.Expires, fault.New(fault.Unauthenticated, "the credential has expired")
	}
	ctx, endTimed := context.WithDeadlineCause(ctx, deadline, reason)
	ctx, endBecause := context.WithCancelCause(ctx)
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(every, func() {
		<-ready
		if ctx.Err() != nil {
			return
		}
		// A provider that cannot be asked ends no stream.
		if err := caller.Recheck(ctx); fault.Is(err, fault.Unauthenticated) {
			endBecause(fault.Wrap(fault.Unauthenticated, err, "the credential is no longer accepted"))
			return
		}
		timer.Reset(every)
	})
	close(ready)
	return ctx, func() {
		timer.Stop()
		endBecause(nil)
		endTimed()
	}
}
