package server_test

import (
	"slices"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
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
	// more are requests that are bad in ways of their own.
	more []spoiled
	// but are the answers that differ from the usual ones.
	but map[bad]connect.Code
}

// spoiled is a bad request as it is sent.
type spoiled struct {
	what    string
	want    connect.Code
	request proto.Message
	// says is part of the answer; it tells that the right thing is refused.
	says string
}

// freeTexts are never a reason to refuse a request.
var freeTexts = []string{"error", "details", "message", "stack_trace", "failure_type", "reason"}

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
			more: badCommands(f.workflow),
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
			procedure: "TaskExecution/StreamTaskData", id: task, foreign: f.foreignTask, payloads: []string{"payload"},
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
			procedure: "WorkerLifecycle/RegisterWorker", payloads: []string{"metadata"}, more: badRegistrations(org),
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
	deliver := func(s spoiled) {
		t.Helper()
		err := call(t, client, spec, s.request, dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Output()))
		if (s.want == accepted && err != nil) || (s.want != accepted && (connect.CodeOf(err) != s.want || !strings.Contains(err.Error(), s.says))) {
			t.Errorf("%s with %s: %v, want %v %q", c.procedure, s.what, err, s.want, s.says)
		}
	}
	send := func(what string, want connect.Code, spoil func(protoreflect.Message)) {
		t.Helper()
		request := proto.Clone(c.good)
		spoil(request.ProtoReflect())
		deliver(spoiled{what: what, want: want, request: request})
	}
	for _, s := range c.more {
		deliver(s)
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
		for text, b := range badPayloads {
			if b == notUTF8 && fields.ByName(protoreflect.Name(name)).Kind() == protoreflect.StringKind {
				continue // no client can send it
			}
			send(string(b)+" in "+name, c.want(b), set(name, text))
		}
		send("a message above the limit", connect.CodeResourceExhausted, set(name, `"`+strings.Repeat("x", 5<<20)+`"`))
	}
	if field := fields.ByName("metadata"); field != nil && field.IsMap() {
		for _, m := range badMetadata() {
			send("metadata above the limit", connect.CodeInvalidArgument, func(r protoreflect.Message) { r.Set(field, m) })
		}
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() != protoreflect.StringKind || field.IsList() || slices.Contains(freeTexts, string(field.Name())) {
			continue
		}
		send("a NUL in "+string(field.Name()), connect.CodeInvalidArgument, set(string(field.Name()), "a\x00b"))
	}
	for _, name := range []string{"queue", "worker_id", "workflow_kind", "kind", "signal_name", "key", "idempotency_key", "worker_name"} {
		if fields.ByName(protoreflect.Name(name)) != nil {
			send("an endless "+name, connect.CodeInvalidArgument, set(name, strings.Repeat("x", 600)))
		}
	}
	for _, name := range []string{"worker_id", "workflow_kind", "kind", "signal_name", "child_execution_name", "worker_name"} {
		if fields.ByName(protoreflect.Name(name)) != nil {
			send("an empty "+name, connect.CodeInvalidArgument, set(name, ""))
			send("a blank "+name, connect.CodeInvalidArgument, set(name, " \t"))
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

// tryGood sends the request unspoiled, to prove that it was good, with free
// texts that have everything against them.
func (c badCase) tryGood(t *testing.T, client *connect.Client) {
	t.Helper()
	if slices.Contains([]string{"WorkflowDispatch/SubscribeToNotifications", "TaskExecution/CancelTask"}, c.procedure) {
		return // the one never ends, the other's task has ended by now
	}
	good := proto.Clone(c.good)
	for _, name := range freeTexts {
		if good.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)) != nil {
			set(name, "a\x00b"+strings.Repeat("x", 2<<20))(good.ProtoReflect())
		}
	}
	for _, spec := range procedures(t) {
		if spec.Procedure != "/flovyn.v1."+c.procedure {
			continue
		}
		err := call(t, client, spec, good, dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Output()))
		if strings.HasSuffix(c.procedure, "DefinitionById") && connect.CodeOf(err) == connect.CodeNotFound {
			return
		}
		if err != nil {
			t.Errorf("%s with a good request: %v", c.procedure, err)
		}
	}
}
