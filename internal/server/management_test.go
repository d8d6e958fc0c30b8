package server_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

var update = flag.Bool("update", false, "write the golden files of TestManagement")

// patience bounds a whole scenario, on a slow and loaded machine.
const patience = 2 * time.Minute

// story is one run of the table against a server of its own.
type story struct {
	t       *testing.T
	ctx     context.Context
	speaker speaker
	normal  *normal
	ids     map[string]string
	worker  struct {
		dispatch flovynv1connect.WorkflowDispatchClient
		tasks    flovynv1connect.TaskExecutionClient
	}
	told map[string]exchange
}

type exchange struct{ sent, got string }

// one is an entry of the table.
type one struct {
	// name is the operation, and what is special about the call after a slash.
	name string
	// before happens before the call; request is made after it.
	before  func(*story)
	request func(*story) proto.Message
	// keep names texts of the answer for later, by their keys there.
	keep map[string]string
	// most ends a stream that does not end by itself.
	most int
}

const org = servertest.OrgSlug

// payload is what no door may change: a number beyond float64, a number that
// looks like an integer, white space, a character outside ASCII, a NUL.
const payload = `{"id": 9007199254740993, "x": 1.0, "s": "é\u0000ok"}`

func (s *story) id(name string) string {
	id, ok := s.ids[name]
	if !ok {
		s.t.Fatalf("nothing was kept as %s", name)
	}
	return id
}

