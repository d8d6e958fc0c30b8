package server_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

const accepted = connect.Code(0)

// bad is a way to spoil a request, and the code that answers it.
type bad string

const (
	emptyRequest bad = "empty"
	wrongID      bad = "an id that is no UUID"
	unknownID    bad = "an unknown id"
	foreignID    bad = "an id of another organization"
	brokenJSON   bad = "a payload that is no JSON"
	notUTF8      bad = "a payload that is no UTF-8"
	largePayload bad = "a payload above the limit"
)

var usual = map[bad]connect.Code{
	emptyRequest: connect.CodeInvalidArgument, wrongID: connect.CodeInvalidArgument,
	unknownID: connect.CodeNotFound, foreignID: connect.CodeNotFound,
	brokenJSON: connect.CodeInvalidArgument, notUTF8: connect.CodeInvalidArgument, largePayload: connect.CodeResourceExhausted,
}

// fixture is what exists before the bad requests come.
type fixture struct {
	workflow, task, promise, worker       string
	foreignWorkflow, foreignTask, foreign string
}

// badCase is a procedure with a good request for it, to be spoiled.
type badCase struct {
	procedure string
	good      proto.Message
	// id is the field that names what exists, foreign what it must not name.
	id, foreign string
	// payloads are the fields that hold JSON.
	payloads []string
	// but are the answers that differ from the usual ones.
	but map[bad]connect.Code
}

