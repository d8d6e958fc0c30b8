package telemetry_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/flovyn/flovyn-server/internal/telemetry"
)

// Records of a request carry its id, also through derived loggers; records of no
// request do not.
func TestRequestIDInRecords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, telemetry.JSON, "info")
	if err != nil {
		t.Fatal(err)
	}
	ctx := telemetry.WithRequestID(t.Context(), "req-1")
	log.With("part", "engine").InfoContext(ctx, "inside")
	log.InfoContext(t.Context(), "outside")
	log.DebugContext(ctx, "too quiet")

	decoder := json.NewDecoder(&out)
	for _, want := range []struct{ message, id string }{{"inside", "req-1"}, {"outside", ""}} {
		var record struct {
			Msg       string `json:"msg"`
			RequestID string `json:"request_id"`
		}
		if err := decoder.Decode(&record); err != nil {
			t.Fatal(err)
		}
		if record.Msg != want.message || record.RequestID != want.id {
			t.Errorf("record %+v, want %+v", record, want)
		}
	}
	if decoder.More() {
		t.Error("a debug record was written at level info")
	}
}

func TestNewLoggerRefusesUnknownNames(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "xml", "info"); err == nil {
		t.Error("format xml was accepted")
	}
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, telemetry.Text, "loud"); err == nil {
		t.Error("level loud was accepted")
	}
}

// Records of a request that belongs to a trace say to which.
func TestTraceInRecords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, telemetry.JSON, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.InfoContext(trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	})), "inside")
	log.InfoContext(t.Context(), "outside")
	inside, outside, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(inside, `"trace_id":"01000000000000000000000000000000","span_id":"0200000000000000"`) || strings.Contains(outside, "trace_id") {
		t.Error(out.String())
	}
}
