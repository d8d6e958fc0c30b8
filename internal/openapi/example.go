package openapi

import (
	"encoding/json"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// samples are what fields of some names may look like; a test holds every example
// against its schema.
var samples = map[string]any{
	"org": "acme", "slug": "acme", "name": "Acme", "kind": "order", "workflowKind": "order", "taskKind": "charge-card",
	"queue": "default", "identifier": "key:order-1001", "status": "RUNNING", "tier": "FREE",
	"input": json.RawMessage(`{"id": 1001, "item": "lamp"}`), "workflowInput": json.RawMessage(`{"id": 1001}`),
	"output": json.RawMessage(`{"shipped": true}`), "value": json.RawMessage(`{"approved": true}`),
	"signalName": "paid", "signalValue": json.RawMessage(`{"amount": 4900}`), "workflowId": "order-1001",
	"idempotencyKey": "order-1001", "idempotencyKeyTtl": "24h", "metadata": json.RawMessage(`{"region": "eu"}`),
	"data": json.RawMessage(`{"output": {"shipped": true}}`),
	"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "eventType": "WORKFLOW_COMPLETED",
	"query": `status = "RUNNING" ORDER BY createdAt DESC`, "entity": "workflow", "fieldType": "text", "field": "status",
	"scheduleType": nil, "missedRunPolicy": "skip", "overlapPolicy": "skip", "timeoutSeconds": 30, "limit": 20, "level": "INFO",
	"queryName": "state", "error": "the card was declined", "displayName": "build machines", "partial": "sta",
}

const (
	sampleUUID = "0197f2b4-6c1e-7c5a-9b1e-2f6d1a3c4e5f"
	sampleTime = "2026-01-31T12:00:00Z"
)

// example shows a message: in an answer all that it always has, in a request what
// it must have and what is mostly given.
func (d *document) example(m protoreflect.MessageDescriptor, to direction, but []protoreflect.FieldDescriptor, within []protoreflect.FullName) any {
	switch m.FullName() {
	case timestamp:
		return sampleTime
	case duration:
		return "1.5s"
	}
	if slices.Contains(within, m.FullName()) {
		return object{}
	}
	within = append(slices.Clone(within), m.FullName())
	shown := object{}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		_, known := samples[field.JSONName()]
		switch {
		case slices.Contains(but, field):
		case to == asked && !demanded(field) && (!known || field.Message() != nil && !field.IsMap()):
		default:
			shown[field.JSONName()] = d.exampleValue(field, to, within)
		}
	}
	return shown
}

// exampleOf shows a field by itself.
func (d *document) exampleOf(field protoreflect.FieldDescriptor, to direction) any {
	return d.exampleValue(field, to, nil)
}

func (d *document) exampleValue(field protoreflect.FieldDescriptor, to direction, within []protoreflect.FullName) any {
	one := d.single(field, to, within)
	switch {
	case field.IsMap():
		if sample, ok := samples[field.JSONName()]; ok && sample != nil {
			return sample
		}
		return object{"key": d.single(field.MapValue(), to, within)}
	case field.IsList():
		return []any{one}
	default:
		return one
	}
}

func (d *document) single(field protoreflect.FieldDescriptor, to direction, within []protoreflect.FullName) any {
	if field.Message() != nil && !field.IsMap() {
		return d.example(field.Message(), to, nil, within)
	}
	rules := rulesOf(field)
	if field.IsList() {
		rules = rules.GetRepeated().GetItems()
	}
	if in := rules.GetString().GetIn(); len(in) > 0 {
		return in[0]
	}
	sample, known := samples[field.JSONName()]
	switch field.Kind() {
	case protoreflect.StringKind:
		if text, ok := sample.(string); known && ok {
			return text
		}
		if rules.GetString().GetUuid() || isID(field) {
			return sampleUUID
		}
		return "text"
	case protoreflect.BytesKind:
		if raw, ok := sample.(json.RawMessage); known && ok {
			return raw
		}
		return json.RawMessage(`{}`)
	case protoreflect.BoolKind:
		return true
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return 0.5
	default:
		if n, ok := sample.(int); known && ok {
			return n
		}
		return 1
	}
}

// isID reports whether a field's name says that it holds an id of ours.
func isID(field protoreflect.FieldDescriptor) bool {
	name := string(field.Name())
	return name == "id" || len(name) > 3 && name[len(name)-3:] == "_id" && name != "workflow_id"
}
