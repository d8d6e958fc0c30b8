package server_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/trace/tracetest"
)

// measured starts a server that serves metrics, with a key of an operator.
func measured(t *testing.T, options ...servertest.Option) *servertest.Server {
	t.Helper()
	return servertest.New(t, append(options, func(cfg *config.Config) {
		cfg.Metrics = config.Metrics{Enabled: true}
		cfg.Auth.StaticAPIKey.Keys = append(cfg.Auth.StaticAPIKey.Keys,
			config.StaticKey{Key: operatorKey, PrincipalType: caller.Service, PrincipalID: "operator"})
	})...)
}

const operatorKey = "flovyn_sk_test_operator"

// scrape reads the port of the metrics: values by series.
func scrape(t *testing.T, s *servertest.Server) map[string]string {
	t.Helper()
	got := request(t, overHTTP1(t), http.MethodGet, "http://"+s.Addr("metrics")+"/_/metrics", nil, "")
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	series := map[string]string{}
	for line := range strings.Lines(got.body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			series[name] = value
		}
	}
	return series
}

// What a workflow with a task did is in the metrics.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := measured(t)
	client := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	inhabit(t, client, servertest.Org.String())
	dispatch := flovynv1connect.NewWorkflowDispatchClient(client)
	if _, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{OrgId: servertest.Org.String()}); err == nil {
		t.Fatal("a workflow of no kind has started")
	}
	request(t, overHTTP1(t), http.MethodGet, s.HTTP+"/api/nothing", nil, "")
	request(t, overHTTP1(t), http.MethodGet, s.HTTP+"/_/health", nil, "")
	got := scrape(t, s)
	for series, want := range map[string]string{
		`flovyn_rpc_requests_total{code="ok",procedure="/flovyn.v1.WorkflowDispatch/StartWorkflow"}`:               "1",
		`flovyn_rpc_requests_total{code="invalid_argument",procedure="/flovyn.v1.WorkflowDispatch/StartWorkflow"}`: "1",
		`flovyn_rpc_request_duration_seconds_count{procedure="/flovyn.v1.WorkflowDispatch/StartWorkflow"}`:         "2",
		`flovyn_rpc_requests_in_flight`:                              "0",
		`flovyn_dispatch_latency_seconds_count{class="workflow"}`:    "1",
		`flovyn_dispatch_latency_seconds_count{class="task"}`:        "1",
		`flovyn_pollers_waiting{class="workflow"}`:                   "0",
		`flovyn_auth_requests_total{door="http",outcome="refused"}`:  "1",
		`flovyn_auth_requests_total{door="http",outcome="open"}`:     "1",
		`flovyn_auth_requests_total{door="grpc",outcome="accepted"}`: "6",
		`flovyn_build_info{version="test"}`:                          "1",
		`flovyn_db_connections{state="allowed"}`:                     "8",
	} {
		if got[series] != want {
			t.Errorf("%s is %q, want %s", series, got[series], want)
		}
	}
	for _, series := range []string{`flovyn_commits_total{result="ok"}`, "flovyn_commit_batch_size_count", "flovyn_commit_duration_seconds_count"} {
		if got[series] == "" || got[series] == "0" {
			t.Errorf("%s is %q", series, got[series])
		}
	}
}

