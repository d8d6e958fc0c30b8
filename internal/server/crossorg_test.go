package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// ownerKey is that of an OWNER of acme, who may do everything there.
const ownerKey = "flovyn_sk_test_owner_of_acme"

// idField matches the fields that name something. Names that workers and clients
// choose are tried as well: they are looked up in the same way.
var idField = regexp.MustCompile(`(^|_)ids?$`)

// crossed is a server with much in the other organization.
type crossed struct {
	*servertest.Server
	// theirs are the ids of everything in the other organization.
	theirs map[string]string
}

func newCrossed(t *testing.T) *crossed {
	t.Helper()
	c := &crossed{theirs: map[string]string{}}
	c.Server = servertest.New(t, guideChains(newProvider(t)), func(cfg *config.Config) {
		cfg.Auth.StaticAPIKey.Keys = append(cfg.Auth.StaticAPIKey.Keys, config.StaticKey{
			Key: ownerKey, OrgID: servertest.Org, PrincipalType: caller.User, PrincipalID: "owner", Role: caller.Owner,
		})
		cfg.Auth.StreamMaxAge, cfg.Engine.PollMaxHold = time.Second, time.Second
	})
	foreign := protocols[0].dial(t, c.GRPC, servertest.ForeignWorkerKey)
	c.theirs["workflow"], c.theirs["task"], c.theirs["worker"] = inhabit(t, foreign, servertest.ForeignOrg.String())
	c.theirs["promise"] = makePromise(t, flovynv1connect.NewWorkflowDispatchClient(foreign), c.theirs["workflow"])
	for name, call := range map[string][2]string{
		"worker token":   {"WorkerTokenService/CreateWorkerToken", `{"org":"globex","displayName":"n"}`},
		"saved query":    {"SavedQueryService/CreateSavedQuery", `{"org":"globex","name":"n","query":"status = \"RUNNING\"","entity":"workflow","isShared":true}`},
		"metadata field": {"MetadataFieldService/CreateMetadataField", `{"org":"globex","key":"f","fieldType":"text"}`},
		"schedule":       {"ScheduleService/CreateSchedule", `{"org":"globex","name":"s","scheduleType":{"type":"recurring","cron":"0 0 1 1 *"},"target":{"type":"workflow","workflowKind":"k"}}`},
	} {
		switch made := ask(t, c.HTTP, servertest.ForeignAdminKey, call[0], call[1]); made.status {
		case http.StatusOK:
			c.theirs[name] = uuidText.FindString(made.body)
		case http.StatusNotImplemented: // then there is nothing to reach for either
		default:
			t.Errorf("there is no foreign %s: %d %s", name, made.status, made.body)
		}
	}
	return c
}

var (
	uuidText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timeText = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	longText = regexp.MustCompile(`"?\d{13,}"?`)
)

// blurred is an answer without the ids and times in it.
func blurred(text string) string {
	return longText.ReplaceAllString(timeText.ReplaceAllString(uuidText.ReplaceAllString(text, "ID"), "TIME"), "N")
}

// answer is what a client sees of a call: its code, message, details and body.
func answer(t *testing.T, client *connect.Client, spec connect.Spec, request proto.Message) string {
	t.Helper()
	_, out := messages(spec)
	if err := call(t, client, spec, request, out); err != nil {
		var wire *connect.Error
		if !errors.As(err, &wire) {
			return blurred(err.Error())
		}
		return blurred(fmt.Sprint(wire.Code(), wire.Message(), len(wire.Details())))
	}
	return blurred(protojson.Format(out.(proto.Message)))
}

