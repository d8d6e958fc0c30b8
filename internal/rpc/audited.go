package rpc

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flovyn/flovyn-server/internal/audit"
	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// errPanicked stands for the failure of a handler that panics.
var errPanicked = errors.New("panicked")

// note leaves an audit record of a call that ended with err: if it was refused,
// or if it was to change something.
func (g *guarded) note(trail *audit.Trail, procedure string, err error) {
	event := audit.Event{Procedure: procedure, ResourceID: g.resource}
	switch kind := fault.KindOf(err); {
	case err == nil && g.changes:
		event.Outcome = flovyn.AuditAllowed
	case err == nil:
		return
	case kind == fault.Denied, kind == fault.Unauthenticated, g.trespass:
		event.Outcome, event.Reason = flovyn.AuditDenied, err.Error()
	case g.changes:
		event.Outcome, event.Reason = flovyn.AuditFailed, fault.Message(err)
	default:
		return
	}
	if g.caller.Kind != "" && g.caller.Kind != caller.Anonymous {
		event.Caller = &g.caller
	}
	if len(g.rule.Checks) > 0 {
		event.Action, event.ResourceType = string(g.rule.Checks[0].Action), string(g.rule.Checks[0].Type)
	}
	trail.Note(g.ctx, caller.Remote(g.ctx), event)
}

// part adds the id of what a message names within an organization: a token of it,
// for example.
func (g *guarded) part(check authz.Check, m protoreflect.Message) {
	if check.Type != authz.Org || check.Action != authz.Manage || m == nil {
		return
	}
	if field := m.Descriptor().Fields().ByName("id"); field != nil {
		g.resource += "/" + m.Get(field).String()
	}
}

// learn takes the id of what came into being from the answer.
func (g *guarded) learn(msg any) {
	message, ok := msg.(proto.Message)
	if !ok || !g.changes {
		return
	}
	switch id := idIn(message.ProtoReflect()); {
	case id == "":
	case g.resource == authz.NewID, g.resource == authz.AnyID, g.rule.Checks[0] == authz.Check{Action: authz.Create, Type: authz.Org}:
		g.resource = id
	case g.rule.Checks[0].Type == authz.Org:
		g.resource += "/" + id
	}
}

// idIn returns the id in an answer: its own, or that of the one thing in it.
func idIn(m protoreflect.Message) string {
	fields := m.Descriptor().Fields()
	for _, name := range []protoreflect.Name{"id", "workflow_execution_id", "task_execution_id"} {
		if field := fields.ByName(name); field != nil && field.Kind() == protoreflect.StringKind && !field.IsList() {
			return m.Get(field).String()
		}
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil || field.IsList() || field.IsMap() || !m.Has(field) {
			continue
		}
		if id := field.Message().Fields().ByName("id"); id != nil && id.Kind() == protoreflect.StringKind {
			return m.Get(field).Message().Get(id).String()
		}
	}
	return ""
}
