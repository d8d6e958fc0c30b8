package rpc

import (
	"strings"
	"testing"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Every free text is a field of the protocol, and neither the guard nor a rule
// of the protocol refuses what it holds.
func TestFreeTextsAreNeverRefused(t *testing.T) {
	t.Parallel()
	anything := strings.Repeat("a\x00", 1<<20)
	for name := range freeTexts {
		descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		field := descriptor.(protoreflect.FieldDescriptor)
		m := dynamicpb.NewMessage(field.ContainingMessage())
		m.Set(field, protoreflect.ValueOfString(anything))
		if path := nulPath(m); path != "" {
			t.Errorf("the guard refuses %s", name)
		}
		if err := protovalidate.Validate(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFreeText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 20, ""},
		{"as it stands", 12, "as it stands"},
		{"a\x00b\x00", 20, "a\uFFFDb\uFFFD"},
		{strings.Repeat("x", 21), 20, "xxxxx" + history.TruncationMark},
		{"xxxx" + strings.Repeat("ä", 9), 20, "xxxx" + history.TruncationMark}, // the fifth byte is half a character
		{strings.Repeat("\x00", 20), 20, "\uFFFD" + history.TruncationMark},
	} {
		got := history.FreeText(test.text, test.limit)
		if got != test.want || len(got) > test.limit || !utf8.ValidString(got) {
			t.Errorf("%q in %d bytes: %q (%d bytes), want %q", test.text, test.limit, got, len(got), test.want)
		}
	}
}

// What commands say is made storable.
func TestFreeTextsOfCommands(t *testing.T) {
	t.Parallel()
	const nul, clean = "a\x00b", "a\uFFFDb"
	long := strings.Repeat("x", limit+1)
	for _, test := range []struct {
		message proto.Message
		want    history.Command
	}{
		{
			&flovynv1.FailWorkflowCommand{Error: nul, StackTrace: long, FailureType: strings.Repeat("x", flovyn.MaxNameLength+1)},
			history.FailWorkflow{
				Error: clean, StackTrace: history.FreeText(long, limit), FailureType: strings.Repeat("x", flovyn.MaxNameLength-len(history.TruncationMark)) + history.TruncationMark,
			},
		},
		{&flovynv1.SuspendWorkflowCommand{Reason: nul}, history.SuspendWorkflow{Reason: clean}},
		{&flovynv1.CancelWorkflowCommand{Reason: nul}, history.CancelWorkflow{Reason: clean}},
		{&flovynv1.RequestCancelChildWorkflowCommand{ChildExecutionName: "c", Reason: nul}, history.CancelChild{Name: "c", Reason: clean}},
	} {
		got, err := commandsOf([]*flovynv1.WorkflowCommand{commandWith(t, test.message)}, limit)
		if err != nil || len(got) != 1 || got[0] != test.want {
			t.Errorf("%T: %v, %v", test.message, got, err)
		}
	}
}

// commandWith wraps a command's data, with the type that goes with it.
func commandWith(t *testing.T, data proto.Message) *flovynv1.WorkflowCommand {
	t.Helper()
	command := &flovynv1.WorkflowCommand{}
	m := command.ProtoReflect()
	members := m.Descriptor().Oneofs().ByName("command_data").Fields()
	for i := range members.Len() {
		if field := members.Get(i); field.Message() == data.ProtoReflect().Descriptor() {
			m.Set(field, protoreflect.ValueOfMessage(data.ProtoReflect()))
			command.CommandType = flovynv1.CommandType(flovynv1.CommandType_value[strings.ToUpper(string(field.Name()))])
			return command
		}
	}
	t.Fatalf("%T is no data of a command", data)
	return nil
}

// Zero seconds stand for the default lifetime, as does saying nothing.
func TestKeyTTL(t *testing.T) {
	t.Parallel()
	for seconds, ok := range map[int64]bool{-1: false, 0: true, 1: true, 2592000: true, 2592001: false} {
		if ttl, err := keyTTL("f", &seconds); (err == nil) != ok || (ok && int64(ttl.Seconds()) != seconds) {
			t.Errorf("%d: %s, %v", seconds, ttl, err)
		}
	}
	if ttl, err := keyTTL("f", nil); ttl != 0 || err != nil {
		t.Errorf("nothing: %s, %v", ttl, err)
	}
}

// A timeout below zero can never be right; all else is the worker's business.
func TestRegistrationTimeout(t *testing.T) {
	t.Parallel()
	for seconds, ok := range map[int32]bool{-1: false, 0: true, 60: true} {
		for _, req := range []*flovynv1.WorkerRegistrationRequest{
			{WorkerName: "w", WorkerType: "anything", Tasks: []*flovynv1.TaskCapability{{Kind: "k", TimeoutSeconds: &seconds}}},
			{WorkerName: "w", WorkerType: "anything", Workflows: []*flovynv1.WorkflowCapability{{Kind: "k", TimeoutSeconds: &seconds}}},
		} {
			if _, err := registrationOf(flovyn.OrgID(someID), req, limit); (err == nil) != ok {
				t.Errorf("%d seconds: %v", seconds, err)
			}
		}
	}
}