func badCases(f fixture) []badCase {
	org := servertest.Org.String()
	json := []byte(`{"a":1}`)
	const id, task = "workflow_execution_id", "task_execution_id"
	return []badCase{
		{procedure: "WorkflowDispatch/PollWorkflow", good: &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "none"}},
		{procedure: "WorkflowDispatch/SubscribeToNotifications", good: &flovynv1.SubscriptionRequest{OrgId: org, WorkerId: "w", Queue: "none"}},
		{
			procedure: "WorkflowDispatch/StartWorkflow", payloads: []string{"input"},
			good: &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Input: json, Queue: "none", IdempotencyKey: new("k")},
		},
		{
			procedure: "WorkflowDispatch/GetVisualWorkflowDefinitionById", id: "workflow_definition_id", foreign: f.foreignWorkflow,
			good: &flovynv1.GetVisualWorkflowDefinitionByIdRequest{WorkflowDefinitionId: f.workflow},
		},
		{
			procedure: "WorkflowDispatch/StartChildWorkflow", id: "parent_workflow_execution_id", foreign: f.foreignWorkflow,
			payloads: []string{"input"},
			good: &flovynv1.StartChildWorkflowRequest{
				OrgId: org, ParentWorkflowExecutionId: f.workflow, ChildExecutionName: "c", Input: json, Queue: "none",
				WorkflowExecutionIdentifier: &flovynv1.StartChildWorkflowRequest_WorkflowKind{WorkflowKind: "k"},
			},
		},
		{
			procedure: "WorkflowDispatch/ResolvePromise", id: "promise_id", foreign: f.foreignWorkflow, payloads: []string{"value"},
			good: &flovynv1.ResolvePromiseRequest{PromiseId: f.promise, Value: json},
		},
		{
			procedure: "WorkflowDispatch/RejectPromise", id: "promise_id", foreign: f.foreignWorkflow,
			good: &flovynv1.RejectPromiseRequest{PromiseId: f.promise, Error: "e"},
		},
		{
			procedure: "WorkflowDispatch/SignalWithStartWorkflow", payloads: []string{"workflow_input", "signal_value"},
			good: &flovynv1.SignalWithStartWorkflowRequest{
				OrgId: org, WorkflowId: "key", WorkflowKind: "k", WorkflowInput: json, Queue: "none", SignalName: "s", SignalValue: json,
			},
		},
		{
			procedure: "WorkflowDispatch/SignalWorkflow", id: id, foreign: f.foreignWorkflow, payloads: []string{"signal_value"},
			good: &flovynv1.SignalWorkflowRequest{OrgId: org, WorkflowExecutionId: f.workflow, SignalName: "s", SignalValue: json},
		},
		{
			procedure: "WorkflowDispatch/GetEvents", id: id, foreign: f.foreignWorkflow,
			good: &flovynv1.GetEventsRequest{WorkflowExecutionId: f.workflow},
		},
		{
			procedure: "WorkflowDispatch/SubmitWorkflowCommands", id: id, foreign: f.foreignWorkflow,
			good: &flovynv1.SubmitWorkflowCommandsRequest{WorkflowExecutionId: f.workflow, Status: flovynv1.WorkflowStatus_SUSPENDED},
		},
		{
			procedure: "WorkflowDispatch/ReportExecutionSpans", but: map[bad]connect.Code{emptyRequest: accepted},
			good: &flovynv1.ReportExecutionSpansRequest{Spans: []*flovynv1.ExecutionSpan{{SpanId: "1", SpanType: "workflow.execute"}}},
		},
		{
			procedure: "WorkflowQuery/QueryWorkflow", id: id, foreign: f.foreignWorkflow, payloads: []string{"params"},
			good: &flovynv1.QueryWorkflowRequest{WorkflowExecutionId: f.workflow, QueryName: "q", Params: json},
		},
		{
			procedure: "TaskExecution/SubmitTask", payloads: []string{"input"},
			good: &flovynv1.SubmitTaskRequest{OrgId: org, Kind: "k", Input: json, Queue: "none"},
		},
		{procedure: "TaskExecution/PollTask", good: &flovynv1.PollTaskRequest{OrgId: org, WorkerId: "w", Queue: "none"}},
		{
			procedure: "TaskExecution/ReportProgress", id: task, foreign: f.foreignTask,
			good: &flovynv1.ReportProgressRequest{TaskExecutionId: f.task, Progress: 0.5, Details: "d"},
		},
		{procedure: "TaskExecution/Heartbeat", id: task, foreign: f.foreignTask, good: &flovynv1.HeartbeatRequest{TaskExecutionId: f.task}},
		{
			procedure: "TaskExecution/LogMessage", id: task, foreign: f.foreignTask,
			good: &flovynv1.LogMessageRequest{TaskExecutionId: f.task, Level: "info", Message: "m"},
		},
		{procedure: "TaskExecution/GetState", id: task, foreign: f.foreignTask, good: &flovynv1.GetStateRequest{TaskExecutionId: f.task, Key: "k"}},
		{
			procedure: "TaskExecution/SetState", id: task, foreign: f.foreignTask, payloads: []string{"value"},
			good: &flovynv1.SetStateRequest{TaskExecutionId: f.task, Key: "k", Value: json},
		},
		{procedure: "TaskExecution/ClearState", id: task, foreign: f.foreignTask, good: &flovynv1.ClearStateRequest{TaskExecutionId: f.task, Key: "k"}},
		{procedure: "TaskExecution/ClearAllState", id: task, foreign: f.foreignTask, good: &flovynv1.ClearAllStateRequest{TaskExecutionId: f.task}},
		{procedure: "TaskExecution/GetStateKeys", id: task, foreign: f.foreignTask, good: &flovynv1.GetStateKeysRequest{TaskExecutionId: f.task}},
		{
			procedure: "TaskExecution/StreamTaskData", id: task, foreign: f.foreignTask,
			good: &flovynv1.StreamTaskDataRequest{TaskExecutionId: f.task, Type: flovynv1.StreamEventType_TOKEN, Payload: "{}"},
		},
		{
			procedure: "TaskExecution/FailTask", id: task, foreign: f.foreignTask,
			good: &flovynv1.FailTaskRequest{TaskExecutionId: f.task, Error: "e"},
		},
		{
			procedure: "TaskExecution/CompleteTask", id: task, foreign: f.foreignTask, payloads: []string{"output"},
			good: &flovynv1.CompleteTaskRequest{TaskExecutionId: f.task, Output: json},
		},
		{procedure: "TaskExecution/CancelTask", id: task, foreign: f.foreignTask, good: &flovynv1.CancelTaskRequest{TaskExecutionId: f.task}},
		{
			procedure: "WorkerLifecycle/RegisterWorker", payloads: []string{"metadata"},
			good: &flovynv1.WorkerRegistrationRequest{
				OrgId: org, WorkerName: "n", Metadata: json, Workflows: []*flovynv1.WorkflowCapability{{Kind: "k"}},
			},
		},
		{
			procedure: "WorkerLifecycle/SendHeartbeat", id: "worker_id", foreign: f.foreign,
			good: &flovynv1.WorkerHeartbeatRequest{WorkerId: f.worker},
		},
	}
}

