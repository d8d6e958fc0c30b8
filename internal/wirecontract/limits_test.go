package wirecontract

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// SDKs leave any field empty, so no rule may ask for one.
func TestEveryEmptyMessageIsValid(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		for descriptor := range all(file.Messages()) {
			message := newMessage(t, descriptor)
			if err := protovalidate.Validate(message.Interface()); err != nil {
				t.Errorf("%s without fields: %v", descriptor.Name(), err)
			}
		}
	}
}

// Every text of every message takes a name as long as names may be, except for
// idempotency keys, which are shorter.
func TestLongestNamesAreValid(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		for descriptor := range all(file.Messages()) {
			message := newMessage(t, descriptor)
			for field := range all(descriptor.Fields()) {
				if field.Kind() == protoreflect.StringKind && !field.IsList() && !field.IsMap() {
					message.Set(field, protoreflect.ValueOfString(strings.Repeat("x", longest(field))))
				}
			}
			if err := protovalidate.Validate(message.Interface()); err != nil {
				t.Errorf("%s with the longest names: %v", descriptor.Name(), err)
			}
		}
	}
}

func TestTooLongIsRefused(t *testing.T) {
	t.Parallel()
	tooLong := strings.Repeat("x", flovyn.MaxNameLength+1)
	tooLongKey := strings.Repeat("x", flovyn.MaxIdempotencyKeyLength+1)
	tooLongText := strings.Repeat("x", 1<<20+1)
	for name, message := range map[string]proto.Message{
		"a queue":        &flovynv1.PollRequest{Queue: tooLong},
		"a kind":         &flovynv1.StartWorkflowRequest{WorkflowKind: tooLong},
		"a key":          &flovynv1.StartWorkflowRequest{IdempotencyKey: &tooLongKey},
		"a workflow id":  &flovynv1.SignalWithStartWorkflowRequest{WorkflowId: tooLongKey},
		"a description":  &flovynv1.TaskCapability{Description: tooLongText},
		"a listed kind":  &flovynv1.PollAgentRequest{AgentCapabilities: []string{tooLong}},
		"a stream's key": &flovynv1.ScheduleAgentTaskHeader{IdempotencyKey: &tooLongKey},
		"a command": &flovynv1.SubmitWorkflowCommandsRequest{Commands: []*flovynv1.WorkflowCommand{{
			CommandData: &flovynv1.WorkflowCommand_StartTimer{StartTimer: &flovynv1.StartTimerCommand{TimerId: tooLong}},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := protovalidate.Validate(message); err == nil {
				t.Error("accepted, want it refused")
			}
		})
	}
}

// longest is the length that a text of the contract may have at least.
func longest(field protoreflect.FieldDescriptor) int {
	if field.Name() == "idempotency_key" || field.FullName() == "flovyn.v1.SignalWithStartWorkflowRequest.workflow_id" {
		return flovyn.MaxIdempotencyKeyLength
	}
	return flovyn.MaxNameLength
}

func newMessage(t *testing.T, descriptor protoreflect.MessageDescriptor) protoreflect.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New()
}
