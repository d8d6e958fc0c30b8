package server_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// One scenario gives the same result on both ports, in every protocol.
func TestEveryProtocolOnBothPorts(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for port, url := range ports(s) {
		for _, p := range protocols {
			t.Run(port+"/"+p.name, func(t *testing.T) {
				t.Parallel()
				checkScenario(t, p, url, port+"-"+p.name)
			})
		}
	}
}

// A single port serves both doors.
func TestOnePortForBothDoors(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, oneFreePort(t))
	if s.HTTP != s.GRPC {
		t.Fatalf("two ports: %s and %s", s.HTTP, s.GRPC)
	}
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			checkScenario(t, p, s.HTTP, "one-"+p.name)
		})
	}
}

// checkScenario starts a workflow, executes it as its worker, and reads its
// history.
func checkScenario(t *testing.T, p protocol, url, queue string) {
	t.Helper()
	client := p.dial(t, url, servertest.WorkerKey)
	dispatch := flovynv1connect.NewWorkflowDispatchClient(client)
	org := servertest.Org.String()
	const input = `{"id": 9007199254740993, "text": "ünïcode"}`

	begin := time.Now()
	started, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{
		OrgId: org, WorkflowKind: "order", Input: []byte(input), Queue: queue, WorkflowVersion: new("1.0.0"),
		Metadata: map[string]string{"customer": "7"}, IdempotencyKey: new("key-" + queue),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !started.GetIdempotencyKeyUsed() || !started.GetIdempotencyKeyNew() {
		t.Errorf("started %v, want a new key", started)
	}
	id := started.GetWorkflowExecutionId()

	polled, err := dispatch.PollWorkflow(t.Context(), &flovynv1.PollRequest{WorkerId: "w", OrgId: org, Queue: queue, TimeoutSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	w := polled.GetWorkflowExecution()
	if w.GetId() != id || w.GetKind() != "order" || w.GetOrgId() != org || string(w.GetInput()) != input ||
		w.GetQueue() != queue || w.GetCurrentSequence() != 1 || w.GetWorkflowVersion() != "1.0.0" {
		t.Errorf("polled %v", w)
	}
	if at := time.UnixMilli(w.GetWorkflowTaskTimeMillis()); at.Before(begin.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
		t.Errorf("the activation's time is %v", at)
	}
	if _, err := dispatch.SubmitWorkflowCommands(t.Context(), &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: id, Status: flovynv1.WorkflowStatus_COMPLETED,
		Commands: []*flovynv1.WorkflowCommand{
			{CommandType: flovynv1.CommandType_COMMAND_TYPE_UNSPECIFIED, SequenceNumber: 2},
			{CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW, CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{
				CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: []byte(`[1.0, 1e400]`)},
			}},
		},
	}); err != nil {
		t.Fatal(err)
	}

	history, err := dispatch.GetEvents(t.Context(), &flovynv1.GetEventsRequest{WorkflowExecutionId: id})
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for i, e := range history.GetEvents() {
		if e.GetSequenceNumber() != int32(i+1) {
			t.Errorf("event %d has number %d", i, e.GetSequenceNumber())
		}
		got = append(got, [2]string{e.GetEventType(), string(e.GetEventData())})
	}
	want := [][2]string{
		{"WORKFLOW_STARTED", `{"input":` + input + `,"workflowKind":"order"}`},
		{"WORKFLOW_COMPLETED", `{"output":[1.0, 1e400]}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// An empty poll is an answer without work, and comes soon.
func TestEmptyPoll(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	client := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	org := servertest.Org.String()
	workflow, err := flovynv1connect.NewWorkflowDispatchClient(client).
		PollWorkflow(t.Context(), &flovynv1.PollRequest{WorkerId: "w", OrgId: org, Queue: "none", TimeoutSeconds: 30})
	if err != nil || workflow.GetWorkflowExecution() != nil {
		t.Errorf("polling workflows: %v, %v", workflow, err)
	}
	task, err := flovynv1connect.NewTaskExecutionClient(client).
		PollTask(t.Context(), &flovynv1.PollTaskRequest{WorkerId: "w", OrgId: org, Queue: "none", TimeoutSeconds: 30})
	if err != nil || task.GetTask() != nil {
		t.Errorf("polling tasks: %v, %v", task, err)
	}
}
