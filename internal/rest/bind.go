package rest

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A parameter is how a parameter of the query reaches its field.
type parameter struct {
	name string
	// parents are the messages on the way to the field.
	parents []protoreflect.FieldDescriptor
	field   *field
}

// readQuery finds the parameters: whatever the path does not bind and a text can
// hold. Messages and lists of them have no place in a query.
func (o *Operation) readQuery(bound map[*field]bool) {
	o.query = map[string]*parameter{}
	o.addParameters(o.in, bound, nil, nil)
}

func (o *Operation) addParameters(s *shape, bound map[*field]bool, prefixes []string, parents []protoreflect.FieldDescriptor) {
	for _, f := range s.fields {
		if bound[f] || f.desc.IsMap() {
			continue
		}
		names := f.names()
		if len(prefixes) > 0 {
			names = nil
			for _, prefix := range prefixes {
				for _, name := range f.names() {
					names = append(names, prefix+"."+name)
				}
			}
		}
		if f.elem != nil && f.elem.format == asObject {
			// One level is what lists need; below it a body is clearer.
			if !f.desc.IsList() && len(parents) == 0 {
				o.addParameters(f.elem, nil, names, []protoreflect.FieldDescriptor{f.desc})
			}
			continue
		}
		p := &parameter{name: names[0], parents: parents, field: f}
		o.Query = append(o.Query, Parameter{Name: p.name, Field: f.desc})
		for _, name := range names {
			o.query[name] = p
		}
	}
}

// bindQuery fills fields from the query. What the path binds is no parameter, so a
// query cannot override it.
func (o *Operation) bindQuery(raw string, m protoreflect.Message) error {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return &fieldError{message: "the query cannot be read: " + err.Error()}
	}
	seen := map[*parameter]bool{}
	for name, texts := range values {
		path := pointer(name)
		p, ok := o.query[name]
		if !ok {
			return &fieldError{path: path, message: "unknown parameter"}
		}
		if !p.field.desc.IsList() && (seen[p] || len(texts) > 1) {
			return &fieldError{path: path, message: "given twice"}
		}
		seen[p] = true
		for _, text := range texts {
			if err := p.set(m, text); err != nil {
				return &fieldError{path: path, message: err.Error()}
			}
		}
	}
	return nil
}

func (p *parameter) set(m protoreflect.Message, text string) error {
	for _, parent := range p.parents {
		m = m.Mutable(parent).Message()
	}
	if !p.field.desc.IsList() {
		return p.field.setText(m, text)
	}
	list := m.Mutable(p.field.desc).List()
	if p.field.elem != nil {
		return p.field.elem.parseMoment(text, list.AppendMutable().Message())
	}
	v, err := p.field.parse(text)
	if err == nil {
		list.Append(v)
	}
	return err
}

// bindPath fills the fields that the path binds.
func (o *Operation) bindPath(segments []string, m protoreflect.Message) error {
	for i, s := range o.segment {
		if s.field == nil {
			continue
		}
		if err := s.field.setText(m, segments[i]); err != nil {
			return &fieldError{path: "/" + s.field.name, message: err.Error()}
		}
	}
	return nil
}

// setText sets a field to what a path or a query says.
func (f *field) setText(m protoreflect.Message, text string) error {
	if f.oneof != nil && m.WhichOneof(f.oneof) != nil {
		return errors.New("cannot be given together with " + m.WhichOneof(f.oneof).JSONName())
	}
	if f.elem != nil {
		return f.elem.parseMoment(text, m.Mutable(f.desc).Message())
	}
	v, err := f.parse(text)
	if err == nil {
		m.Set(f.desc, v)
	}
	return err
}

func (f *field) parse(text string) (v protoreflect.Value, err error) {
	if !utf8.ValidString(text) {
		return v, errors.New("is not UTF-8")
	}
	switch kind := f.value.Kind(); kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return v, errors.New("want true or false")
		}
		return protoreflect.ValueOfBool(text == "true"), nil
	case protoreflect.BytesKind:
		if !jsontext.Value(text).IsValid(anyJSON...) {
			return v, errors.New("want a JSON value")
		}
		return protoreflect.ValueOfBytes([]byte(text)), nil
	default:
		if number := jsontext.Value(text); number.Kind() != '0' || !number.IsValid() || strings.TrimSpace(text) != text {
			return v, errors.New("want a number")
		}
		return parseNumber(kind, text)
	}
}

// pointer makes a JSON pointer of one name.
func pointer(name string) string { return string(jsontext.Pointer("").AppendToken(name)) }
