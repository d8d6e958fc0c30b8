package rpc

import (
	"context"
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// guard lets a call through to its handler only with messages that are valid
// and permitted. It wraps the stream, so that unary calls and streams of every
// shape pass the same check: on each message received, before the handler sees
// it. A call in which the handler answers without having received anything is
// decided at that moment, and at the latest when it returns.
func guard(authorizer authz.Authorizer, validator protovalidate.Validator, orgs *knownOrgs) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			rule, ok := authz.Lookup(spec.Procedure)
			if !ok {
				return fault.New(fault.Denied, "Access denied: %s is not open to anybody", spec.Procedure)
			}
			g := &guarded{ServerStream: stream, ctx: ctx, rule: rule, authorizer: authorizer, validator: validator, orgs: orgs}
			if !rule.Public {
				if g.caller, ok = caller.From(ctx); !ok {
					return fault.New(fault.Unauthenticated, "Authentication required")
				}
				if rule.Authenticated && !recognized(g.caller) {
					return fault.New(fault.Unauthenticated, "Authentication required")
				}
			}
			err := next(ctx, spec, g)
			if denied := g.decide(); denied != nil {
				return denied
			}
			return err
		}
	}
}

// recognized tells callers who showed a credential, and those who need none
// because authentication is off, from those at a path that authentication leaves
// alone.
func recognized(c caller.Caller) bool {
	switch c.Kind {
	case caller.User, caller.Worker, caller.Service:
		return true
	default:
		return c.Trusted
	}
}

// guarded is a stream that checks what it receives.
type guarded struct {
	connect.ServerStream
	ctx        context.Context //nolint:containedctx // that of the one call the stream is for
	rule       authz.Rule
	caller     caller.Caller
	authorizer authz.Authorizer
	validator  protovalidate.Validator
	orgs       *knownOrgs
	// decided is set once a message, or their absence, was authorized.
	decided bool
	refused error
}

// Receive receives a message, and returns it only if it is valid and permitted.
func (g *guarded) Receive(msg any) error {
	if g.refused != nil {
		return g.refused
	}
	if err := g.ServerStream.Receive(msg); err != nil {
		return err
	}
	message, ok := msg.(proto.Message)
	if !ok {
		return fault.Bug("received a %T, which is no protobuf message", msg)
	}
	g.decided = true
	if g.refused = g.check(message); g.refused != nil {
		return g.refused
	}
	return nil
}

// SendHeaders sends headers of a permitted call.
func (g *guarded) SendHeaders() error {
	if err := g.decide(); err != nil {
		return err
	}
	return g.ServerStream.SendHeaders()
}

// Send sends a message of a permitted call.
func (g *guarded) Send(msg any) error {
	if err := g.decide(); err != nil {
		return err
	}
	return g.ServerStream.Send(msg)
}

// decide authorizes a call without a message, unless one has come.
func (g *guarded) decide() error {
	if !g.decided {
		g.decided = true
		g.refused = g.authorize(nil, g.caller.Org)
	}
	return g.refused
}

func (g *guarded) check(message proto.Message) error {
	m := message.ProtoReflect()
	if path := nulPath(m); path != "" {
		return fault.InvalidField(path, "holds a NUL character, which text cannot")
	}
	if err := g.validator.Validate(message); err != nil {
		return invalid(err)
	}
	org, err := g.orgOf(m)
	if err != nil {
		return err
	}
	return g.authorize(m, org)
}

// orgOf returns the organization that a message is about: workers name it by
// its id, the management API by its slug, and other messages are about the
// caller's own.
func (g *guarded) orgOf(m protoreflect.Message) (flovyn.OrgID, error) {
	fields := m.Descriptor().Fields()
	if g.rule.Public {
		return g.caller.Org, nil
	}
	if field := fields.ByName("org_id"); field != nil {
		return parseOrg(m.Get(field).String())
	}
	if field := fields.ByName("org"); field != nil {
		return g.orgs.slugged(g.ctx, g.caller, m.Get(field).String())
	}
	return g.caller.Org, nil
}

func (g *guarded) authorize(m protoreflect.Message, org flovyn.OrgID) error {
	if g.rule.Public {
		return nil
	}
	for _, check := range g.rule.Checks {
		if check.Action == authz.Create && check.Type == authz.Org {
			org = flovyn.OrgID{} // it belongs to none yet
		}
		err := g.authorizer.Authorize(g.ctx, authz.Request{
			Caller: g.caller, Action: check.Action,
			Resource: authz.Resource{Type: check.Type, ID: resourceID(check, m), Org: org},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// idFields says where messages name a resource of each type: the worker
// protocol by its type, the management API mostly as "id".
var idFields = map[authz.ResourceType][]protoreflect.Name{
	authz.Org:                     {"org"},
	authz.Workflow:                {"workflow_kind", "kind"},
	authz.WorkflowExecution:       {"workflow_execution_id", "id"},
	authz.TaskExecution:           {"task_execution_id", "id"},
	authz.AgentExecution:          {"agent_execution_id"},
	authz.WorkerRegistration:      {"worker_id", "id"},
	authz.Schedule:                {"id"},
	authz.MetadataFieldDefinition: {"id"},
	authz.SavedQuery:              {"id"},
}

// resourceID returns what a message names as the thing acted upon.
func resourceID(check authz.Check, m protoreflect.Message) string {
	switch {
	case check.Action == authz.Create:
		return authz.NewID
	case check.Action == authz.Poll || check.Action == authz.List || m == nil:
		return authz.AnyID
	}
	for _, name := range idFields[check.Type] {
		if field := m.Descriptor().Fields().ByName(name); field != nil {
			if id := m.Get(field).String(); id != "" {
				return id
			}
		}
	}
	return authz.AnyID
}

// invalid says what a message's rules found.
func invalid(err error) error {
	var violations *protovalidate.ValidationError
	if !errors.As(err, &violations) || len(violations.Violations) == 0 {
		return err // the rules themselves are at fault
	}
	reasons := make([]string, len(violations.Violations))
	places := make([]fault.Detail, len(violations.Violations))
	for i, v := range violations.Violations {
		places[i] = fault.Detail{Path: protovalidate.FieldPathString(v.Proto.GetField()), Message: v.Proto.GetMessage()}
		reasons[i] = places[i].Path + ": " + places[i].Message
	}
	return fault.InvalidInput(strings.Join(reasons, "; "), places)
}
