package rest

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
)

// An Operation is a procedure as REST offers it: one method on one path.
type Operation struct {
	// Method is the HTTP method.
	Method string
	// Path is the template of the path, such as /api/orgs/{org}/schedules/{id}.
	Path string
	// Procedure describes what is called.
	Procedure protoreflect.MethodDescriptor
	// Stream is true for a stream of events.
	Stream bool
	// HasBody is true when what the path does not bind comes in the body, false
	// when it comes in the query.
	HasBody bool
	// Variables are the fields that the path binds, in the order of the path.
	Variables []protoreflect.FieldDescriptor
	// Query are the parameters of the query, by their names in JSON.
	Query []Parameter
	// Response is the field that is the whole body of the answer; nil when the
	// body is the whole message.
	Response protoreflect.FieldDescriptor
	// Status is that of success.
	Status int
	// Created, if any, must be true in the answer for Status to hold; else it is
	// 200.
	Created protoreflect.FieldDescriptor
	// Single is true for the reading of one thing, which can be cached.
	Single bool

	name    string // of the procedure, on the wire
	spec    connect.Spec
	segment []segment
	in, out *shape
	answer  *field
	query   map[string]*parameter
	// resume is the field that the header Last-Event-ID fills.
	resume protoreflect.FieldDescriptor
	// item is the field of something new that names it in the path below.
	item protoreflect.Name
}

// A Parameter is a parameter of a query.
type Parameter struct {
	// Name is how it is written; a field of a message has a dot before its name.
	Name string
	// Field is what it fills.
	Field protoreflect.FieldDescriptor
}

// A segment of a path's template is a literal, or a variable that binds a field.
type segment struct {
	literal string
	field   *field
}

// Operations returns what REST offers of the procedures, in their order. A mapping
// that cannot be served is an error, not something left out.
func Operations(specs iter.Seq[connect.Spec]) ([]*Operation, error) {
	var all []*Operation
	known := shapes{}
	for spec := range specs {
		method, ok := spec.Schema.(protoreflect.MethodDescriptor)
		if !ok {
			continue
		}
		rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			o, err := newOperation(known, spec, method, binding)
			if err != nil {
				return nil, fmt.Errorf("the REST mapping of %s: %w", method.FullName(), err)
			}
			all = append(all, o)
		}
	}
	for _, o := range all {
		o.findItem(all)
	}
	return all, nil
}

// findItem finds out what names the things that the operation makes: the variable
// below its path. An organization is called by its slug.
func (o *Operation) findItem(all []*Operation) {
	for _, other := range all {
		variable, below := strings.CutPrefix(other.Path, o.Path+"/{")
		if variable, closed := strings.CutSuffix(variable, "}"); below && closed && other.Method == http.MethodGet {
			o.item = protoreflect.Name(variable)
			if variable == "org" {
				o.item = "slug"
			}
		}
	}
}

func newOperation(known shapes, spec connect.Spec, method protoreflect.MethodDescriptor, rule *annotations.HttpRule) (*Operation, error) {
	o := &Operation{Procedure: method, Status: http.StatusOK, name: spec.Procedure, spec: spec, HasBody: rule.GetBody() != ""}
	if o.HasBody && rule.GetBody() != "*" {
		return nil, errors.New(`the body is either "*" or nothing`)
	}
	if method.IsStreamingClient() {
		return nil, errors.New("a client cannot stream in REST")
	}
	var err error
	if o.in, err = known.of(method.Input()); err != nil {
		return nil, err
	}
	if o.out, err = known.of(method.Output()); err != nil {
		return nil, err
	}
	if err := o.readPath(rule); err != nil {
		return nil, err
	}
	if method.IsStreamingServer() {
		return o, o.readStream()
	}
	return o, o.readAnswer(rule)
}

// readPath reads the method and the template of the path.
func (o *Operation) readPath(rule *annotations.HttpRule) error {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		o.Method, o.Path = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		o.Method, o.Path = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		o.Method, o.Path = http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		o.Method, o.Path = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		o.Method, o.Path = http.MethodDelete, p.Delete
	default:
		return errors.New("there is no method")
	}
	rest, ok := strings.CutPrefix(o.Path, "/")
	if !ok {
		return fmt.Errorf("the path %q does not begin with a slash", o.Path)
	}
	bound := map[*field]bool{}
	for text := range strings.SplitSeq(rest, "/") {
		s, err := o.readSegment(text)
		if err != nil {
			return err
		}
		if s.field != nil {
			if bound[s.field] {
				return fmt.Errorf("the path binds %s twice", s.field.name)
			}
			bound[s.field] = true
			o.Variables = append(o.Variables, s.field.desc)
		}
		o.segment = append(o.segment, s)
	}
	o.Single = o.Method == http.MethodGet && o.segment[len(o.segment)-1].field != nil
	if !o.HasBody {
		o.readQuery(bound)
	}
	return nil
}

func (o *Operation) readSegment(text string) (segment, error) {
	name, variable := strings.CutPrefix(text, "{")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case variable != closed, text == "", strings.ContainsAny(name, "{}*:"):
		return segment{}, fmt.Errorf("%q is neither a name nor a variable; wildcards and verbs are not served", text)
	case !variable:
		return segment{literal: text}, nil
	}
	f, ok := o.in.named[name]
	if !ok || f.elem != nil || f.desc.IsList() || f.desc.IsMap() || f.oneof != nil {
		return segment{}, fmt.Errorf("the path binds %q, which is no plain field of %s", name, o.in.desc.FullName())
	}
	return segment{field: f}, nil
}

// readAnswer reads what a success looks like.
func (o *Operation) readAnswer(rule *annotations.HttpRule) error {
	if name := rule.GetResponseBody(); name != "" {
		f, ok := o.out.named[name]
		if !ok {
			return fmt.Errorf("the answer is to be %q, which is no field of %s", name, o.out.desc.FullName())
		}
		o.answer, o.Response = f, f.desc
	}
	option, _ := proto.GetExtension(o.Procedure.Options(), apiv1.E_Rest).(*apiv1.RestOptions)
	if status := int(option.GetStatus()); status != 0 {
		if status < 200 || status > 299 {
			return fmt.Errorf("%d is no status of success", status)
		}
		o.Status = status
	}
	if name := option.GetCreated(); name != "" {
		f, ok := o.out.named[name]
		if !ok || f.desc.Kind() != protoreflect.BoolKind || f.desc.IsList() {
			return fmt.Errorf("what was created is to be told by %q, which is no bool of %s", name, o.out.desc.FullName())
		}
		o.Created = f.desc
	}
	return nil
}

// resumeField is the field of a stream's request that says where to go on.
const resumeField = "last_event_id"

func (o *Operation) readStream() error {
	o.Stream, o.Single = true, false
	for _, name := range []string{"id", "event", "data"} {
		if f, ok := o.out.named[name]; !ok || f.desc.Kind() != protoreflect.StringKind || f.desc.IsList() {
			return fmt.Errorf("a stream's messages need a string %q, and %s has none", name, o.out.desc.FullName())
		}
	}
	if f, ok := o.in.named[resumeField]; ok && f.desc.Kind() == protoreflect.StringKind && !f.desc.IsList() {
		o.resume = f.desc
	}
	return nil
}