// poll gets the next activation.
func (s *story) poll(queue string) *flovynv1.WorkflowExecution {
	s.t.Helper()
	for s.ctx.Err() == nil {
		got, err := s.worker.dispatch.PollWorkflow(s.ctx, &flovynv1.PollRequest{
			OrgId: servertest.Org.String(), WorkerId: "w", Queue: queue, TimeoutSeconds: 30,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if got.GetWorkflowExecution() != nil {
			return got.GetWorkflowExecution()
		}
	}
	s.t.Fatalf("no activation came on the queue %s", queue)
	return nil
}

func (s *story) pollTask(queue string) *flovynv1.TaskExecutionInfo {
	s.t.Helper()
	for s.ctx.Err() == nil {
		got, err := s.worker.tasks.PollTask(s.ctx, &flovynv1.PollTaskRequest{
			OrgId: servertest.Org.String(), WorkerId: "w", Queue: queue, TimeoutSeconds: 30,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if got.GetTask() != nil {
			return got.GetTask()
		}
	}
	s.t.Fatalf("no task came on the queue %s", queue)
	return nil
}

func (s *story) submit(id string, status flovynv1.WorkflowStatus, commands ...*flovynv1.WorkflowCommand) {
	s.t.Helper()
	_, err := s.worker.dispatch.SubmitWorkflowCommands(s.ctx, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: id, Status: status, Commands: commands,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) must(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

const (
	taskOfWorkflow = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	childOf        = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
)

// suspendOrder is what the workflow decides at first: a task, a promise, a child,
// and something to keep.
func suspendOrder(s *story) {
	s.poll("orders")
	s.submit(s.id("order"), flovynv1.WorkflowStatus_SUSPENDED,
		&flovynv1.WorkflowCommand{
			SequenceNumber: 1, CommandType: flovynv1.CommandType_SET_STATE,
			CommandData: &flovynv1.WorkflowCommand_SetState{SetState: &flovynv1.SetStateCommand{Key: "step", Value: []byte(payload)}},
		},
		&flovynv1.WorkflowCommand{
			SequenceNumber: 2, CommandType: flovynv1.CommandType_SCHEDULE_TASK,
			CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: &flovynv1.ScheduleTaskCommand{
				TaskExecutionId: taskOfWorkflow, Kind: "charge", Input: []byte(payload), Queue: new("charges"),
			}},
		},
		&flovynv1.WorkflowCommand{
			SequenceNumber: 3, CommandType: flovynv1.CommandType_CREATE_PROMISE,
			CommandData: &flovynv1.WorkflowCommand_CreatePromise{CreatePromise: &flovynv1.CreatePromiseCommand{
				PromiseId: "approval", IdempotencyKey: new("approve:1"),
			}},
		},
		&flovynv1.WorkflowCommand{
			SequenceNumber: 4, CommandType: flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW,
			CommandData: &flovynv1.WorkflowCommand_ScheduleChildWorkflow{ScheduleChildWorkflow: &flovynv1.ScheduleChildWorkflowCommand{
				ChildExecutionName: "parcel", WorkflowKind: new("ship"), ChildWorkflowExecutionId: childOf, Input: []byte(`{}`), Queue: "parcels",
			}},
		},
	)
}

// runTask executes the workflow's task.
func runTask(s *story) {
	s.pollTask("charges")
	s.must(s.worker.tasks.ReportProgress(s.ctx, &flovynv1.ReportProgressRequest{TaskExecutionId: taskOfWorkflow, Progress: 0.5, Details: "half"}))
	s.must(s.worker.tasks.LogMessage(s.ctx, &flovynv1.LogMessageRequest{TaskExecutionId: taskOfWorkflow, Level: "INFO", Message: "charging"}))
	s.must(s.worker.tasks.CompleteTask(s.ctx, &flovynv1.CompleteTaskRequest{TaskExecutionId: taskOfWorkflow, Output: []byte(payload)}))
}

// completeOrder ends the workflow with the payload.
func completeOrder(s *story) {
	s.poll("orders")
	s.submit(s.id("order"), flovynv1.WorkflowStatus_COMPLETED, &flovynv1.WorkflowCommand{
		SequenceNumber: 1, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: []byte(payload)}},
	})
}

// failTask lets a standalone task fail for good.
func failTask(s *story) {
	got := s.pollTask("errands")
	s.must(s.worker.tasks.FailTask(s.ctx, &flovynv1.FailTaskRequest{TaskExecutionId: got.GetTaskExecutionId(), Error: "no petrol"}))
}

// table is every operation of the management API, in the order of a story.
var table = []one{
	{name: "GetOrganization", request: func(*story) proto.Message { return &apiv1.GetOrganizationRequest{Org: org} }},
	{name: "GetOrganization/foreign", request: func(*story) proto.Message { return &apiv1.GetOrganizationRequest{Org: "globex"} }},

	{name: "StartWorkflowExecution", keep: map[string]string{"order": "workflowExecutionId"}, request: func(*story) proto.Message {
		return &apiv1.StartWorkflowExecutionRequest{
			Org: org, Kind: "order", Input: []byte(payload), Queue: new("orders"), IdempotencyKey: new("order-1"),
			IdempotencyKeyTtl: new("2h"), Metadata: map[string]string{"region": "eu"}, Version: new("1.0"),
		}
	}},
	{name: "StartWorkflowExecution/again", request: func(*story) proto.Message {
		return &apiv1.StartWorkflowExecutionRequest{Org: org, Kind: "order", Input: []byte(payload), IdempotencyKey: new("order-1")}
	}},
	{name: "StartWorkflowExecution/faulty", request: func(*story) proto.Message {
		return &apiv1.StartWorkflowExecutionRequest{Org: org, Kind: "order", Input: []byte(`{"id":"seven"}`)}
	}},
	{name: "GetWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.GetWorkflowExecutionRequest{Org: org, Id: s.id("order")}
	}},
	{name: "GetWorkflowExecution/absent", request: func(*story) proto.Message {
		return &apiv1.GetWorkflowExecutionRequest{Org: org, Id: "cccccccc-cccc-4ccc-8ccc-cccccccccccc"}
	}},
	{name: "ListQueues", request: func(*story) proto.Message { return &apiv1.ListQueuesRequest{Org: org} }},
	{name: "ListWorkflowTasks", before: suspendOrder, request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowTasksRequest{Org: org, Id: s.id("order")}
	}},
	{name: "ListWorkflowChildren", request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowChildrenRequest{Org: org, Id: s.id("order")}
	}},
	{name: "ListWorkflowPromises", keep: map[string]string{"promise": "id"}, request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowPromisesRequest{Org: org, Id: s.id("order")}
	}},
	{name: "GetWorkflowState", request: func(s *story) proto.Message {
		return &apiv1.GetWorkflowStateRequest{Org: org, Id: s.id("order")}
	}},
	{name: "QueryWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.QueryWorkflowExecutionRequest{Org: org, Id: s.id("order"), QueryName: "step"}
	}},
	{name: "GetPromise", request: func(s *story) proto.Message {
		return &apiv1.GetPromiseRequest{Org: org, Identifier: "id:" + s.id("promise")}
	}},
	{name: "ResolvePromise", request: func(*story) proto.Message {
		return &apiv1.ResolvePromiseRequest{Org: org, Identifier: "key:approve:1", Value: []byte(payload)}
	}},
	{name: "RejectPromise", request: func(s *story) proto.Message {
		return &apiv1.RejectPromiseRequest{Org: org, Identifier: "id:" + s.id("promise"), Error: "too late"}
	}},
	{name: "SignalWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.SignalWorkflowExecutionRequest{Org: org, Id: s.id("order"), SignalName: "hurry", SignalValue: []byte(payload)}
	}},
	{name: "ListWorkflowTaskAttempts", before: runTask, request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowTaskAttemptsRequest{Org: org, Id: s.id("order"), TaskId: taskOfWorkflow}
	}},
	{name: "ListTaskLogs", request: func(*story) proto.Message {
		return &apiv1.ListTaskLogsRequest{Org: org, Id: taskOfWorkflow, Level: new("INFO")}
	}},
	{name: "WaitWorkflowExecution", before: completeOrder, request: func(s *story) proto.Message {
		return &apiv1.WaitWorkflowExecutionRequest{Org: org, Id: s.id("order"), TimeoutSeconds: new(int32(60))}
	}},
	{name: "StartAndWaitWorkflowExecution", request: func(*story) proto.Message {
		return &apiv1.StartAndWaitWorkflowExecutionRequest{Org: org, Kind: "order", Input: []byte(payload), IdempotencyKey: new("order-1")}
	}},
	{name: "ListWorkflowEvents", request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowEventsRequest{Org: org, Id: s.id("order")}
	}},
	{name: "ListWorkflowEvents/page", request: func(s *story) proto.Message {
		return &apiv1.ListWorkflowEventsRequest{Org: org, Id: s.id("order"), SinceSequence: new(int32(1)), Limit: new(int32(1))}
	}},
	{name: "StreamWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.StreamWorkflowExecutionRequest{Org: org, Id: s.id("order"), Types: new("events"), LastEventId: new("1")}
	}},
	{name: "CancelWorkflowExecution", request: func(*story) proto.Message {
		return &apiv1.CancelWorkflowExecutionRequest{Org: org, Id: childOf, Reason: new("lost")}
	}},
	{name: "StreamWorkflowExecutionTree", request: func(s *story) proto.Message {
		return &apiv1.StreamWorkflowExecutionTreeRequest{Org: org, Id: childOf, Types: new("events")}
	}},
	{name: "SignalWithStartWorkflowExecution", keep: map[string]string{"cart": "workflowExecutionId"}, request: func(*story) proto.Message {
		return &apiv1.SignalWithStartWorkflowExecutionRequest{
			Org: org, WorkflowId: "cart-1", WorkflowKind: "cart", SignalName: "add", SignalValue: []byte(`"book"`),
		}
	}},
	{name: "TerminateWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.TerminateWorkflowExecutionRequest{Org: org, Id: s.id("cart"), Reason: new("sold out")}
	}},
	{name: "RetryWorkflowExecution", request: func(s *story) proto.Message {
		return &apiv1.RetryWorkflowExecutionRequest{Org: org, Id: s.id("cart"), Note: new("in stock again")}
	}},

	{name: "CreateTaskExecution", keep: map[string]string{"errand": "id"}, request: func(*story) proto.Message {
		return &apiv1.CreateTaskExecutionRequest{
			Org: org, Kind: "fetch", Input: []byte(payload), Queue: new("errands"), MaxRetries: new(int32(0)),
			IdempotencyKey: new("fetch-1"),
		}
	}},
	{name: "CreateTaskExecution/otherKind", request: func(*story) proto.Message {
		return &apiv1.CreateTaskExecutionRequest{Org: org, Kind: "bring", IdempotencyKey: new("fetch-1")}
	}},
	{name: "GetTaskExecution", before: failTask, request: func(s *story) proto.Message {
		return &apiv1.GetTaskExecutionRequest{Org: org, Id: s.id("errand")}
	}},
	{name: "ListTaskAttempts", request: func(s *story) proto.Message {
		return &apiv1.ListTaskAttemptsRequest{Org: org, Id: s.id("errand")}
	}},
	{name: "StreamTaskExecution", request: func(s *story) proto.Message {
		return &apiv1.StreamTaskExecutionRequest{Org: org, Id: s.id("errand")}
	}},
	{name: "CancelTaskExecution/ended", request: func(s *story) proto.Message {
		return &apiv1.CancelTaskExecutionRequest{Org: org, Id: s.id("errand")}
	}},
	{name: "CreateTaskExecution/second", keep: map[string]string{"second": "id"}, request: func(*story) proto.Message {
		return &apiv1.CreateTaskExecutionRequest{Org: org, Kind: "fetch"}
	}},
	{name: "CancelTaskExecution", request: func(s *story) proto.Message {
		return &apiv1.CancelTaskExecutionRequest{Org: org, Id: s.id("second")}
	}},

	{name: "ListWorkers", keep: map[string]string{"worker": "id"}, request: func(*story) proto.Message {
		return &apiv1.ListWorkersRequest{Org: org, Type: new("UNIFIED")}
	}},
	{name: "GetWorker", request: func(s *story) proto.Message { return &apiv1.GetWorkerRequest{Org: org, Id: s.id("worker")} }},
	{name: "ListWorkflowDefinitions", request: func(*story) proto.Message { return &apiv1.ListWorkflowDefinitionsRequest{Org: org} }},
	{name: "GetWorkflowDefinition", request: func(*story) proto.Message {
		return &apiv1.GetWorkflowDefinitionRequest{Org: org, Kind: "order"}
	}},
	{name: "ListTaskDefinitions", request: func(*story) proto.Message { return &apiv1.ListTaskDefinitionsRequest{Org: org} }},
	{name: "GetTaskDefinition", request: func(*story) proto.Message {
		return &apiv1.GetTaskDefinitionRequest{Org: org, Kind: "charge"}
	}},

	{name: "ListWorkflowExecutions", request: func(*story) proto.Message {
		return &apiv1.ListWorkflowExecutionsRequest{Org: org, Query: new(`kind = "order" AND metadata.region = "eu"`)}
	}},
	{name: "ListWorkflowExecutions/faulty", request: func(*story) proto.Message {
		return &apiv1.ListWorkflowExecutionsRequest{Org: org, Query: new(`kind = `)}
	}},
	{name: "ListTaskExecutions", request: func(*story) proto.Message {
		return &apiv1.ListTaskExecutionsRequest{Org: org, Status: new("FAILED")}
	}},
	{name: "CreateMetadataField", keep: map[string]string{"field": "id"}, request: func(*story) proto.Message {
		return &apiv1.CreateMetadataFieldRequest{Org: org, Key: "region", FieldType: "enum", AllowedValues: []string{"eu", "us"}}
	}},
	{name: "ListMetadataFields", request: func(*story) proto.Message { return &apiv1.ListMetadataFieldsRequest{Org: org} }},
	{name: "UpdateMetadataField", request: func(s *story) proto.Message {
		return &apiv1.UpdateMetadataFieldRequest{Org: org, Id: s.id("field"), DisplayName: new("Region")}
	}},
	{name: "DeleteMetadataField", request: func(s *story) proto.Message {
		return &apiv1.DeleteMetadataFieldRequest{Org: org, Id: s.id("field")}
	}},
	{name: "CreateSavedQuery", keep: map[string]string{"query": "id"}, request: func(*story) proto.Message {
		return &apiv1.CreateSavedQueryRequest{Org: org, Name: "orders", Entity: "workflow", Query: `kind = "order"`, IsShared: true}
	}},
	{name: "ListSavedQueries", request: func(*story) proto.Message { return &apiv1.ListSavedQueriesRequest{Org: org} }},
	{name: "ExecuteSavedQuery", request: func(s *story) proto.Message {
		return &apiv1.ExecuteSavedQueryRequest{Org: org, Id: s.id("query")}
	}},
	{name: "UpdateSavedQuery", request: func(s *story) proto.Message {
		return &apiv1.UpdateSavedQueryRequest{Org: org, Id: s.id("query"), Name: new("all orders")}
	}},
	{name: "GetSavedQuery", request: func(s *story) proto.Message { return &apiv1.GetSavedQueryRequest{Org: org, Id: s.id("query")} }},
	{name: "DeleteSavedQuery", request: func(s *story) proto.Message {
		return &apiv1.DeleteSavedQueryRequest{Org: org, Id: s.id("query")}
	}},
	{name: "AutocompleteQuery", request: func(*story) proto.Message {
		return &apiv1.AutocompleteQueryRequest{Org: org, Entity: "workflow", Partial: "sta"}
	}},
	{name: "ListQueryFields", request: func(*story) proto.Message {
		return &apiv1.ListQueryFieldsRequest{Org: org, Entity: "taskDefinition"}
	}},
	{name: "ListQueryOperators", request: func(*story) proto.Message { return &apiv1.ListQueryOperatorsRequest{Org: org} }},
	{name: "ListQueryValues", request: func(*story) proto.Message {
		return &apiv1.ListQueryValuesRequest{Org: org, Entity: "workflow", Field: "status"}
	}},

	{name: "CreateSchedule", keep: map[string]string{"schedule": "id"}, request: everyNewYear},
	{name: "CreateSchedule/again", request: everyNewYear},
	{name: "ListSchedules", request: func(*story) proto.Message { return &apiv1.ListSchedulesRequest{Org: org} }},
	{name: "GetSchedule", request: func(s *story) proto.Message { return &apiv1.GetScheduleRequest{Org: org, Id: s.id("schedule")} }},
	{name: "UpdateSchedule", request: func(s *story) proto.Message {
		return &apiv1.UpdateScheduleRequest{Org: org, Id: s.id("schedule"), Description: new("a new year")}
	}},
	{name: "ResumeSchedule", request: func(s *story) proto.Message {
		return &apiv1.ResumeScheduleRequest{Org: org, Id: s.id("schedule")}
	}},
	{name: "PauseSchedule", request: func(s *story) proto.Message {
		return &apiv1.PauseScheduleRequest{Org: org, Id: s.id("schedule")}
	}},
	{name: "TriggerSchedule", request: func(s *story) proto.Message {
		return &apiv1.TriggerScheduleRequest{Org: org, Id: s.id("schedule")}
	}},
	{name: "ListScheduleRuns", request: func(s *story) proto.Message {
		return &apiv1.ListScheduleRunsRequest{Org: org, Id: s.id("schedule")}
	}},
	{name: "DeleteSchedule", request: func(s *story) proto.Message {
		return &apiv1.DeleteScheduleRequest{Org: org, Id: s.id("schedule")}
	}},

	{name: "ReleaseWorkflowExecutions", request: func(*story) proto.Message {
		return &apiv1.ReleaseWorkflowExecutionsRequest{Org: org, Selection: &apiv1.ParkedSelection{Kind: new("order")}}
	}},
	{name: "TerminateParkedWorkflowExecutions", request: func(*story) proto.Message {
		return &apiv1.TerminateParkedWorkflowExecutionsRequest{Org: org, Selection: &apiv1.ParkedSelection{All: true}}
	}},
	{name: "ReleaseTaskExecutions", request: func(*story) proto.Message {
		return &apiv1.ReleaseTaskExecutionsRequest{Org: org, Queue: new("errands")}
	}},
	{name: "ReleaseTaskExecutions/nothing", request: func(*story) proto.Message {
		return &apiv1.ReleaseTaskExecutionsRequest{Org: org}
	}},
}

