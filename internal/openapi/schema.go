package openapi

import (
	"slices"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A direction is a message's way: asked by a client, told by the server. A client
// may leave out what the server always says.
type direction uint8

const (
	asked direction = iota
	told
)

const (
	timestamp = protoreflect.FullName("google.protobuf.Timestamp")
	duration  = protoreflect.FullName("google.protobuf.Duration")
)

// refer describes a message by a name, under which it stands with the components.
func (d *document) refer(m protoreflect.MessageDescriptor, to direction) object {
	switch m.FullName() {
	case timestamp:
		return object{"type": "string", "format": "date-time"}
	case duration:
		return object{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]{1,9})?s$`}
	}
	name := string(m.Name())
	if to == asked {
		name += "Input"
	}
	if _, ok := d.schemas[name]; !ok {
		d.schemas[name] = object{} // a place, in case the message holds itself
		d.schemas[name] = d.message(m, to, nil)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// message describes a message, but for fields that are given otherwise.
func (d *document) message(m protoreflect.MessageDescriptor, to direction, but []protoreflect.FieldDescriptor) object {
	properties, required := object{}, []string{}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		if slices.Contains(but, field) {
			continue
		}
		schema := d.field(field, to)
		if words := d.words[string(field.FullName())]; words != "" {
			schema["description"] = words
		}
		properties[field.JSONName()] = schema
		always := to == told && !field.IsMap() && (field.ContainingOneof() == nil || field.ContainingOneof().IsSynthetic())
		if always || to == asked && demanded(field) {
			required = append(required, field.JSONName())
		}
	}
	schema := object{"type": "object", "properties": properties}
	if words := d.words[string(m.FullName())]; words != "" {
		schema["description"] = words
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	if to == asked {
		schema["additionalProperties"] = false
	}
	return schema
}

// field describes a field, whatever its cardinality. The description is the
// field's own, so a reference to a message stands beside it.
func (d *document) field(field protoreflect.FieldDescriptor, to direction) object {
	switch {
	case field.IsMap():
		return nullable(object{"type": "object", "additionalProperties": d.value(field.MapValue(), to)}, to == asked)
	case field.IsList():
		schema := object{"type": "array", "items": d.value(field, to)}
		if rules := rulesOf(field).GetRepeated(); rules != nil && to == asked {
			limit(schema, "minItems", rules.HasMinItems(), rules.GetMinItems())
			limit(schema, "maxItems", rules.HasMaxItems(), rules.GetMaxItems())
		}
		return nullable(schema, to == asked)
	case to == asked:
		return nullable(d.value(field, to), !demanded(field))
	default:
		return nullable(d.value(field, to), field.HasPresence())
	}
}

// nullable lets a schema accept null too.
func nullable(schema object, yes bool) object {
	if !yes {
		return schema
	}
	if values, ok := schema["enum"].([]any); ok {
		schema["enum"] = append(slices.Clone(values), nil)
	}
	switch name, ok := schema["type"].(string); {
	case ok:
		schema["type"] = []string{name, "null"}
		return schema
	case schema["$ref"] != nil:
		return object{"anyOf": []any{schema, object{"type": "null"}}}
	default: // any JSON
		return schema
	}
}

// value describes one value of a field.
func (d *document) value(field protoreflect.FieldDescriptor, to direction) object {
	var schema object
	switch field.Kind() {
	case protoreflect.MessageKind:
		return d.refer(field.Message(), to)
	case protoreflect.BytesKind:
		// Not even its type is ours to say.
		return object{}
	case protoreflect.StringKind:
		schema = object{"type": "string"}
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.FloatKind:
		schema = object{"type": "number", "format": "float"}
	case protoreflect.DoubleKind:
		schema = object{"type": "number", "format": "double"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		schema = object{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		schema = object{"type": "integer", "format": "int64", "minimum": 0}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		schema = object{"type": "integer", "minimum": 0}
	default: // the signed integers of 64 bits
		schema = object{"type": "integer", "format": "int64"}
	}
	if to == asked {
		rules := rulesOf(field)
		if field.IsList() {
			rules = rules.GetRepeated().GetItems()
		}
		applyRules(schema, rules)
	}
	return schema
}

// rulesOf returns the rules by which the server validates a field, or none.
func rulesOf(field protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

// demanded reports whether a request without the field is refused: it must be
// there, or what an absent one counts as is not allowed.
func demanded(field protoreflect.FieldDescriptor) bool {
	rules := rulesOf(field)
	if rules.GetRequired() {
		return true
	}
	if field.HasPresence() || field.IsList() || field.IsMap() {
		return rules.GetRepeated().GetMinItems() > 0
	}
	text := rules.GetString()
	return text.GetMinLen() > 0 || text.GetUuid() || len(text.GetIn()) > 0 && !slices.Contains(text.GetIn(), "")
}

// applyRules says in a schema what the server validates.
func applyRules(schema object, rules *validate.FieldRules) {
	if text := rules.GetString(); text != nil {
		limit(schema, "minLength", text.HasMinLen(), text.GetMinLen())
		limit(schema, "maxLength", text.HasMaxLen(), text.GetMaxLen())
		if text.GetUuid() {
			schema["format"] = "uuid"
		}
		if text.HasPattern() {
			schema["pattern"] = text.GetPattern()
		}
		var values []any
		for _, value := range text.GetIn() {
			values = append(values, value)
		}
		if values != nil {
			schema["enum"] = values
		}
	}
	if n := rules.GetInt32(); n != nil {
		limit(schema, "minimum", n.HasGte(), n.GetGte())
		limit(schema, "exclusiveMinimum", n.HasGt(), n.GetGt())
		limit(schema, "maximum", n.HasLte(), n.GetLte())
		limit(schema, "exclusiveMaximum", n.HasLt(), n.GetLt())
	}
	if n := rules.GetInt64(); n != nil {
		limit(schema, "minimum", n.HasGte(), n.GetGte())
		limit(schema, "exclusiveMinimum", n.HasGt(), n.GetGt())
		limit(schema, "maximum", n.HasLte(), n.GetLte())
		limit(schema, "exclusiveMaximum", n.HasLt(), n.GetLt())
	}
}

func limit[N int32 | int64 | uint64](schema object, name string, has bool, n N) {
	if has {
		schema[name] = n
	}
}
