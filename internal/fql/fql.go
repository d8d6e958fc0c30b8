// Package fql is the query language of lists: a text to a small tree, checked
// against the fields of the entity that is asked for.
//
//	status IN ("FAILED", "CANCELLED") AND createdAt > -7d AND metadata.region = "eu" ORDER BY createdAt DESC
//
// # Grammar
//
//	query     = [ or ] [ ORDER BY field [ ASC | DESC ] ]
//	or        = and { OR and }
//	and       = not { AND not }
//	not       = NOT not | "(" or ")" | condition
//	condition = field compare value | field [ NOT ] IN "(" value { "," value } ")" | field IS [ NOT ] NULL
//	compare   = "=" | "!=" | ">" | ">=" | "<" | "<=" | "~" | "!~"
//	field     = name | metadata.key | metadata."any key"
//	value     = "text" | number | true | false | -7d | NOW() | TODAY()
//
// Keywords are written in any case; names and values are taken as they are.
//
// # Meaning
//
// A comparison is true or false, and nothing between: one with a field that is
// absent is false, and each negative operator is the opposite of its positive
// one. So NOT kind = "a" and kind != "a" always mean the same.
//
// Nothing here knows SQL: what a tree means is said by Match, and package search
// turns it into a statement that means the same.
package fql

import (
	"fmt"
	"time"
)

// The limits of a query.
const (
	// MaxBytes bounds a query's text.
	MaxBytes = 4096
	// MaxConditions bounds the conditions in it.
	MaxConditions = 50
	// MaxValues bounds the values of one IN.
	MaxValues = 100
	// MaxDepth bounds how deeply parentheses and NOTs are nested.
	MaxDepth = 50
	// MaxRows bounds what one request returns.
	MaxRows = 1000
)

// Error says what is wrong with a query, and where.
type Error struct {
	// Position counts characters from 0.
	Position int
	// Message says what was expected.
	Message string
}

// Error returns the message with its position, counted from 1 as editors do.
func (e *Error) Error() string {
	return fmt.Sprintf("at character %d: %s", e.Position+1, e.Message)
}

// Query is a checked query.
type Query struct {
	// Where is nil when everything is asked for.
	Where Node
	// Order is nil when the query does not say.
	Order *Order
}

// Node is a part of a query's condition: And, Or, Not or *Condition.
type Node interface{ node() }

// And is true when both are.
type And struct{ Left, Right Node }

// Or is true when one of both is.
type Or struct{ Left, Right Node }

// Not is true when its node is not.
type Not struct{ Node Node }

// Condition compares a field with values.
type Condition struct {
	Field Field
	Op    Op
	// Values are one value, those of an IN, or none for IS NULL.
	Values []Value
}

func (And) node()        {}
func (Or) node()         {}
func (Not) node()        {}
func (*Condition) node() {}

// Order is what a list is sorted by.
type Order struct {
	Field      Field
	Descending bool
}

// Op is an operator.
type Op string

// The operators.
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Less         Op = "<"
	LessEqual    Op = "<="
	Contains     Op = "~"
	NotContains  Op = "!~"
	In           Op = "IN"
	NotIn        Op = "NOT IN"
	IsNull       Op = "IS NULL"
	IsNotNull    Op = "IS NOT NULL"
)

// opposites are the operators that are true where the other is false, also for
// fields that are absent.
var opposites = map[Op]Op{
	Equal: NotEqual, NotEqual: Equal, Contains: NotContains, NotContains: Contains,
	In: NotIn, NotIn: In, IsNull: IsNotNull, IsNotNull: IsNull,
}

// Opposite returns the operator that is true where op is false. Of comparisons by
// order there is none: an absent field is neither below nor above.
func (op Op) Opposite() (Op, bool) {
	opposite, ok := opposites[op]
	return opposite, ok
}

// Value is one value of a condition: a string, an int64, a bool, a Clock, or a
// time.Time that a text stood for.
type Value struct{ any }

// ValueOf makes a value of a string, an int64, a bool, a Clock or a time.
func ValueOf(v any) Value { return Value{v} }

// At returns the value with the clock read: a string, an int64, a bool or a
// time.Time.
func (v Value) At(now time.Time) any {
	if clock, ok := v.any.(Clock); ok {
		return clock.At(now)
	}
	return v.any
}

// Clock is a time that depends on when the query runs.
type Clock struct {
	// Today stands for the beginning of the day in UTC.
	Today bool
	// Ago is how long before; the number and unit are kept as they were written.
	Number int64
	Unit   byte
}

// units of relative times.
var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// maxAgo bounds relative times: about a hundred years.
const maxAgo = 100 * 365 * 24 * time.Hour

// At returns the time that is meant at a time.
func (c Clock) At(now time.Time) time.Time {
	now = now.UTC()
	if c.Today {
		return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	}
	return now.Add(-time.Duration(c.Number) * units[c.Unit])
}

// Mentions reports whether a condition of the query is about a field.
func (q Query) Mentions(field string) bool { return mentions(q.Where, field) }

func mentions(n Node, field string) bool {
	switch n := n.(type) {
	case And:
		return mentions(n.Left, field) || mentions(n.Right, field)
	case Or:
		return mentions(n.Left, field) || mentions(n.Right, field)
	case Not:
		return mentions(n.Node, field)
	case *Condition:
		return n.Field.Name == field
	default:
		return false
	}
}