// everyNewYear is a schedule that will not be due while the test runs, mostly: it
// is paused at once.
func everyNewYear(*story) proto.Message {
	return &apiv1.CreateScheduleRequest{
		Org: org, Name: "yearly", ScheduleType: &apiv1.ScheduleType{Type: "recurring", Cron: new("0 0 1 1 *")}, Enabled: new(false),
		Target: &apiv1.ScheduleTarget{Type: "workflow", WorkflowKind: new("order"), Queue: new("yearly"), Input: []byte(payload)},
	}
}

// elsewhere are operations whose golden exchange would say nothing, and the tests
// that call them in every protocol.
var elsewhere = map[string]string{
	"WhoAmI":             "TestWhoAmI: says who calls, with the clock",
	"CreateOrganization": "TestCreateOrganization: needs a service of no organization",
	"ListAuditRecords":   "TestAudit: what was noted, and when, is the clock's",
	"StreamOrganization": "TestOrganizationStream: does not end by itself",
	"CreateWorkerToken":  "TestWorkerTokenService: a secret", "ListWorkerTokens": "TestWorkerTokenService",
	"GetWorkerToken": "TestWorkerTokenService", "RevokeWorkerToken": "TestWorkerTokenService",
}

// operations are the methods of the management API, by name.
func operations() map[string]protoreflect.MethodDescriptor {
	found := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage(apiv1.File_flovyn_api_v1_rest_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				found[string(methods.Get(j).Name())] = methods.Get(j)
			}
		}
		return true
	})
	return found
}

