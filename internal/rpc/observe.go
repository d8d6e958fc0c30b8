package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/metrics"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// observe writes one record per call, counts and traces it, and translates whatever failure comes
// out of the call. It is the outermost interceptor, so that both happen to
// every failure, and each is logged exactly once.
func observe(log *slog.Logger, m *metrics.Metrics, tracer *trace.Tracer) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			begin, counted, traced := time.Now(), m.Call(spec.Procedure), func(string, error) {}
			if !unspoken[spec.Procedure] {
				ctx, traced = tracer.Call(ctx, spec.Procedure)
			}
			err := next(ctx, spec, stream)
			if err == nil {
				counted(codeOK)
				traced(codeOK, nil)
				if log.Enabled(ctx, levelOf(0)) {
					log.LogAttrs(ctx, levelOf(0), "call", record(ctx, spec, begin, codeOK)...)
				}
				return nil
			}
			wire := wireError(err)
			counted(wire.Code().String())
			traced(wire.Code().String(), wire)
			attrs := append(record(ctx, spec, begin, wire.Code().String()), slog.String("error", causeOf(wire)))
			log.LogAttrs(ctx, levelOf(wire.Code()), "call", attrs...)
			return wire
		}
	}
}

// codeOK is how records and metrics call success.
const codeOK = "ok"

// unspoken are the procedures whose calls make no span: those that wait, most of
// them in vain, and those of probes. A poll that brings something makes its own.
var unspoken = map[string]bool{
	flovynv1connect.WorkflowDispatchPollWorkflowProcedure:             true,
	flovynv1connect.WorkflowDispatchSubscribeToNotificationsProcedure: true,
	flovynv1connect.WorkflowDispatchReportExecutionSpansProcedure:     true,
	flovynv1connect.TaskExecutionPollTaskProcedure:                    true,
	flovynv1connect.TaskExecutionHeartbeatProcedure:                   true,
	flovynv1connect.AgentDispatchPollAgentProcedure:                   true,
	flovynv1connect.WorkerLifecycleSendHeartbeatProcedure:             true,
	"/grpc.health.v1.Health/Check":                                    true,
	"/grpc.health.v1.Health/Watch":                                    true,
}

// activated notes that an activation is about to reach its worker.
func (d door) activated(a *flovyn.Activation) {
	w := &a.Execution
	d.metrics.Dispatched(flovyn.ClassWorkflow, a.Waited)
	d.tracer.Record(trace.Span{
		Parent: w.Traceparent, Name: "workflow.poll", Start: w.ClaimedAt.Add(-a.Waited), End: w.ClaimedAt,
		Attributes: map[string]any{"tenant.id": w.Org.String(), "workflow.id": w.ID.String(), "workflow.kind": w.Kind},
	})
}

// assigned notes that a task is about to reach its worker.
func (d door) assigned(a *flovyn.Assignment) {
	t := &a.Task
	d.metrics.Dispatched(flovyn.ClassTask, a.Waited)
	d.tracer.Record(trace.Span{
		Parent: t.Traceparent, Name: "task.poll", Start: t.ClaimedAt.Add(-a.Waited), End: t.ClaimedAt,
		Attributes: map[string]any{"tenant.id": t.Org.String(), "task.id": t.ID.String(), "task.type": t.Kind, "execution_count": t.Attempt},
	})
}

func record(ctx context.Context, spec connect.Spec, begin time.Time, code string) []slog.Attr {
	attrs := make([]slog.Attr, 0, 8) // with room for an error
	attrs = append(attrs,
		slog.String("procedure", spec.Procedure), slog.String("code", code),
		slog.Duration("duration", time.Since(begin)))
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		attrs = append(attrs, slog.String("protocol", info.Protocol), slog.String("peer", info.PeerAddr))
	}
	if c, ok := caller.From(ctx); ok {
		attrs = append(attrs, slog.String("caller", c.ID), slog.String("org", c.Org.String()))
	}
	return attrs
}

func causeOf(wire *connect.Error) string {
	if cause := errors.Unwrap(wire); cause != nil {
		return cause.Error()
	}
	return wire.Message()
}

// levelOf says how loud a call's record is. Calls succeed thousands of times a
// second, and clients go away all the time.
func levelOf(code connect.Code) slog.Level {
	switch code {
	case 0, connect.CodeCanceled:
		return slog.LevelDebug
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss:
		return slog.LevelError
	case connect.CodeUnavailable, connect.CodeResourceExhausted, connect.CodePermissionDenied:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// recoverPanics turns a panic into a failure, so that one request fails and the
// server lives on.
func recoverPanics(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler: // how net/http is told to drop a connection
				panic(r) //nolint:forbidigo // passed on, not made
			default:
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(ctx, spec, stream)
	}
}
