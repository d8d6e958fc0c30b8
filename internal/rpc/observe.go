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

	"github.com/flovyn/flovyn-server/internal/caller"
)

// observe writes one record per call, and translates whatever failure comes
// out of the call. It is the outermost interceptor, so that both happen to
// every failure, and each is logged exactly once.
func observe(log *slog.Logger) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			begin := time.Now()
			err := next(ctx, spec, stream)
			if err == nil {
				if log.Enabled(ctx, levelOf(0)) {
					log.LogAttrs(ctx, levelOf(0), "call", record(ctx, spec, begin, "ok")...)
				}
				return nil
			}
			wire := wireError(err)
			attrs := append(record(ctx, spec, begin, wire.Code().String()), slog.String("error", causeOf(wire)))
			log.LogAttrs(ctx, levelOf(wire.Code()), "call", attrs...)
			return wire
		}
	}
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
