package fql

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads a query about an entity and checks it. An error is an *Error.
func Parse(entity Entity, query string) (Query, error) {
	tokens, err := lex(query)
	if err != nil {
		return Query{}, err
	}
	p := parser{entity: entity, tokens: tokens}
	return p.query()
}

// parser reads tokens by recursive descent.
type parser struct {
	entity     Entity
	tokens     []token
	at         int
	conditions int
	depth      int
}

func (p *parser) peek() token { return p.tokens[p.at] }

// accept takes the next token if it is the keyword or sign.
func (p *parser) accept(what string) bool {
	if p.peek().is(what) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expected(what string) error {
	t := p.peek()
	return &Error{Position: t.at, Message: fmt.Sprintf("expected %s, found %s", what, t.describe())}
}

func (p *parser) query() (q Query, err error) {
	if p.peek().kind != end && !p.peek().is("ORDER") {
		if q.Where, err = p.or(); err != nil {
			return Query{}, err
		}
	}
	if p.accept("ORDER") {
		if q.Order, err = p.order(); err != nil {
			return Query{}, err
		}
	}
	if p.peek().kind == end {
		return q, nil
	}
	if q.Order != nil {
		return Query{}, p.expected("the end of the query")
	}
	return Query{}, p.expected("AND, OR, ORDER BY or the end of the query")
}

func (p *parser) order() (*Order, error) {
	if !p.accept("BY") {
		return nil, p.expected("BY")
	}
	at := p.peek().at
	f, err := p.field()
	if err != nil {
		return nil, err
	}
	if f.Unsortable {
		return nil, &Error{Position: at, Message: f.Name + " cannot be ordered by"}
	}
	o := &Order{Field: f}
	if p.accept("DESC") {
		o.Descending = true
	} else {
		p.accept("ASC")
	}
	return o, nil
}

func (p *parser) or() (Node, error) {
	left, err := p.and()
	for err == nil && p.accept("OR") {
		var right Node
		right, err = p.and()
		left = Or{left, right}
	}
	return left, err
}

func (p *parser) and() (Node, error) {
	left, err := p.not()
	for err == nil && p.accept("AND") {
		var right Node
		right, err = p.not()
		left = And{left, right}
	}
	return left, err
}

func (p *parser) not() (Node, error) {
	at := p.peek().at
	if p.depth++; p.depth > MaxDepth {
		return nil, &Error{Position: at, Message: fmt.Sprintf("nested more than %d levels deep", MaxDepth)}
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("NOT"):
		n, err := p.not()
		return Not{n}, err
	case p.accept("("):
		n, err := p.or()
		if err == nil && !p.accept(")") {
			err = p.expected("AND, OR or a closing parenthesis")
		}
		return n, err
	default:
		return p.condition()
	}
}

func (p *parser) condition() (Node, error) {
	at := p.peek().at
	f, err := p.field()
	if err != nil {
		return nil, err
	}
	if p.conditions++; p.conditions > MaxConditions {
		return nil, &Error{Position: at, Message: fmt.Sprintf("more than %d conditions", MaxConditions)}
	}
	c := &Condition{Field: f}
	if c.Op, err = p.operator(f); err != nil {
		return nil, err
	}
	switch c.Op {
	case IsNull, IsNotNull:
	case In, NotIn:
		c.Values, err = p.list(f)
	default:
		var v Value
		v, err = p.value(f)
		c.Values = []Value{v}
	}
	return c, err
}

func (p *parser) field() (Field, error) {
	t := p.peek()
	if !t.isWord() || t.keyword() {
		return Field{}, p.expected("a field")
	}
	f, ok := p.entity.Field(t.text)
	if !ok {
		return Field{}, &Error{Position: t.at, Message: p.unknownField(t.text)}
	}
	p.at++
	return f, nil
}

func (p *parser) unknownField(name string) string {
	var names []string
	for _, f := range p.entity.Fields() {
		if strings.EqualFold(f.Name, name) {
			return fmt.Sprintf("%s has no field %s; did you mean %s?", p.entity, name, f.Name)
		}
		names = append(names, f.Name)
	}
	if p.entity.HasMetadata() {
		names = append(names, "metadata.<key>")
	}
	return fmt.Sprintf("%s has no field %s; expected one of %s", p.entity, name, strings.Join(names, ", "))
}

func (p *parser) operator(f Field) (Op, error) {
	t := p.peek()
	op, err := p.anyOperator(f)
	if err != nil {
		return "", err
	}
	if !slices.Contains(f.Type.Operators(), op) {
		return "", &Error{Position: t.at, Message: fmt.Sprintf("%s does not take %s; expected %s", f.Name, op, operatorList(f))}
	}
	return op, nil
}

func (p *parser) anyOperator(f Field) (Op, error) {
	t := p.peek()
	switch {
	case p.accept("IN"):
		return In, nil
	case p.accept("NOT"):
		if !p.accept("IN") {
			return "", p.expected("IN")
		}
		return NotIn, nil
	case p.accept("IS"):
		negative := p.accept("NOT")
		if !p.accept("NULL") {
			return "", p.expected("NULL")
		}
		if negative {
			return IsNotNull, nil
		}
		return IsNull, nil
	case t.kind == symbol && slices.Contains(allOperators, Op(t.text)):
		p.at++
		return Op(t.text), nil
	default:
		return "", p.expected(operatorList(f))
	}
}

func operatorList(f Field) string {
	var names []string
	for _, op := range f.Type.Operators() {
		names = append(names, string(op))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

func (p *parser) list(f Field) ([]Value, error) {
	if !p.accept("(") {
		return nil, p.expected("an opening parenthesis")
	}
	var values []Value
	for {
		at := p.peek().at
		v, err := p.value(f)
		if err != nil {
			return nil, err
		}
		if values = append(values, v); len(values) > MaxValues {
			return nil, &Error{Position: at, Message: fmt.Sprintf("more than %d values", MaxValues)}
		}
		if p.accept(")") {
			return values, nil
		}
		if !p.accept(",") {
			return nil, p.expected("a comma or a closing parenthesis")
		}
	}
}

func (p *parser) value(f Field) (Value, error) {
	t := p.peek()
	literal, ok := p.literal()
	v, expected := f.read(literal)
	if !ok || expected != "" {
		if expected == "" {
			_, expected = f.read(nil)
		}
		return Value{}, &Error{Position: t.at, Message: fmt.Sprintf("expected %s for %s, found %s", expected, f.Name, t.describe())}
	}
	return v, nil
}

// literal takes what is written like a value.
func (p *parser) literal() (any, bool) {
	t := p.peek()
	switch {
	case t.kind == text, t.kind == integer, t.kind == relative:
		p.at++
		return t.value, true
	case t.is("TRUE"), t.is("FALSE"):
		p.at++
		return t.is("TRUE"), true
	case t.is("NOW"), t.is("TODAY"):
		if p.tokens[p.at+1].is("(") && p.tokens[p.at+2].is(")") {
			p.at += 3
			return Clock{Today: t.is("TODAY")}, true
		}
	}
	return nil, false
}