// Every operation is answered as its golden file says, over REST, and the same
// over Connect and over gRPC.
func TestManagement(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	told := map[string]map[string]exchange{}
	for name, speak := range map[string]func(*servertest.Server) speaker{
		"rest":    func(s *servertest.Server) speaker { return overREST{overHTTP1(t), s.HTTP, newRESTClient(t, s).checker} },
		"connect": func(s *servertest.Server) speaker { return connectJSON{overHTTP1(t), s.HTTP} },
		"grpc":    func(s *servertest.Server) speaker { return grpcWire{overH2C(t), s.GRPC} },
	} {
		server := servertest.New(t)
		told[name] = tell(ctx, t, server, speak(server))
	}
	for _, entry := range table {
		if diff := cmp.Diff(told["connect"][entry.name], told["grpc"][entry.name], cmp.AllowUnexported(exchange{})); diff != "" {
			t.Errorf("%s: Connect and gRPC differ:\n%s", entry.name, diff)
		}
		over := told["rest"][entry.name]
		golden := "# REST\n" + over.sent + "\n\n" + over.got + "\n\n# Connect, gRPC\n" + told["connect"][entry.name].sent + "\n\n" +
			told["connect"][entry.name].got + "\n"
		checkGolden(t, strings.ReplaceAll(entry.name, "/", "-"), golden)
	}
}

