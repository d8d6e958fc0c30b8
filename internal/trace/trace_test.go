package trace_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	outer   = "00-" + traceID + "-00f067aa0ba902b7-01"
	// unsampled is a trace of which its client says that nobody wants it.
	unsampled = "00-" + traceID + "-00f067aa0ba902b7-00"
)

func start(t *testing.T, endpoint string, patience time.Duration, log *slog.Logger) *trace.Tracer {
	t.Helper()
	tracer, err := trace.New(t.Context(), trace.Config{Endpoint: endpoint, ServiceName: "flovyn-test", Version: "1", Patience: patience, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func in(t *testing.T, traceparent string) context.Context {
	t.Helper()
	return trace.Continue(t.Context(), http.Header{"Traceparent": {traceparent}})
}

// Without a collector a trace is passed on as it came, and nonsense is not.
func TestOff(t *testing.T) {
	t.Parallel()
	for traceparent, want := range map[string]string{outer: outer, unsampled: unsampled, "": "", "nonsense": "", "00-0-0-00": ""} {
		ctx, end := trace.Off().Call(in(t, traceparent), "/a/B")
		end("ok", nil)
		if got := trace.Parent(ctx); got != want {
			t.Errorf("%q is passed on as %q, want %q", traceparent, got, want)
		}
	}
	trace.Off().Record(trace.Span{Parent: outer, Name: "nothing"})
}

// Calls, what is over, and what SDKs report come to one trace, each below the
// right one.
func TestSpans(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	tracer := start(t, collector.URL, time.Minute, slog.New(slog.DiscardHandler))
	ctx, end := tracer.Call(in(t, outer), "/flovyn.v1.WorkflowDispatch/StartWorkflow")
	parent := trace.Parent(ctx)
	end("ok", nil)
	_, end = tracer.Call(in(t, outer), "/x/Failing")
	end("not_found", errors.New("it is not there"))
	_, end = tracer.Call(in(t, unsampled), "/x/Unwanted")
	end("ok", nil)
	now := time.Now()
	tracer.Record(trace.Span{Parent: parent, Name: "workflow.poll", Start: now.Add(-time.Second), End: now, Attributes: map[string]any{
		"workflow.kind": "order", "pending_duration_ms": 1500 * time.Millisecond, "execution_count": int32(2),
	}})
	tracer.Record(trace.Span{Name: "an orphan", Start: now, End: now})
	tracer.Record(trace.Span{Parent: "nonsense", Name: "an orphan", Start: now, End: now})
	report := trace.Reported{
		Parent: parent, ID: "0102030405060708", Type: "workflow.execute", Start: now, End: now, Failed: true,
		ErrorType: "Timeout", ErrorMessage: strings.Repeat("é", 2000),
		Attributes: map[string]string{"workflow.kind": "order", "customer.name": "secret"},
		Known:      map[string]any{"workflow.id": "w"},
	}
	tracer.Report(report)
	report.ID, report.ParentID, report.Type, report.Failed = "b3f1c1f6-0000", report.ID, "task.execute", false
	tracer.Report(report)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.Span{}
	for _, s := range collector.Spans() {
		if s.Trace != traceID || s.Service != "flovyn-test" {
			t.Errorf("%+v is of another trace or service", s)
		}
		spans[s.Name] = s
	}
	call, poll, execute := spans["flovyn.v1.WorkflowDispatch/StartWorkflow"], spans["workflow.poll"], spans["workflow.execute"]
	if len(spans) != 5 || call.Parent != "00f067aa0ba902b7" || !strings.Contains(parent, call.ID) || poll.Parent != call.ID {
		t.Errorf("they do not hang together: %+v", spans)
	}
	if !spans["x/Failing"].Failed || spans["x/Failing"].Attributes["rpc.response.status_code"] != "not_found" {
		t.Errorf("%+v", spans["x/Failing"])
	}
	if poll.Attributes["workflow.kind"] != "order" || poll.Numbers["pending_duration_ms"] != 1500 || poll.Numbers["execution_count"] != 2 {
		t.Errorf("%+v", poll)
	}
	if execute.ID != "0102030405060708" || execute.Parent != call.ID || spans["task.execute"].Parent != execute.ID {
		t.Errorf("what the SDK reports hangs elsewhere: %+v", spans)
	}
	if !execute.Failed || len(execute.Message) > 1024 || !strings.HasPrefix(execute.Message, "Timeout: é") || spans["task.execute"].Failed {
		t.Errorf("%+v", execute)
	}
	if _, leaked := execute.Attributes["customer.name"]; leaked || execute.Attributes["workflow.id"] != "w" {
		t.Errorf("attributes: %v", execute.Attributes)
	}
}

// A collector that is not there is said once, and keeps nobody waiting.
func TestNoCollector(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tracer := start(t, "http://127.0.0.1:1", 100*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		_, end := tracer.Call(t.Context(), "/a/B")
		end("ok", nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil && ctx.Err() != nil {
		t.Errorf("it did not end: %v", err)
	}
	if n := strings.Count(log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}
