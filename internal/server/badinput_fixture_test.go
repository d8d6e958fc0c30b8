package server_test

import (
	"context"
	"testing"

	connect "connectrpc.com/connect/v2"
	"github.com/jackc/pgx/v5"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

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