// Nothing is left out: every operation is in the table, or said to be tested
// elsewhere.
func TestManagementIsWhole(t *testing.T) {
	t.Parallel()
	all := operations()
	for name := range all {
		inTable := slices.ContainsFunc(table, func(o one) bool { return o.name == name })
		if _, other := elsewhere[name]; inTable == other {
			t.Errorf("%s: in the table %v, elsewhere %v", name, inTable, other)
		}
	}
	for _, entry := range table {
		if name, _, _ := strings.Cut(entry.name, "/"); all[name] == nil {
			t.Errorf("%s is no operation", entry.name)
		}
	}
}

func tell(ctx context.Context, t *testing.T, server *servertest.Server, speaker speaker) map[string]exchange {
	t.Helper()
	s := &story{t: t, ctx: ctx, speaker: speaker, normal: &normal{map[string]string{}}, ids: map[string]string{}, told: map[string]exchange{}}
	client := protocols[0].dial(t, server.GRPC, servertest.WorkerKey)
	s.worker.dispatch, s.worker.tasks = flovynv1connect.NewWorkflowDispatchClient(client), flovynv1connect.NewTaskExecutionClient(client)
	s.must(flovynv1connect.NewWorkerLifecycleClient(client).RegisterWorker(ctx, &flovynv1.WorkerRegistrationRequest{
		OrgId: servertest.Org.String(), WorkerName: "w", WorkerType: "UNIFIED", WorkerVersion: "1.2", HostName: "host", ProcessId: "42",
		Workflows: []*flovynv1.WorkflowCapability{
			{Kind: "order", Name: "Order", Version: "1.0", Tags: []string{"shop"}, InputSchema: []byte(`{"type": "object", "properties": {"id": {"type": "integer"}}}`)},
			{Kind: "ship", Name: "Ship"},
			{Kind: "cart", Name: "Cart"},
		},
		Tasks: []*flovynv1.TaskCapability{{Kind: "charge", Name: "Charge", TimeoutSeconds: new(int32(60))}, {Kind: "fetch", Name: "Fetch"}},
	}))
	all := operations()
	for _, entry := range table {
		if entry.before != nil {
			entry.before(s)
		}
		name, _, _ := strings.Cut(entry.name, "/")
		sent, got := speaker.call(ctx, t, all[name], entry.request(s), entry.most)
		for as, key := range entry.keep {
			s.ids[as] = pick(t, got, key)
		}
		s.told[entry.name] = exchange{s.normal.text(sent), s.normal.text(got)}
	}
	return s.told
}

func checkGolden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "management", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v: run go test -run TestManagement ./internal/server -update", err)
		return
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s is not as its golden file says:\n%s", name, diff)
	}
}
