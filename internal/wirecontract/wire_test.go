package wirecontract

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// The protocol's two files; a third would be a new contract.
var files = []protoreflect.FileDescriptor{
	flovynv1.File_flovyn_v1_flovyn_proto,
	flovynv1.File_flovyn_v1_agent_proto,
}

func TestCompiledProtocolIsTheContract(t *testing.T) {
	t.Parallel()
	var compiled []string
	for _, file := range files {
		compiled = append(compiled, fileFacts(file)...)
	}
	slices.Sort(compiled)
	if diff := cmp.Diff(contract(t), compiled); diff != "" {
		t.Errorf("the compiled protocol is not the contract (-contract +compiled):\n%s", diff)
	}
}

// SDKs that speak JSON use the default lowerCamelCase names; only a json_name
// option could change them.
func TestNoFieldRenamesItsJSON(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		for message := range all(file.Messages()) {
			for field := range all(message.Fields()) {
				if got, want := field.JSONName(), lowerCamel(string(field.Name())); got != want {
					t.Errorf("%s has JSON name %q, want %q", field.FullName(), got, want)
				}
			}
		}
	}
}

// Method paths are /flovyn.v1.<Service>/<Method>.
func TestPackageName(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		if got := file.Package(); got != "flovyn.v1" {
			t.Errorf("%s is in package %q, want flovyn.v1", file.Path(), got)
		}
	}
}

// contract reads the facts of testdata/wire.txt, sorted.
func contract(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/wire.txt")
	if err != nil {
		t.Fatal(err)
	}
	var facts []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			facts = append(facts, line)
		}
	}
	slices.Sort(facts)
	if again := slices.Compact(slices.Clone(facts)); len(again) != len(facts) {
		t.Fatalf("testdata/wire.txt states %d facts twice", len(facts)-len(again))
	}
	return facts
}

func fileFacts(file protoreflect.FileDescriptor) []string {
	var facts []string
	for service := range all(file.Services()) {
		for method := range all(service.Methods()) {
			facts = append(facts, methodFact(method))
		}
	}
	for message := range all(file.Messages()) {
		facts = append(facts, messageFacts(message)...)
	}
	for enum := range all(file.Enums()) {
		for value := range all(enum.Values()) {
			facts = append(facts, fmt.Sprintf("enum %s.%s = %d", enum.Name(), value.Name(), value.Number()))
		}
	}
	return facts
}

func methodFact(method protoreflect.MethodDescriptor) string {
	side := func(message protoreflect.MessageDescriptor, stream bool) string {
		if stream {
			return "stream " + messageName(message)
		}
		return messageName(message)
	}
	return fmt.Sprintf("rpc %s.%s(%s) returns (%s)", method.Parent().Name(), method.Name(),
		side(method.Input(), method.IsStreamingClient()), side(method.Output(), method.IsStreamingServer()))
}

// messageFacts also reports what the contract's language cannot say, so that
// none of it slips in: extensions, nested types and messages without fields.
func messageFacts(message protoreflect.MessageDescriptor) []string {
	var facts []string
	if message.Fields().Len() == 0 {
		facts = append(facts, fmt.Sprintf("message %s without fields", message.Name()))
	}
	if message.Extensions().Len() > 0 || message.Enums().Len() > 0 {
		facts = append(facts, fmt.Sprintf("message %s with nested types", message.Name()))
	}
	for nested := range all(message.Messages()) {
		if !nested.IsMapEntry() {
			facts = append(facts, fmt.Sprintf("message %s.%s nested", message.Name(), nested.Name()))
		}
	}
	for field := range all(message.Fields()) {
		facts = append(facts, fmt.Sprintf("field %s.%s = %d %s%s",
			message.Name(), field.Name(), field.Number(), fieldLabel(field), fieldType(field)))
	}
	return facts
}

func fieldLabel(field protoreflect.FieldDescriptor) string {
	switch oneof := field.ContainingOneof(); {
	case field.IsMap():
		return ""
	case field.IsList():
		return "repeated "
	case field.HasOptionalKeyword():
		return "optional "
	case oneof != nil:
		return fmt.Sprintf("oneof %s ", oneof.Name())
	default:
		return ""
	}
}

func fieldType(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsMap():
		return fmt.Sprintf("map<%s, %s>", fieldType(field.MapKey()), fieldType(field.MapValue()))
	case field.Message() != nil:
		return messageName(field.Message())
	case field.Enum() != nil:
		return string(field.Enum().Name())
	default:
		return field.Kind().String()
	}
}

// messageName is short within the protocol and full outside of it.
func messageName(message protoreflect.MessageDescriptor) string {
	if message.ParentFile().Package() == "flovyn.v1" {
		return string(message.Name())
	}
	return string(message.FullName())
}

func lowerCamel(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// A list is what protoreflect has instead of slices.
type list[D any] interface {
	Len() int
	Get(i int) D
}

// all ranges over one of protoreflect's lists.
func all[D any](descriptors list[D]) iter.Seq[D] {
	return func(yield func(D) bool) {
		for i := range descriptors.Len() {
			if !yield(descriptors.Get(i)) {
				return
			}
		}
	}
}
