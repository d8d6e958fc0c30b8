package server_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// frame is a server-sent event.
type frame struct{ id, event, data string }

// events follows a stream over REST.
type events struct {
	t    *testing.T
	body *bufio.Scanner
}

func follow(ctx context.Context, t *testing.T, client *http.Client, url string, header map[string]string) *events {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+servertest.AdminKey)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, response.Status)
	}
	return &events{t, bufio.NewScanner(response.Body)}
}

// next returns the next event; ok is false when the stream has ended.
func (e *events) next() (f frame, ok bool) {
	for e.body.Scan() {
		name, value, _ := strings.Cut(e.body.Text(), ": ")
		switch {
		case e.body.Text() == "" && f != (frame{}):
			return f, true
		case name == "id":
			f.id = value
		case name == "event":
			f.event = value
		case name == "data":
			f.data = value
		}
	}
	return f, false
}

// until returns the first event with the given text in its data.
func (e *events) until(text string) frame {
	e.t.Helper()
	for {
		f, ok := e.next()
		if !ok {
			e.t.Fatalf("the stream ended without %q: %v", text, e.body.Err())
		}
		if strings.Contains(f.data, text) {
			return f
		}
	}
}

// post sends JSON over REST and returns the answer.
func post(ctx context.Context, t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	response, answer := send(ctx, t, client, http.MethodPost, url, "application/json", []byte(body), never)
	if response.status >= http.StatusBadRequest {
		t.Fatalf("%s: %d %s", url, response.status, answer)
	}
	return string(answer)
}

func get(ctx context.Context, t *testing.T, client *http.Client, url string) string {
	t.Helper()
	_, answer := send(ctx, t, client, http.MethodGet, url, "", nil, never)
	return string(answer)
}

func workerOf(t *testing.T, s *servertest.Server) (flovynv1connect.WorkflowDispatchClient, flovynv1connect.TaskExecutionClient) {
	t.Helper()
	client := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	return flovynv1connect.NewWorkflowDispatchClient(client), flovynv1connect.NewTaskExecutionClient(client)
}

func executions(s *servertest.Server) string {
	return s.HTTP + "/api/orgs/" + servertest.OrgSlug + "/workflow-executions"
}

// What one server's worker does is seen by the watcher of another one, over the
// database alone and over NATS.
func TestWatcherAndWorkerOnDifferentServers(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*testing.T) []servertest.Option{
		"database": func(*testing.T) []servertest.Option { return nil },
		"nats": func(t *testing.T) []servertest.Option {
			t.Helper()
			url := startNATS(t)
			return []servertest.Option{func(c *config.Config) { c.NATS = config.NATS{Enabled: true, URL: config.Secret(url)} }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			dsn, with := pgtest.New(t), options(t)
			here, there := servertest.On(t, dsn, with...), servertest.On(t, dsn, with...)
			client := overHTTP1(t)
			id := pick(t, post(ctx, t, client, executions(here), `{"kind":"k","queue":"q"}`), "workflowExecutionId")
			stream := follow(ctx, t, client, executions(here)+"/"+id+"/stream", nil)
			if f := stream.until("WORKFLOW_CREATED"); f.id != "1" || f.event != "data" {
				t.Errorf("%+v", f)
			}
			checkRelayed(ctx, t, there, id, stream)
		})
	}
}