// A queue that nobody serves shows its depth and its age.
func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	s := measured(t)
	dispatch := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, servertest.WorkerKey))
	for range 3 {
		if _, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{
			OrgId: servertest.Org.String(), WorkflowKind: "k", Queue: "neglected",
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SampleQueues(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := scrape(t, s)
	labels := `{class="workflow",org="` + servertest.Org.String() + `",queue="neglected"}`
	if got["flovyn_queue_depth"+labels] != "3" || got["flovyn_queue_age_seconds"+labels] == "" {
		t.Errorf("%v", got)
	}
}

// At the doors only a caller of no organization reads what is about all of them.
func TestWhoReadsMetrics(t *testing.T) {
	t.Parallel()
	s := measured(t)
	open := measured(t, func(cfg *config.Config) { cfg.Auth.Endpoints.HTTP.ExcludePaths = []string{"/_/metrics"} })
	off := servertest.New(t)
	for name, test := range map[string]struct {
		url, key string
		want     int
	}{
		"nobody":              {s.HTTP, "", http.StatusUnauthorized},
		"a worker":            {s.HTTP, servertest.WorkerKey, http.StatusForbidden},
		"an admin":            {s.HTTP, servertest.AdminKey, http.StatusForbidden},
		"an operator":         {s.HTTP, operatorKey, http.StatusOK},
		"an operator at grpc": {s.GRPC, operatorKey, http.StatusOK},
		"where it is open":    {open.HTTP, "", http.StatusOK},
		"where it is off":     {off.HTTP, servertest.AdminKey, http.StatusNotFound},
	} {
		header := map[string]string{}
		if test.key != "" {
			header["Authorization"] = "Bearer " + test.key
		}
		if got := request(t, overHTTP1(t), http.MethodGet, test.url+"/_/metrics", header, ""); got.status != test.want {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if off.Addr("metrics") != "" {
		t.Error("there is a port for metrics that nobody asked for")
	}
}

// docs/metrics.md lists every metric of ours, and no other.
func TestDocumentationOfMetrics(t *testing.T) {
	t.Parallel()
	s := measured(t)
	client := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	inhabit(t, client, servertest.Org.String())
	if _, err := flovynv1connect.NewWorkflowDispatchClient(client).StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{
		OrgId: servertest.Org.String(), WorkflowKind: "k", Queue: "neglected",
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.SampleQueues(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.CountDeleted("executions", 1)
	served := map[string]bool{}
	for series := range scrape(t, s) {
		name, _, _ := strings.Cut(series, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if strings.HasPrefix(name, "flovyn_") {
			served[name] = true
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(flovyn_[a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("docs/metrics.md differs from what is served (-served +documented):\n%s", diff)
	}
}

// withHeader sends a header with every call.
func withHeader(name, value string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set(name, value)
			}
			return next(ctx, spec)
		}
	}
}

const clientTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// A workflow, its task, and what its worker reports are one trace: that of the
// client who started it.
func TestTraces(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	s := servertest.New(t, func(cfg *config.Config) {
		cfg.OTel = config.OTel{Enabled: true, Endpoint: collector.URL, ServiceName: "flovyn-server"}
	})
	traceparent := runTraced(t, s)
	if !strings.Contains(traceparent, "-4bf92f3577b34da6a3ce929d0e0e4736-") {
		t.Errorf("the worker got %q, of another trace", traceparent)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := collector.Await(ctx, t, "flovyn.v1.WorkflowDispatch/StartWorkflow")
	if start.Parent != "00f067aa0ba902b7" || !strings.Contains(traceparent, start.ID) {
		t.Errorf("the start is %+v; the worker got %s", start, traceparent)
	}
	for _, name := range []string{"workflow.poll", "task.poll", "task.completed", "workflow.completed", "workflow.execute"} {
		if span := collector.Await(ctx, t, name); span.Trace != start.Trace || span.Parent != start.ID || span.Attributes["tenant.id"] == "" {
			t.Errorf("%s is not below the start: %+v", name, span)
		}
	}
	for _, span := range collector.Spans() {
		if span.Name == "foreign.execute" {
			t.Error("a span about an execution of another organization was sent")
		}
	}
}

// Without a collector a trace is passed on all the same.
func TestTraceparentWithoutCollector(t *testing.T) {
	t.Parallel()
	if got := runTraced(t, servertest.New(t)); got != clientTrace {
		t.Errorf("the worker got %q, want the client's", got)
	}
}

// runTraced runs a workflow with a task from a client with a trace and returns
// what its worker received of it.
func runTraced(t *testing.T, s *servertest.Server) string {
	t.Helper()
	org := servertest.Org.String()
	traced := connect.NewClient(
		connecthttp.NewTransport(overH2C(t), s.GRPC, connecthttp.WithGRPC()), withKey(servertest.WorkerKey), withHeader("Traceparent", clientTrace))
	started, err := flovynv1connect.NewWorkflowDispatchClient(traced).StartWorkflow(t.Context(),
		&flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "order", Queue: "traced"})
	if err != nil {
		t.Fatal(err)
	}
	plain := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	dispatch, tasks := flovynv1connect.NewWorkflowDispatchClient(plain), flovynv1connect.NewTaskExecutionClient(plain)
	id := started.GetWorkflowExecutionId()
	poll := &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "traced", TimeoutSeconds: 60}
	polled, err := dispatch.PollWorkflow(t.Context(), poll)
	if err != nil {
		t.Fatal(err)
	}
	submit := func(status flovynv1.WorkflowStatus, command *flovynv1.WorkflowCommand) {
		t.Helper()
		if _, err := dispatch.SubmitWorkflowCommands(t.Context(), &flovynv1.SubmitWorkflowCommandsRequest{
			WorkflowExecutionId: id, Status: status, Commands: []*flovynv1.WorkflowCommand{command},
		}); err != nil {
			t.Fatal(err)
		}
	}
	submit(flovynv1.WorkflowStatus_SUSPENDED, &flovynv1.WorkflowCommand{
		SequenceNumber: 1, CommandType: flovynv1.CommandType_SCHEDULE_TASK,
		CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: &flovynv1.ScheduleTaskCommand{
			Kind: "charge", TaskExecutionId: "0198c0de-0000-7000-8000-" + id[24:], Queue: new("traced"),
		}},
	})
	task, err := tasks.PollTask(t.Context(), &flovynv1.PollTaskRequest{OrgId: org, WorkerId: "w", Queue: "traced", TimeoutSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	if got := task.GetTask().GetTraceparent(); got != polled.GetTraceparent() {
		t.Errorf("the task's trace is %q, its workflow's %q", got, polled.GetTraceparent())
	}
	if _, err := tasks.CompleteTask(t.Context(), &flovynv1.CompleteTaskRequest{TaskExecutionId: task.GetTask().GetTaskExecutionId()}); err != nil {
		t.Fatal(err)
	}
	if again, err := dispatch.PollWorkflow(t.Context(), poll); err != nil || again.GetWorkflowExecution() == nil {
		t.Fatalf("the workflow does not go on: %v, %v", again, err)
	}
	submit(flovynv1.WorkflowStatus_COMPLETED, &flovynv1.WorkflowCommand{
		SequenceNumber: 2, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{}},
	})
	for key, kind := range map[string]string{servertest.WorkerKey: "workflow.execute", servertest.ForeignWorkerKey: "foreign.execute"} {
		reporter := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, key))
		reported, err := reporter.ReportExecutionSpans(t.Context(), &flovynv1.ReportExecutionSpansRequest{
			SdkInfo: &flovynv1.SdkInfo{Language: "rust"},
			Spans:   []*flovynv1.ExecutionSpan{{SpanId: "1", SpanType: kind, WorkflowId: id, StartTimeUnixNs: 1, EndTimeUnixNs: 2}},
		})
		if err != nil || reported.GetAcceptedCount() != 1 || reported.GetRejectedCount() != 0 {
			t.Errorf("%s: %v, %v", kind, reported, err)
		}
	}
	return polled.GetTraceparent()
}
