package rpc

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// freeTexts are the fields in which people and programs say what happened. They
// are often the last words of something that failed, and never a reason to
// refuse them: what cannot be stored of them is replaced (history.FreeText). Every
// other text is checked.
var freeTexts = map[protoreflect.FullName]bool{
	"flovyn.v1.FailTaskRequest.error":                    true,
	"flovyn.v1.ReportProgressRequest.details":            true,
	"flovyn.v1.LogMessageRequest.message":                true,
	"flovyn.v1.RejectPromiseRequest.error":               true,
	"flovyn.v1.FailWorkflowCommand.error":                true,
	"flovyn.v1.FailWorkflowCommand.stack_trace":          true,
	"flovyn.v1.FailWorkflowCommand.failure_type":         true,
	"flovyn.v1.SuspendWorkflowCommand.reason":            true,
	"flovyn.v1.CancelWorkflowCommand.reason":             true,
	"flovyn.v1.RequestCancelChildWorkflowCommand.reason": true,
}

// nulPath returns the path of the first text in m that holds a NUL character,
// which PostgreSQL cannot store, or nothing. Free texts are left out; payloads
// are bytes and not looked into: a NUL is no valid JSON, and JSON is checked
// elsewhere.
func nulPath(m protoreflect.Message) (path string) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := string(field.Name())
		switch {
		case freeTexts[field.FullName()]:
		case field.IsMap():
			path = nulInMap(name, field, value.Map())
		case field.IsList():
			path = nulInList(name, field, value.List())
		default:
			path = nulInValue(name, field, value)
		}
		return path == ""
	})
	return path
}

func nulInMap(name string, field protoreflect.FieldDescriptor, entries protoreflect.Map) (path string) {
	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if strings.IndexByte(key.String(), 0) >= 0 {
			path = name
		} else {
			path = nulInValue(name+"["+strconv.Quote(key.String())+"]", field.MapValue(), value)
		}
		return path == ""
	})
	return path
}

func nulInList(name string, field protoreflect.FieldDescriptor, items protoreflect.List) string {
	if !holdsText(field) {
		return ""
	}
	for i := range items.Len() {
		if path := nulInValue(name+"["+strconv.Itoa(i)+"]", field, items.Get(i)); path != "" {
			return path
		}
	}
	return ""
}

func nulInValue(name string, field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch field.Kind() {
	case protoreflect.StringKind:
		if strings.IndexByte(value.String(), 0) >= 0 {
			return name
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if path := nulPath(value.Message()); path != "" {
			return name + "." + path
		}
	default: // numbers, enums, payloads
	}
	return ""
}

func holdsText(field protoreflect.FieldDescriptor) bool {
	return field.Kind() == protoreflect.StringKind || field.Message() != nil
}
