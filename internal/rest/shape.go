package rest

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A shape is what the codec needs to know of a message type, worked out once.
type shape struct {
	desc   protoreflect.MessageDescriptor
	format format
	fields []*field
	// named holds every name under which a field may come in.
	named map[string]*field
}

// A format says how a message is written: member by member, or as a text.
type format uint8

const (
	asObject format = iota
	asTimestamp
	asDuration
)

// A field is one member of an object.
type field struct {
	desc protoreflect.FieldDescriptor
	// value describes one value: the field itself, an item of the list or a value
	// of the map.
	value protoreflect.FieldDescriptor
	// elem is the shape of the values, when they are messages.
	elem *shape
	// place is the field's position in its shape.
	place int
	name  string
	// key is the name as it is written, with quotes and colon.
	key string
	// oneof is the real oneof to which the field belongs, or nil.
	oneof protoreflect.OneofDescriptor
}

// shapes are the shapes of all messages that can be reached.
type shapes map[protoreflect.FullName]*shape

// wellKnown are the types of google.protobuf that have a form of their own here.
var wellKnown = map[protoreflect.FullName]format{
	"google.protobuf.Timestamp": asTimestamp,
	"google.protobuf.Duration":  asDuration,
	"google.protobuf.Empty":     asObject,
}

// of returns the shape of a message type, or what there is in it that REST has no
// form for.
func (all shapes) of(desc protoreflect.MessageDescriptor) (*shape, error) {
	if s, ok := all[desc.FullName()]; ok {
		return s, nil
	}
	s := &shape{desc: desc, named: map[string]*field{}}
	all[desc.FullName()] = s // before its fields, which may hold the type again
	if desc.ParentFile().Package() == "google.protobuf" {
		var known bool
		if s.format, known = wellKnown[desc.FullName()]; !known {
			return nil, fmt.Errorf("%s has no form in REST", desc.FullName())
		}
		if s.format != asObject {
			return s, nil
		}
	}
	for i := range desc.Fields().Len() {
		f, err := all.field(desc.Fields().Get(i), i)
		if err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
		for _, name := range f.names() {
			if other, taken := s.named[name]; taken && other != f {
				return nil, fmt.Errorf("%s has two fields that are called %q", desc.FullName(), name)
			}
			s.named[name] = f
		}
	}
	return s, nil
}

func (all shapes) field(desc protoreflect.FieldDescriptor, place int) (*field, error) {
	f := &field{desc: desc, value: desc, place: place, name: desc.JSONName()}
	f.key = `"` + f.name + `":`
	if oneof := desc.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		f.oneof = oneof
	}
	if desc.IsMap() {
		if desc.MapKey().Kind() != protoreflect.StringKind {
			return nil, fmt.Errorf("%s: the keys of a map must be strings", desc.FullName())
		}
		f.value = desc.MapValue()
	}
	switch f.value.Kind() {
	case protoreflect.EnumKind, protoreflect.GroupKind:
		return nil, fmt.Errorf("%s: %s has no form in REST", desc.FullName(), f.value.Kind())
	case protoreflect.MessageKind:
		var err error
		f.elem, err = all.of(f.value.Message())
		return f, err
	default:
		return f, nil
	}
}

// names returns the names under which the field may come in: that of JSON, that
// of the proto, and with TTL in capitals, as clients of the first server write it.
func (f *field) names() []string {
	names := []string{f.name}
	if proto := string(f.desc.Name()); proto != f.name {
		names = append(names, proto)
	}
	if prefix, ok := strings.CutSuffix(f.name, "Ttl"); ok {
		names = append(names, prefix+"TTL")
	}
	return names
}

// nullable reports whether the field, while it is unset, is written as null.
func (f *field) nullable() bool {
	return !f.desc.IsList() && !f.desc.IsMap() && (f.desc.HasPresence() || f.value.Kind() == protoreflect.BytesKind)
}
