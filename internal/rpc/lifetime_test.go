package rpc

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// A stream ends soon after its credential is no good any more or stands for
// somebody else, and goes on while that cannot be told.
func TestStreamOfARevokedCredential(t *testing.T) {
	t.Parallel()
	who := caller.Caller{Kind: caller.User, ID: "u", Org: flovyn.OrgID(someID), Role: caller.Admin}
	demoted := who
	demoted.Role = caller.Member
	for name, after := range map[string]func() (caller.Caller, error){
		"revoked": func() (caller.Caller, error) { return caller.Caller{}, fault.New(fault.Unauthenticated, "revoked") },
		"demoted": func() (caller.Caller, error) { return demoted, nil },
	} {
		var looks atomic.Int32
		identify := func(context.Context) (caller.Caller, error) {
			switch looks.Add(1) {
			case 1:
				return who, nil
			case 2:
				return caller.Caller{}, fault.New(fault.Unavailable, "the provider is down")
			default:
				return after()
			}
		}
		ctx, end := limited(caller.WithPresence(t.Context(), who, "", identify), who, time.Hour, time.Millisecond)
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the stream goes on", name)
		}
		if cause := context.Cause(ctx); !fault.Is(cause, fault.Unauthenticated) || looks.Load() != 3 {
			t.Errorf("%s: %v after %d looks", name, cause, looks.Load())
		}
		end()
	}
	expired := who
	expired.Expires = time.Now().Add(-time.Second)
	for want, c := range map[fault.Kind]caller.Caller{fault.Unauthenticated: expired, fault.Unavailable: who} {
		ctx, end := limited(t.Context(), c, 0, time.Hour)
		if cause := context.Cause(ctx); !fault.Is(cause, want) {
			t.Errorf("%v, want %v", cause, want)
		}
		end()
	}
}