// Whatever is wrong with a request, the answer is the documented code and never
// an internal error, and nothing changes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	f := prepare(t, s)
	client := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	specs := map[string]connect.Spec{}
	for _, spec := range procedures(t) {
		specs[strings.TrimPrefix(spec.Procedure, "/flovyn.v1.")] = spec
	}
	cases := badCases(f)
	before := snapshot(t, s.DSN)
	for _, c := range cases {
		spec, ok := specs[c.procedure]
		if !ok {
			t.Fatalf("no procedure %s", c.procedure)
		}
		delete(specs, c.procedure)
		c.try(t, client, spec)
		if diff := cmp.Diff(before, snapshot(t, s.DSN)); diff != "" {
			t.Fatalf("%s: bad requests changed something (-before +after):\n%s", c.procedure, diff)
		}
	}
	for name := range specs {
		if !strings.HasPrefix(name, "AgentDispatch/") {
			t.Errorf("no bad requests for %s", name)
		}
	}
	for _, c := range cases {
		c.tryGood(t, client)
	}
}

// try sends the good request in every spoiled form.
func (c badCase) try(t *testing.T, client *connect.Client, spec connect.Spec) {
	t.Helper()
	send := func(what string, want connect.Code, spoil func(protoreflect.Message)) {
		t.Helper()
		request := proto.Clone(c.good)
		spoil(request.ProtoReflect())
		err := call(t, client, spec, request, dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Output()))
		if (want == accepted && err != nil) || (want != accepted && connect.CodeOf(err) != want) {
			t.Errorf("%s with %s: %v, want %v", c.procedure, what, err, want)
		}
	}
	set := func(name string, value any) func(protoreflect.Message) {
		return func(m protoreflect.Message) {
			m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(value))
		}
	}
	send(string(emptyRequest), c.want(emptyRequest), func(m protoreflect.Message) { proto.Reset(m.Interface()) })
	fields := c.good.ProtoReflect().Descriptor().Fields()
	if fields.ByName("org_id") != nil {
		send("an org_id that is no UUID", connect.CodeInvalidArgument, set("org_id", "acme"))
		send("the nil org_id", connect.CodeInvalidArgument, set("org_id", uuid.Nil.String()))
		send("a foreign org_id", connect.CodePermissionDenied, set("org_id", servertest.ForeignOrg.String()))
		send("an unknown org_id", connect.CodePermissionDenied, set("org_id", uuid.NewString()))
	}
	if c.id != "" {
		for _, text := range []string{"not-a-uuid", uuid.Nil.String() + "0", "{" + uuid.NewString() + "}", "'; DROP TABLE task_execution; --"} {
			send(string(wrongID)+" "+text, c.want(wrongID), set(c.id, text))
		}
		send(string(unknownID), c.want(unknownID), set(c.id, uuid.NewString()))
		send(string(foreignID), c.want(foreignID), set(c.id, c.foreign))
	}
	for _, name := range c.payloads {
		for _, text := range []string{"{", "{} {}", "NaN", "\x00", `"\x00"`} {
			send(string(brokenJSON)+" in "+name, c.want(brokenJSON), set(name, []byte(text)))
		}
		send(string(notUTF8)+" in "+name, c.want(notUTF8), set(name, []byte("\"\xff\"")))
		send(string(largePayload)+" in "+name, c.want(largePayload), set(name, []byte(`"`+strings.Repeat("x", 1<<20)+`"`)))
		send("a message above the limit", connect.CodeResourceExhausted, set(name, []byte(`"`+strings.Repeat("x", 5<<20)+`"`)))
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() != protoreflect.StringKind || field.IsList() {
			continue
		}
		send("a NUL in "+string(field.Name()), connect.CodeInvalidArgument, set(string(field.Name()), "a\x00b"))
	}
	for _, name := range []string{"queue", "worker_id", "workflow_kind", "kind", "signal_name", "key", "idempotency_key", "worker_name"} {
		if fields.ByName(protoreflect.Name(name)) != nil {
			send("an endless "+name, connect.CodeInvalidArgument, set(name, strings.Repeat("x", 600)))
		}
	}
	for _, name := range []string{"idempotency_key_ttl_seconds", "timeout_ms"} {
		if fields.ByName(protoreflect.Name(name)) != nil {
			send("an endless "+name, connect.CodeInvalidArgument, set(name, int64(1)<<62))
			send("a negative "+name, connect.CodeInvalidArgument, set(name, int64(-1)))
		}
	}
}

