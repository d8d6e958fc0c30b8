package trace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
)

const (
	// MaxReported is how many spans of one report are sent.
	MaxReported = 100
	// maxText bounds what an SDK says of an error, or in one attribute, in bytes.
	maxText = 1 << 10
)

// allowed are the attributes of SDKs that are passed on: those that their own
// instrumentation sets. Anything else could be data of a customer's.
var allowed = map[string]bool{
	"workflow.kind": true, "workflow.version": true, "replay.event_count": true, "replay.command_count": true,
	"task.type": true, "task.kind": true, "task.attempt": true, "task.queue": true, "operation.name": true,
	"activity.name": true, "retry.count": true, "queue": true,
}

// Reported is a span that an SDK reports.
type Reported struct {
	// Parent is the trace of the workflow that the span is about.
	Parent string
	// ID and ParentID are the SDK's names of the span and of the one around it,
	// in whatever form; ParentID is empty for one that is directly below Parent.
	ID, ParentID string
	// Type is what was done.
	Type       string
	Start, End time.Time
	Failed     bool
	// ErrorType and ErrorMessage say more of a failure.
	ErrorType, ErrorMessage string
	Attributes              map[string]string
	// Known are attributes that the server vouches for.
	Known map[string]any
}

// Report sends a span of an SDK.
func (t *Tracer) Report(r Reported) {
	id := spanID(r.ID)
	s := Span{Parent: r.Parent, Name: r.Type, Start: r.Start, End: r.End, Attributes: map[string]any{}, id: &id}
	if r.ParentID != "" {
		parent := spanID(r.ParentID)
		s.parentID = &parent
	}
	for name, value := range r.Attributes {
		if allowed[name] {
			s.Attributes[name] = cut(value)
		}
	}
	maps.Copy(s.Attributes, r.Known)
	if r.Failed {
		s.Error = errSpan
		if text := strings.TrimPrefix(cut(r.ErrorType+": "+r.ErrorMessage), ": "); text != "" {
			s.Error = errors.New(text)
		}
	}
	t.Record(s)
}

// cut shortens a text, not within a character.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

// spanID is the name of a span on the wire, 8 bytes: an SDK's own if it has that
// form, and otherwise made of it, always the same.
func spanID(text string) (id oteltrace.SpanID) {
	if parsed, err := hex.DecodeString(text); err == nil && len(parsed) == len(id) {
		copy(id[:], parsed)
	}
	if !id.IsValid() {
		sum := sha256.Sum256([]byte(text))
		copy(id[:], sum[:])
	}
	return id
}

type spanIDKey struct{}

// generator names spans: by chance, unless the context has a name for it.
type generator struct{}

// NewIDs names a trace and its first span.
func (g generator) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	var id oteltrace.TraceID
	_, _ = rand.Read(id[:]) // never fails
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID names a span.
func (generator) NewSpanID(ctx context.Context, _ oteltrace.TraceID) oteltrace.SpanID {
	if id, ok := ctx.Value(spanIDKey{}).(oteltrace.SpanID); ok {
		return id
	}
	var id oteltrace.SpanID
	_, _ = rand.Read(id[:]) // never fails
	return id
}