func checkRelayed(ctx context.Context, t *testing.T, there *servertest.Server, id string, stream *events) {
	t.Helper()
	dispatch, tasks := workerOf(t, there)
	if _, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: servertest.Org.String(), WorkerId: "w", Queue: "q", TimeoutSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	stream.until("WORKFLOW_STARTED")
	_, err := dispatch.SubmitWorkflowCommands(ctx, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: id, Status: flovynv1.WorkflowStatus_RUNNING, Commands: []*flovynv1.WorkflowCommand{{
			SequenceNumber: 1, CommandType: flovynv1.CommandType_SCHEDULE_TASK,
			CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: &flovynv1.ScheduleTaskCommand{
				TaskExecutionId: taskOfWorkflow, Kind: "t", Queue: new("q"),
			}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stream.until("TASK_CREATED")
	// The other server knows by now that somebody watches here: it was told before
	// it was asked for anything, or the task above would have been found by the sweep.
	said := make(chan struct{})
	var talk sync.WaitGroup
	talk.Go(func() {
		for i := 0; ; i++ {
			_, err := tasks.StreamTaskData(ctx, &flovynv1.StreamTaskDataRequest{
				TaskExecutionId: taskOfWorkflow, WorkflowExecutionId: id, Type: flovynv1.StreamEventType_DATA,
				Payload: `{"type":"data","data":` + payload + `}`, Sequence: int32(i),
			})
			select {
			case <-said:
				return
			default:
			}
			if err != nil {
				t.Errorf("saying something: %v", err)
				return
			}
		}
	})
	if f := stream.until("9007199254740993"); f.data != payload || f.event != "data" || f.id != "" {
		t.Errorf("%+v, want the payload byte for byte", f)
	}
	close(said)
	talk.Wait()
	_, err = dispatch.SubmitWorkflowCommands(ctx, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: id, Status: flovynv1.WorkflowStatus_COMPLETED, Commands: []*flovynv1.WorkflowCommand{{
			SequenceNumber: 2, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
			CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: []byte(`1`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stream.until("WORKFLOW_COMPLETED")
	for {
		if _, ok := stream.next(); !ok {
			return // the stream ends with its execution
		}
	}
}

func startNATS(t *testing.T) string {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	return s.ClientURL()
}

// A stream goes on where another one broke off.
func TestStreamGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, client := servertest.New(t), overHTTP1(t)
	id := pick(t, post(ctx, t, client, executions(s), `{"kind":"k"}`), "workflowExecutionId")
	for range 3 {
		post(ctx, t, client, executions(s)+"/"+id+"/signal", `{"signalName":"s"}`)
	}
	stream := follow(ctx, t, client, executions(s)+"/"+id+"/stream", map[string]string{"Last-Event-ID": "2"})
	for want := 3; want <= 4; want++ {
		if f, ok := stream.next(); !ok || f.id != strconv.Itoa(want) {
			t.Errorf("%+v, %v; want the event %d", f, ok, want)
		}
	}
}

// An organization's stream tells of everything in it by the names asked for, in
// every protocol, and of nothing in another organization.
func TestOrganizationStream(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, client := servertest.New(t), overHTTP1(t)
	stream := follow(ctx, t, client, s.HTTP+"/api/orgs/acme/events/stream?types=workflow.cancelled,task.*", nil)
	foreign := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, servertest.ForeignWorkerKey))
	if _, err := foreign.StartWorkflow(ctx, &flovynv1.StartWorkflowRequest{OrgId: servertest.ForeignOrg.String(), WorkflowKind: "foreign"}); err != nil {
		t.Fatal(err)
	}
	id := pick(t, post(ctx, t, client, executions(s), `{"kind":"k"}`), "workflowExecutionId")
	post(ctx, t, client, executions(s)+"/"+id+"/cancel", `{}`)
	if f, ok := stream.next(); !ok || !strings.Contains(f.data, `"WORKFLOW_CANCELLED"`) || !strings.HasPrefix(f.id, "workflow:"+id+":") {
		t.Errorf("%+v, %v; want the cancellation first", f, ok)
	}
	task := pick(t, post(ctx, t, client, s.HTTP+"/api/orgs/acme/task-executions", `{"kind":"t"}`), "id")
	if f, ok := stream.next(); !ok || !strings.Contains(f.data, `"TASK_CREATED"`) || !strings.Contains(f.data, task) {
		t.Errorf("%+v, %v; want the new task", f, ok)
	}
}

// A payload goes through every door byte for byte: in by REST, out by gRPC, in
// again by gRPC, out by REST and in the stream.
func TestPayloadIsKeptByteForByte(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, client := servertest.New(t), overHTTP1(t)
	dispatch, _ := workerOf(t, s)
	id := pick(t, post(ctx, t, client, executions(s), `{"kind":"k","queue":"q","input":`+payload+`}`), "workflowExecutionId")
	stream := follow(ctx, t, client, executions(s)+"/"+id+"/stream", nil)
	got, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: servertest.Org.String(), WorkerId: "w", Queue: "q", TimeoutSeconds: 60})
	if err != nil {
		t.Fatal(err)
	}
	input := got.GetWorkflowExecution().GetInput()
	if !bytes.Equal(input, []byte(payload)) {
		t.Errorf("polled %s", input)
	}
	_, err = dispatch.SubmitWorkflowCommands(ctx, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: id, Status: flovynv1.WorkflowStatus_COMPLETED, Commands: []*flovynv1.WorkflowCommand{
			{
				SequenceNumber: 1, CommandType: flovynv1.CommandType_SET_STATE,
				CommandData: &flovynv1.WorkflowCommand_SetState{SetState: &flovynv1.SetStateCommand{Key: "k", Value: input}},
			},
			{
				SequenceNumber: 2, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
				CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: input}},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": `"output":` + payload, "/result": `"output":` + payload, "/state": `"k":` + payload, "/events": `"output":` + payload,
	} {
		if answer := get(ctx, t, client, executions(s)+"/"+id+path); !strings.Contains(answer, want) {
			t.Errorf("GET %q: no %s in %s", path, want, answer)
		}
	}
	if f := stream.until("STATE_SET"); !strings.Contains(f.data, `"value":`+payload) {
		t.Errorf("streamed %s", f.data)
	}
	// A NUL in a name can be stored nowhere, and is refused.
	_, answer := send(ctx, t, client, http.MethodPost, executions(s), "application/json", []byte(`{"kind":"a\u0000b"}`), never)
	if !strings.Contains(string(answer), "NUL") {
		t.Errorf("a kind with a NUL: %s", answer)
	}
}

// Whoever waits for a result has it as soon as it is there, wherever it was made.
func TestWaitersAreWoken(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dsn := pgtest.New(t)
	here, there := servertest.On(t, dsn), servertest.On(t, dsn)
	dispatch, _ := workerOf(t, there)
	answer := make(chan string, 1)
	client := overHTTP1(t)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		answer <- post(ctx, t, client, executions(here)+"/start-and-wait", `{"kind":"k","queue":"q","input":1,"timeoutSeconds":100}`)
	})
	defer waiting.Wait()
	got, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: servertest.Org.String(), WorkerId: "w", Queue: "q", TimeoutSeconds: 60})
	if err != nil || got.GetWorkflowExecution() == nil {
		t.Fatalf("%v, %v; want an activation", got, err)
	}
	_, err = dispatch.SubmitWorkflowCommands(ctx, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: got.GetWorkflowExecution().GetId(), Status: flovynv1.WorkflowStatus_COMPLETED,
		Commands: []*flovynv1.WorkflowCommand{{
			SequenceNumber: 1, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
			CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: []byte(`"done"`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-answer:
		if !strings.Contains(text, `"done":true,"output":"done"`) {
			t.Errorf("%s", text)
		}
	case <-ctx.Done():
		t.Error("the waiter was not woken")
	}
}
