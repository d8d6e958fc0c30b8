package server_test

import (
	"slices"
	"strconv"
	"strings"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// badPayloads are what no field with JSON may hold.
var badPayloads = map[string]bad{
	"{": brokenJSON, "{} {}": brokenJSON, "NaN": brokenJSON, "\x00": brokenJSON, "\"\x00\"": brokenJSON,
	"\"\xff\"": notUTF8, `"` + strings.Repeat("x", 1<<20) + `"`: largePayload,
}

// set changes a field that holds text, bytes or a number.
func set(name string, value any) func(protoreflect.Message) {
	return func(m protoreflect.Message) {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if text, ok := value.(string); ok && field.Kind() == protoreflect.BytesKind {
			value = []byte(text)
		}
		m.Set(field, protoreflect.ValueOf(value))
	}
}

// badMetadata is metadata with too many entries, and with too much in one.
func badMetadata() []protoreflect.Value {
	many := map[string]string{}
	for i := range 51 {
		many[strconv.Itoa(i)] = "v"
	}
	field := (&flovynv1.StartWorkflowRequest{}).ProtoReflect().Descriptor().Fields().ByName("metadata")
	var values []protoreflect.Value
	for _, metadata := range []map[string]string{many, {"k": strings.Repeat("x", 64<<10)}} {
		values = append(values, (&flovynv1.StartWorkflowRequest{Metadata: metadata}).ProtoReflect().Get(field))
	}
	return values
}

// badCommands are submissions of every type of command, each spoiled in every
// field, and one of too many commands.
func badCommands(workflow string) []spoiled {
	var all []spoiled
	submission := func(commands ...*flovynv1.WorkflowCommand) proto.Message {
		return &flovynv1.SubmitWorkflowCommandsRequest{
			WorkflowExecutionId: workflow, Status: flovynv1.WorkflowStatus_RUNNING, Commands: commands,
		}
	}
	members := (&flovynv1.WorkflowCommand{}).ProtoReflect().Descriptor().Oneofs().ByName("command_data").Fields()
	for i := range members.Len() {
		member := members.Get(i)
		kind := flovynv1.CommandType(flovynv1.CommandType_value[strings.ToUpper(string(member.Name()))])
		for j := range member.Message().Fields().Len() {
			field := member.Message().Fields().Get(j)
			for _, value := range badValues(field) {
				command := goodCommand(kind, member)
				set(string(field.Name()), value.text)(command.ProtoReflect().Get(member).Message())
				all = append(all, spoiled{
					what: string(value.bad) + " in " + string(member.Name()) + "." + string(field.Name()), want: value.want,
					request: submission(command), says: "commands[0]." + string(member.Name()) + "." + string(field.Name()),
				})
			}
		}
		mismatch := goodCommand(kind%14+1, member)
		all = append(all, spoiled{
			what: "data of another command than " + mismatch.GetCommandType().String(), want: connect.CodeInvalidArgument,
			request: submission(mismatch), says: "commands[0].command_type",
		})
	}
	state := members.ByName("set_state")
	return append(all, spoiled{
		what: "too many commands", want: connect.CodeResourceExhausted,
		request: submission(slices.Repeat([]*flovynv1.WorkflowCommand{goodCommand(flovynv1.CommandType_SET_STATE, state)}, 10_001)...),
	})
}

// goodCommand is a command in which nothing is wrong.
func goodCommand(kind flovynv1.CommandType, member protoreflect.FieldDescriptor) *flovynv1.WorkflowCommand {
	command := &flovynv1.WorkflowCommand{CommandType: kind}
	data := command.ProtoReflect().Mutable(member).Message()
	fields := data.Descriptor().Fields()
	for i := range fields.Len() {
		switch field := fields.Get(i); {
		case field.Kind() == protoreflect.BytesKind:
			set(string(field.Name()), "{}")(data)
		case isID(field):
			set(string(field.Name()), uuid.NewString())(data)
		case field.Kind() == protoreflect.StringKind && !strings.HasPrefix(string(field.Name()), "workflow_definition"):
			set(string(field.Name()), "x")(data)
		}
	}
	return command
}

type badValue struct {
	bad  bad
	want connect.Code
	text string
}

// badValues are what a field of a command must not hold.
func badValues(field protoreflect.FieldDescriptor) []badValue {
	var values []badValue
	switch name := string(field.Name()); {
	case field.Kind() == protoreflect.BytesKind:
		for text, b := range badPayloads {
			values = append(values, badValue{b, usual[b], text})
		}
	case field.Kind() != protoreflect.StringKind || slices.Contains(freeTexts, name):
	case isID(field):
		values = append(values, badValue{wrongID, connect.CodeInvalidArgument, "not-a-uuid"},
			badValue{wrongID, connect.CodeInvalidArgument, uuid.Nil.String()})
	case name != "workflow_definition_id": // there are no definitions, and it is not looked at
		values = append(values, badValue{"an endless text", connect.CodeInvalidArgument, strings.Repeat("x", 600)})
		fallthrough
	default:
		values = append(values, badValue{"a NUL", connect.CodeInvalidArgument, "a\x00b"})
	}
	return values
}

// isID reports whether a field names something by a UUID. A promise to create
// has only a name.
func isID(field protoreflect.FieldDescriptor) bool {
	switch field.FullName() {
	case "flovyn.v1.ScheduleTaskCommand.task_execution_id", "flovyn.v1.ResolvePromiseCommand.promise_id",
		"flovyn.v1.ScheduleChildWorkflowCommand.child_workflow_execution_id",
		"flovyn.v1.RequestCancelChildWorkflowCommand.child_workflow_execution_id":
		return true
	}
	return false
}

// badRegistrations are registrations with kinds that are not right.
func badRegistrations(org string) []spoiled {
	var all []spoiled
	lists := (&flovynv1.WorkerRegistrationRequest{}).ProtoReflect().Descriptor().Fields()
	add := func(list, field, what string, value any, want connect.Code) {
		request := &flovynv1.WorkerRegistrationRequest{OrgId: org, WorkerName: "n"}
		kinds := request.ProtoReflect().Mutable(lists.ByName(protoreflect.Name(list))).List()
		kind := kinds.AppendMutable().Message()
		set("kind", "k")(kind)
		if kind.Descriptor().Fields().ByName(protoreflect.Name(field)) == nil {
			return
		}
		set(field, value)(kind)
		all = append(all, spoiled{what: what + " in " + list + "." + field, want: want, request: request, says: list + "[0]." + field})
	}
	for _, list := range []string{"workflows", "tasks", "agents"} {
		for _, field := range []string{"retry_policy", "input_schema", "output_schema", "metadata"} {
			for text, b := range badPayloads {
				add(list, field, string(b), text, usual[b])
			}
		}
		for _, blank := range []string{"", " "} {
			add(list, "kind", "a blank", blank, connect.CodeInvalidArgument)
		}
		add(list, "kind", "an endless text", strings.Repeat("x", 600), connect.CodeInvalidArgument)
		add(list, "name", "a NUL", "a\x00b", connect.CodeInvalidArgument)
		add(list, "timeout_seconds", "a negative number", int32(-1), connect.CodeInvalidArgument)
	}
	return all
}