// content is everything that is stored of an organization, by table, whatever
// tables there are: what is theirs must not change.
func content(t *testing.T, dsn string) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND c.column_name = 'org_id' AND c.data_type = 'uuid' AND t.table_type = 'BASE TABLE'
		AND c.table_name NOT IN ('audit_record') ORDER BY 1`) // what they did before is noted late
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 10 {
		t.Fatal(tables, err)
	}
	found := map[string]string{}
	read := func(name, query string) {
		var sum string
		if err := conn.QueryRow(t.Context(), query, servertest.ForeignOrg.UUID()).Scan(&sum); err != nil {
			t.Fatal(name, err)
		}
		found[name] = sum
	}
	const digest = "SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '') FROM "
	for _, table := range tables {
		read(table, digest+table+" x WHERE x.org_id = $1")
	}
	read("workflow_event", digest+"workflow_event x JOIN workflow_execution e ON e.id = x.execution_id WHERE e.org_id = $1")
	return found
}

// For every procedure that takes an id, in every field that takes one, nested and
// repeated ones too: an id of another organization, of whatever kind of thing, is
// answered exactly as one that nobody has, and nothing of the other organization
// changes.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	c := newCrossed(t)
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	before := content(t, c.DSN)
	client := protocols[0].dial(t, c.GRPC, ownerKey)
	tried := 0
	for _, spec := range everyProcedure(t) {
		input := spec.Schema.(protoreflect.MethodDescriptor).Input()
		for _, path := range idPaths(input, nil) {
			if own := path[0].Name(); own == "org_id" || strings.Contains(spec.Procedure, "AgentDispatch") {
				continue // whose organization that is, is asked elsewhere; agents do not exist
			}
			tried++
			with := func(id string) string {
				m := good(t, validator, input)
				setAt(m, path, id)
				return answer(t, client, spec, m)
			}
			nobodys := with(uuid.NewString())
			for what, id := range c.theirs {
				if theirs := with(id); theirs != nobodys {
					t.Errorf("%s, %s: a foreign %s is answered\n%s\nan absent one\n%s", spec.Procedure, path, what, theirs, nobodys)
				}
			}
		}
	}
	if tried < 45 {
		t.Errorf("only %d fields were tried", tried)
	}
	if diff := cmp.Diff(before, content(t, c.DSN)); diff != "" {
		t.Errorf("the other organization changed (-before +after):\n%s", diff)
	}
}

// fieldPath leads to a field within a message.
type fieldPath []protoreflect.FieldDescriptor

func (p fieldPath) String() string {
	names := make([]string, len(p))
	for i, f := range p {
		names[i] = string(f.Name())
	}
	return strings.Join(names, ".")
}

// idPaths are the ways to all ids in a message.
func idPaths(m protoreflect.MessageDescriptor, above fieldPath) (paths []fieldPath) {
	if len(above) > 3 || strings.HasPrefix(string(m.FullName()), "google.") {
		return nil
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		here := append(slices.Clone(above), f)
		switch {
		case f.IsMap():
		case f.Message() != nil:
			paths = append(paths, idPaths(f.Message(), here)...)
		case f.Kind() == protoreflect.StringKind && idField.MatchString(string(f.Name())):
			paths = append(paths, here)
		}
	}
	return paths
}

func setAt(m protoreflect.Message, path fieldPath, id string) {
	f := path[0]
	if len(path) == 1 {
		if f.IsList() {
			list := m.Mutable(f).List()
			list.Truncate(0)
			list.Append(protoreflect.ValueOfString(id))
			return
		}
		m.Set(f, protoreflect.ValueOfString(id))
		return
	}
	if f.IsList() {
		list := m.Mutable(f).List()
		if list.Len() == 0 {
			list.AppendMutable()
		}
		setAt(list.Get(0).Message(), path[1:], id)
		return
	}
	setAt(m.Mutable(f).Message(), path[1:], id)
}

// Ids inside the commands of an activation: likewise, and what is recorded is the
// same too.
func TestForeignIDsInCommands(t *testing.T) {
	t.Parallel()
	c := newCrossed(t)
	before := content(t, c.DSN)
	dispatch := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, c.GRPC, servertest.WorkerKey))
	commands := func(id string) []*flovynv1.WorkflowCommand {
		return []*flovynv1.WorkflowCommand{
			{CommandType: flovynv1.CommandType_SCHEDULE_TASK, CommandData: &flovynv1.WorkflowCommand_ScheduleTask{
				ScheduleTask: &flovynv1.ScheduleTaskCommand{Kind: "k", TaskExecutionId: id, Queue: new("none")},
			}},
			{CommandType: flovynv1.CommandType_CREATE_PROMISE, CommandData: &flovynv1.WorkflowCommand_CreatePromise{
				CreatePromise: &flovynv1.CreatePromiseCommand{PromiseId: id},
			}},
			{CommandType: flovynv1.CommandType_RESOLVE_PROMISE, CommandData: &flovynv1.WorkflowCommand_ResolvePromise{
				ResolvePromise: &flovynv1.ResolvePromiseCommand{PromiseId: id, Value: []byte("1")},
			}},
			{CommandType: flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW, CommandData: &flovynv1.WorkflowCommand_ScheduleChildWorkflow{
				ScheduleChildWorkflow: &flovynv1.ScheduleChildWorkflowCommand{
					ChildExecutionName: "c", WorkflowKind: new("k"), ChildWorkflowExecutionId: id, Queue: "none",
				},
			}},
			{CommandType: flovynv1.CommandType_REQUEST_CANCEL_CHILD_WORKFLOW, CommandData: &flovynv1.WorkflowCommand_RequestCancelChildWorkflow{
				RequestCancelChildWorkflow: &flovynv1.RequestCancelChildWorkflowCommand{ChildExecutionName: "c", ChildWorkflowExecutionId: id},
			}},
			{CommandType: flovynv1.CommandType_CANCEL_TIMER, CommandData: &flovynv1.WorkflowCommand_CancelTimer{
				CancelTimer: &flovynv1.CancelTimerCommand{TimerId: id},
			}},
		}
	}
	submit := func(workflow, id string) (lines []string) {
		for i, command := range commands(id) {
			_, err := dispatch.SubmitWorkflowCommands(t.Context(), &flovynv1.SubmitWorkflowCommandsRequest{
				WorkflowExecutionId: workflow, Status: flovynv1.WorkflowStatus_RUNNING, Commands: []*flovynv1.WorkflowCommand{command},
			})
			lines = append(lines, blurred(fmt.Sprint(i, " ", err)))
		}
		events, err := dispatch.GetEvents(t.Context(), &flovynv1.GetEventsRequest{WorkflowExecutionId: workflow})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.GetEvents() {
			lines = append(lines, blurred(e.GetEventType()+" "+string(e.GetEventData())))
		}
		return lines
	}
	worker := protocols[0].dial(t, c.GRPC, servertest.WorkerKey)
	for what, id := range c.theirs {
		if what == "workflow" || what == "task" {
			continue // see below
		}
		var executions [2]string
		for i := range executions {
			executions[i], _, _ = inhabit(t, worker, servertest.Org.String())
		}
		if diff := cmp.Diff(submit(executions[0], uuid.NewString()), submit(executions[1], id)); diff != "" {
			t.Errorf("a foreign %s in commands (-absent +foreign):\n%s", what, diff)
		}
	}
	// Workers choose the ids of what they create, and ids are unique everywhere. So
	// an id that is taken in another organization is refused, exactly as one that is
	// taken in the own: whoever knows it learns that it is taken, and no more.
	var own [2]string
	own[0], own[1], _ = inhabit(t, worker, servertest.Org.String())
	for i, what := range []string{"workflow", "task"} {
		mine, _, _ := inhabit(t, worker, servertest.Org.String())
		others, _, _ := inhabit(t, worker, servertest.Org.String())
		if diff := cmp.Diff(submit(mine, own[i]), submit(others, c.theirs[what])); diff != "" {
			t.Errorf("the id of a foreign %s for something new (-own +foreign):\n%s", what, diff)
		}
	}
	if diff := cmp.Diff(before, content(t, c.DSN)); diff != "" {
		t.Errorf("the other organization changed (-before +after):\n%s", diff)
	}
}
