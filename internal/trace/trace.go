// Package trace lets an operator see where the time of a workflow goes: spans in
// the form of OpenTelemetry, sent to a collector.
//
// # One trace for a workflow
//
// A client that starts a workflow may send the W3C header traceparent. The start
// becomes a span of that trace, or of a new one, and what it is called is kept
// with the execution: its tasks and its children belong to the same trace, and
// workers receive it with what they poll, so that their own spans can too. The
// server is the only exporter: SDKs report their spans to it.
//
// While no collector is configured nothing is measured, and the header is passed
// on all the same: a client and a worker with a collector of their own meet in
// one trace.
//
// # Who decides
//
// A client that says its trace is not sampled is obeyed; what comes without a
// trace is sampled. Polls make a span only when they bring something.
package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// scope names what makes the spans.
const scope = "github.com/flovyn/flovyn-server"

const defaultPatience = 10 * time.Second

// Config says where spans go.
type Config struct {
	// Endpoint is the URL of an OTLP receiver that speaks gRPC.
	Endpoint string
	// ServiceName and Version name this program in every span.
	ServiceName, Version string
	// Patience bounds the tries to send some spans. Default 10 s.
	Patience time.Duration
	Log      *slog.Logger
}

// Tracer makes spans. Methods are safe for concurrent use.
type Tracer struct {
	tracer   oteltrace.Tracer
	provider *sdk.TracerProvider
}

// Off returns a tracer that sends nothing and passes traces on.
func Off() *Tracer { return &Tracer{tracer: noop.NewTracerProvider().Tracer(scope)} }

// New returns a tracer that sends its spans to a collector, which need not be
// there yet. Close ends it.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	exporter, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpointURL(cfg.Endpoint), otlptracegrpc.WithTimeout(cmp.Or(cfg.Patience, defaultPatience)))
	if err != nil {
		return nil, fmt.Errorf("preparing the export of traces: %w", err)
	}
	self := resource.NewSchemaless(
		attribute.String("service.name", cfg.ServiceName), attribute.String("service.version", cfg.Version))
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(&reporting{SpanExporter: exporter, log: cfg.Log}),
		sdk.WithResource(self), sdk.WithIDGenerator(generator{}),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())))
	return &Tracer{tracer: provider.Tracer(scope), provider: provider}, nil
}

// Enabled reports whether spans are sent.
func (t *Tracer) Enabled() bool { return t.provider != nil }

// Close sends what is left, as far as ctx allows.
func (t *Tracer) Close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last traces: %w", err)
	}
	return nil
}

// reporting tells of a collector that does not answer: once, and again when it
// has answered meanwhile.
type reporting struct {
	sdk.SpanExporter
	log    *slog.Logger
	failed atomic.Bool
}

// ExportSpans sends spans. Those that cannot be sent are lost, which is no
// failure of the server.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil:
		if r.failed.Swap(false) {
			r.log.InfoContext(ctx, "traces are sent again")
		}
	case !r.failed.Swap(true):
		r.log.WarnContext(ctx, "traces cannot be sent", "error", err)
	}
	return nil
}

var w3c propagation.TraceContext

// Continue returns a context that belongs to the trace that a request's headers
// name, if they name one.
func Continue(ctx context.Context, header http.Header) context.Context {
	return w3c.Extract(ctx, propagation.HeaderCarrier(header))
}

// ParentHeader is the header of HTTP that names a trace and a span in it.
const ParentHeader = "traceparent"

// Parent returns the trace that a context belongs to, in the form of the header,
// or nothing.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier[ParentHeader]
}

// under returns a context that belongs to the trace of a header's value.
func under(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return w3c.Extract(ctx, propagation.MapCarrier{ParentHeader: parent})
}

// Call begins the span of a request that this server answers; end ends it. The
// context belongs to the span.
func (t *Tracer) Call(ctx context.Context, procedure string) (called context.Context, end func(code string, err error)) {
	if !t.Enabled() {
		return ctx, func(string, error) {}
	}
	name := procedure
	if name != "" && name[0] == '/' {
		name = name[1:]
	}
	ctx, span := t.tracer.Start(ctx, name,
		oteltrace.WithSpanKind(oteltrace.SpanKindServer), oteltrace.WithAttributes(attribute.String("rpc.method", name)))
	return ctx, func(code string, err error) {
		span.SetAttributes(attribute.String("rpc.response.status_code", code))
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Span is something that is over.
type Span struct {
	// Parent is the trace it belongs to, in the form of the header; a span without
	// one is not sent, since it would be a trace of its own.
	Parent     string
	Name       string
	Start, End time.Time
	// Attributes pair names with values: strings, integers or durations.
	Attributes map[string]any
	// Error says what went wrong, if anything did.
	Error error

	// id and parentID are set for a span that somebody else has named.
	id, parentID *oteltrace.SpanID
}

// errSpan stands for a failure that says nothing.
var errSpan = errors.New("failed")

// Record sends a span that is over.
func (t *Tracer) Record(s Span) {
	if !t.Enabled() || s.Parent == "" {
		return
	}
	//nolint:forbidigo // a span that is over belongs to no request any more
	ctx := under(context.Background(), s.Parent)
	parent := oteltrace.SpanContextFromContext(ctx)
	if !parent.IsValid() {
		return
	}
	if s.parentID != nil {
		ctx = oteltrace.ContextWithRemoteSpanContext(ctx, parent.WithSpanID(*s.parentID))
	}
	if s.id != nil {
		ctx = context.WithValue(ctx, spanIDKey{}, *s.id)
	}
	_, span := t.tracer.Start(ctx, s.Name, oteltrace.WithTimestamp(s.Start), oteltrace.WithAttributes(attributesOf(s.Attributes)...))
	if s.Error != nil {
		span.SetStatus(codes.Error, s.Error.Error())
	}
	span.End(oteltrace.WithTimestamp(s.End))
}

func attributesOf(values map[string]any) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, len(values))
	for name, value := range values {
		switch v := value.(type) {
		case string:
			all = append(all, attribute.String(name, v))
		case int32:
			all = append(all, attribute.Int64(name, int64(v)))
		case time.Duration:
			all = append(all, attribute.Int64(name, v.Milliseconds()))
		}
	}
	return all
}
