package output

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// body is the part of an answer that is the body of the same answer over REST:
// the field that its method names, or the whole.
func body(m proto.Message) (message protoreflect.Message, field protoreflect.FieldDescriptor) {
	desc := m.ProtoReflect().Descriptor()
	services := desc.ParentFile().Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			if methods.Get(j).Output() != desc {
				continue
			}
			rule, _ := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
			if name := rule.GetResponseBody(); name != "" {
				return m.ProtoReflect(), desc.Fields().ByName(protoreflect.Name(name))
			}
		}
	}
	return m.ProtoReflect(), nil
}

// A jsonWriter writes messages as the REST API does: names in camelCase, unset
// fields as null, integers as numbers, payloads as the JSON they are. With indent
// it breaks lines; a payload keeps its own bytes in any case.
type jsonWriter struct {
	bytes.Buffer
	indent bool
	depth  int
}

func (w *jsonWriter) line() {
	if w.indent {
		w.WriteByte('\n')
		for range w.depth {
			w.WriteString("  ")
		}
	}
}

// group writes n members between two brackets.
func (w *jsonWriter) group(opening, closing byte, n int, member func(i int)) {
	w.WriteByte(opening)
	w.depth++
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		w.line()
		member(i)
	}
	w.depth--
	if n > 0 {
		w.line()
	}
	w.WriteByte(closing)
}

func (w *jsonWriter) key(name string) {
	w.string(name)
	w.WriteByte(':')
	if w.indent {
		w.WriteByte(' ')
	}
}

func (w *jsonWriter) message(m protoreflect.Message) {
	if m.Descriptor().FullName() == "google.protobuf.Timestamp" {
		w.timestamp(m)
		return
	}
	var fields []protoreflect.FieldDescriptor
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); m.Has(f) || !f.IsMap() {
			fields = append(fields, f)
		}
	}
	w.group('{', '}', len(fields), func(i int) {
		w.key(fields[i].JSONName())
		w.field(m, fields[i])
	})
}

func (w *jsonWriter) field(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch v := m.Get(f); {
	case f.IsMap():
		w.entries(f, v.Map())
	case f.IsList():
		list := v.List()
		w.group('[', ']', list.Len(), func(i int) { w.value(f, list.Get(i)) })
	case !m.Has(f) && (f.HasPresence() || f.Kind() == protoreflect.BytesKind):
		w.WriteString("null")
	default:
		w.value(f, v)
	}
}

func (w *jsonWriter) entries(f protoreflect.FieldDescriptor, entries protoreflect.Map) {
	keys := make([]string, 0, entries.Len())
	for key := range entries.Range {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	w.group('{', '}', len(keys), func(i int) {
		w.key(keys[i])
		w.value(f.MapValue(), entries.Get(protoreflect.ValueOfString(keys[i]).MapKey()))
	})
}

func (w *jsonWriter) value(f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch f.Kind() {
	case protoreflect.MessageKind:
		w.message(v.Message())
	case protoreflect.BytesKind:
		w.payload(v.Bytes())
	case protoreflect.StringKind:
		w.string(v.String())
	case protoreflect.BoolKind:
		w.WriteString(strconv.FormatBool(v.Bool()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if n := v.Float(); math.IsNaN(n) || math.IsInf(n, 0) {
			w.WriteString("null")
		} else {
			text, _ := json.Marshal(n) // every finite number is encoded
			w.Write(text)
		}
	default: // the contract has no other kinds than these and integers
		w.WriteString(v.String())
	}
}

// payload writes somebody's JSON as it is. Without indent it must stay on its
// line.
func (w *jsonWriter) payload(raw []byte) {
	switch {
	case len(raw) == 0:
		w.WriteString("null")
	case !json.Valid(raw):
		w.string(string(raw))
	case !w.indent && bytes.ContainsAny(raw, "\r\n"):
		_ = json.Compact(&w.Buffer, raw) // it is valid
	default:
		w.Write(raw)
	}
}

func (w *jsonWriter) string(s string) {
	e := json.NewEncoder(&w.Buffer)
	e.SetEscapeHTML(false)
	_ = e.Encode(strings.ToValidUTF8(s, string(utf8.RuneError))) // a string is always encoded
	w.Truncate(w.Len() - 1)                                      // the line break behind it
}

func (w *jsonWriter) timestamp(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	t := time.Unix(m.Get(fields.ByName("seconds")).Int(), m.Get(fields.ByName("nanos")).Int()).UTC()
	layout := "2006-01-02T15:04:05Z"
	switch nanos := t.Nanosecond(); {
	case nanos == 0:
	case nanos%1e6 == 0:
		layout = "2006-01-02T15:04:05.000Z"
	case nanos%1e3 == 0:
		layout = "2006-01-02T15:04:05.000000Z"
	default:
		layout = "2006-01-02T15:04:05.000000000Z"
	}
	w.string(t.Format(layout))
}

// encode returns an answer as JSON.
func encode(m proto.Message, indent bool) []byte {
	w := &jsonWriter{indent: indent}
	message, field := body(m)
	if field != nil {
		w.field(message, field)
	} else {
		w.message(message)
	}
	return w.Bytes()
}

// encodeLines returns the items of a list as JSON, one a line, or the whole
// answer on one line when it is no list.
func encodeLines(m proto.Message) []byte {
	message, field := body(m)
	if field == nil {
		field = listOf(message)
	}
	if field == nil || !field.IsList() {
		return append(encode(m, false), '\n')
	}
	w := &jsonWriter{}
	list := message.Get(field).List()
	for i := range list.Len() {
		w.value(field, list.Get(i))
		w.WriteByte('\n')
	}
	return w.Bytes()
}

// listOf finds the list that an answer is about: its only field of many messages.
func listOf(m protoreflect.Message) protoreflect.FieldDescriptor {
	var found protoreflect.FieldDescriptor
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); f.IsList() && f.Kind() == protoreflect.MessageKind {
			if found != nil {
				return nil
			}
			found = f
		}
	}
	return found
}
