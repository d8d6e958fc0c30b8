// Package telemetry makes the server observable: structured logs in which every
// record of a request carries the request's id, and that of its trace.
//
// The id travels on the context. Whoever logs with a context (log.InfoContext)
// gets it for free, and code below the doors never mentions it.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Format is how log records are written.
type Format string

// The formats.
const (
	// JSON writes one object a line, for machines.
	JSON Format = "json"
	// Text writes key=value pairs, for people.
	Text Format = "text"
)

// NewLogger makes a logger that writes records of at least the given level
// ("debug", "info", "warn", "error") in the given format.
func NewLogger(w io.Writer, format Format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is none of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case JSON:
		return slog.New(requestHandler{slog.NewJSONHandler(w, options)}), nil
	case Text:
		return slog.New(requestHandler{slog.NewTextHandler(w, options)}), nil
	default:
		return nil, fmt.Errorf("log format %q is none of json, text", format)
	}
}

type requestIDKey struct{}

// WithRequestID returns a context whose log records carry id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id of the request that ctx belongs to, or nothing.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// requestHandler adds the request's id, and its trace if it has one, to each
// record.
type requestHandler struct{ slog.Handler }

// Handle adds the ids that ctx carries and passes the record on.
func (h requestHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the id in loggers made by With.
func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the id in loggers made by WithGroup.
func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
