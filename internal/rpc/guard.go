package rpc

import (
	"context"
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flovyn/flovyn-server/internal/audit"
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
//
// What is refused, and what the management API changes, is noted for the audit.
func guard(authorizer authz.Authorizer, validator protovalidate.Validator, orgs *knownOrgs, trail *audit.Trail) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
			rule, ok := authz.Lookup(spec.Procedure)
			g := &guarded{
				ServerStream: stream, ctx: ctx, rule: rule, authorizer: authorizer, validator: validator, orgs: orgs,
				changes: authz.Audited(spec.Procedure, rule),
			}
			g.caller, _ = caller.From(ctx)
			if trail != nil {
				err = errPanicked // unless it returns
				defer func() { g.note(trail, spec.Procedure, err) }()
			}
			if !ok {
				return fault.New(fault.Denied, "Access denied: %s is not open to anybody", spec.Procedure)
			}
			if err := g.enter(spec.Procedure); err != nil {
				return err
			}
			err = next(ctx, spec, g)
			if denied := g.decide(); denied != nil {
				return denied
			}
			return err
		}
	}
}

// enter refuses callers for whom the procedure is none, whatever they ask of it.
func (g *guarded) enter(procedure string) error {
	switch {
	case g.rule.Public:
		return nil
	case g.caller.Kind == "", g.rule.Authenticated && !recognized(g.caller):
		return fault.New(fault.Unauthenticated, "Authentication required")
	case g.caller.Claims != nil && procedure != authz.CreateOrganization:
		return fault.New(fault.Unauthenticated, "Unknown organization: %s", g.caller.Claims.Slug)
	default:
		return nil
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
	// changes says that the call is one to note also when it succeeds.
	changes bool
	// resource is the id that the first check was about; trespass is set when the
	// request names an organization that is not the caller's.
	resource string
	trespass bool
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
	g.learn(msg)
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
		org, err := g.orgs.slugged(g.ctx, g.caller, m.Get(field).String())
		g.trespass = fault.Is(err, fault.NotFound)
		return org, err
	}
	return g.caller.Org, nil
}

func (g *guarded) authorize(m protoreflect.Message, org flovyn.OrgID) error {
	if g.rule.Public {
		return nil
	}
	for i, check := range g.rule.Checks {
		resource := authz.Resource{Type: check.Type, ID: resourceID(check, m), Org: org}
		if check.Action == authz.Create && check.Type == authz.Org {
			var err error
			if resource, err = g.founded(m); err != nil {
				return err
			}
		}
		if i == 0 {
			g.resource = resource.ID
			g.part(check, m)
		}
		err := g.authorizer.Authorize(g.ctx, authz.Request{Caller: g.caller, Action: check.Action, Resource: resource})
		if err != nil {
			return err
		}
	}
	return nil
}

// founded is the organization that a message asks to create. It belongs to none
// yet, unless it is the caller's own: who may create that is told that it exists.
func (g *guarded) founded(m protoreflect.Message) (authz.Resource, error) {
	resource := authz.Resource{Type: authz.Org, ID: authz.NewID}
	if m == nil {
		return resource, nil
	}
	if field := m.Descriptor().Fields().ByName("slug"); field != nil {
		resource.ID = m.Get(field).String()
	}
	if g.caller.Org.IsZero() {
		return resource, nil
	}
	own, err := g.orgs.get(g.ctx, g.caller.Org)
	if err == nil && own.Slug == resource.ID {
		resource.Org = own.ID
	}
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	return resource, err
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