func (c badCase) want(b bad) connect.Code {
	if code, ok := c.but[b]; ok {
		return code
	}
	return usual[b]
}

// tryGood sends the request unspoiled, to prove that it was good.
func (c badCase) tryGood(t *testing.T, client *connect.Client) {
	t.Helper()
	if slices.Contains([]string{"WorkflowDispatch/SubscribeToNotifications", "TaskExecution/CancelTask"}, c.procedure) {
		return // the one never ends, the other's task has ended by now
	}
	for _, spec := range procedures(t) {
		if spec.Procedure != "/flovyn.v1."+c.procedure {
			continue
		}
		err := call(t, client, spec, c.good, dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Output()))
		if strings.HasSuffix(c.procedure, "DefinitionById") && connect.CodeOf(err) == connect.CodeNotFound {
			return
		}
		if err != nil {
			t.Errorf("%s with a good request: %v", c.procedure, err)
		}
	}
}

// prepare makes a running workflow with a promise, a running task, a worker,
// and the same of the other organization.
func prepare(t *testing.T, s *servertest.Server) fixture {
	t.Helper()
	own := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	foreign := protocols[0].dial(t, s.GRPC, servertest.ForeignWorkerKey)
	var f fixture
	f.workflow, f.task, f.worker = inhabit(t, own, servertest.Org.String())
	f.foreignWorkflow, f.foreignTask, f.foreign = inhabit(t, foreign, servertest.ForeignOrg.String())
	f.promise = makePromise(t, flovynv1connect.NewWorkflowDispatchClient(own), f.workflow)
	return f
}

func inhabit(t *testing.T, client *connect.Client, org string) (workflow, task, worker string) {
	t.Helper()
	dispatch, tasks := flovynv1connect.NewWorkflowDispatchClient(client), flovynv1connect.NewTaskExecutionClient(client)
	started, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dispatch.PollWorkflow(t.Context(), &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	submitted, err := tasks.SubmitTask(t.Context(), &flovynv1.SubmitTaskRequest{OrgId: org, Kind: "k", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.PollTask(t.Context(), &flovynv1.PollTaskRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	registered, err := flovynv1connect.NewWorkerLifecycleClient(client).
		RegisterWorker(t.Context(), &flovynv1.WorkerRegistrationRequest{OrgId: org, WorkerName: "registered"})
	if err != nil {
		t.Fatal(err)
	}
	return started.GetWorkflowExecutionId(), submitted.GetTaskExecutionId(), registered.GetWorkerId()
}

func makePromise(t *testing.T, dispatch flovynv1connect.WorkflowDispatchClient, workflow string) string {
	t.Helper()
	_, err := dispatch.SubmitWorkflowCommands(t.Context(), &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: workflow, Status: flovynv1.WorkflowStatus_RUNNING,
		Commands: []*flovynv1.WorkflowCommand{{
			CommandType: flovynv1.CommandType_CREATE_PROMISE,
			CommandData: &flovynv1.WorkflowCommand_CreatePromise{CreatePromise: &flovynv1.CreatePromiseCommand{PromiseId: "approval"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	history, err := dispatch.GetEvents(t.Context(), &flovynv1.GetEventsRequest{WorkflowExecutionId: workflow})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range history.GetEvents() {
		if e.GetEventType() == "PROMISE_CREATED" {
			id, _ := decode(t, string(e.GetEventData()))["promiseId"].(string)
			return id
		}
	}
	t.Fatal("no PROMISE_CREATED in the history")
	return ""
}

// snapshot is the content of every table that requests write to. Of workers
// only the number counts: polls are signs of life.
func snapshot(t *testing.T, dsn string) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	content := map[string]string{}
	for _, table := range []string{
		"organization", "workflow_execution", "workflow_event", "task_execution", "task_payload", "task_attempt", "task_state",
		"task_log", "ready", "timer", "promise", "idempotency_key", "worker_capability", "definition",
	} {
		var sum string
		query := "SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '') FROM " + table + " x"
		if err := conn.QueryRow(t.Context(), query).Scan(&sum); err != nil {
			t.Fatal(err)
		}
		content[table] = sum
	}
	var workers string
	if err := conn.QueryRow(t.Context(), "SELECT count(*)::text FROM worker").Scan(&workers); err != nil {
		t.Fatal(err)
	}
	content["worker"] = workers
	return content
}
