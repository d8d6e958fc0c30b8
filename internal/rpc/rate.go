package rpc

import (
	"context"
	"math"
	"strconv"
	"time"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/quota"
)

// unlimited are the calls by which workers hand in what they did. They do it
// once; refused, the work would have to be done again. There are no more of them
// than polls that brought work, and polls are limited.
var unlimited = map[string]bool{
	flovynv1connect.WorkflowDispatchSubmitWorkflowCommandsProcedure: true,
	flovynv1connect.TaskExecutionCompleteTaskProcedure:              true,
	flovynv1connect.TaskExecutionFailTaskProcedure:                  true,
}

// limitRate refuses the calls of an organization that come too fast, and says
// when to come again. Callers without an organization are not limited: they are
// the operator's.
func limitRate(rate *quota.Rate[flovyn.OrgID]) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			c, ok := caller.From(ctx)
			if !ok || c.Org.IsZero() || unlimited[spec.Procedure] {
				return next(ctx, spec, stream)
			}
			wait, ok := rate.Allow(c.Org, time.Now())
			if ok {
				return next(ctx, spec, stream)
			}
			seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				info.ResponseHeader().Set("Retry-After", seconds)
			}
			return fault.New(fault.Exhausted, "too many requests of the organization; try again in %s s", seconds)
		}
	}
}
