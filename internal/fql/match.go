package fql

import (
	"cmp"
	"strings"
	"time"
)

// Match says whether a query's condition is true of an item at a time. value
// returns a field of the item as Value.At does, nil when it is absent.
func (q Query) Match(now time.Time, value func(Field) any) bool {
	return q.Where == nil || match(q.Where, now, value)
}

func match(n Node, now time.Time, value func(Field) any) bool {
	switch n := n.(type) {
	case And:
		return match(n.Left, now, value) && match(n.Right, now, value)
	case Or:
		return match(n.Left, now, value) || match(n.Right, now, value)
	case Not:
		return !match(n.Node, now, value)
	case *Condition:
		return n.match(now, value(n.Field))
	default:
		return false
	}
}

func (c *Condition) match(now time.Time, value any) bool {
	switch c.Op {
	case IsNull:
		return value == nil
	case NotEqual, NotContains, NotIn, IsNotNull:
		positive := *c
		positive.Op, _ = c.Op.Opposite()
		return !positive.match(now, value)
	}
	if value == nil {
		return false
	}
	for _, v := range c.Values {
		if c.holds(value, v.At(now)) {
			return true
		}
	}
	return false
}

func (c *Condition) holds(a, b any) bool {
	switch c.Op {
	case Contains:
		return strings.Contains(strings.ToLower(a.(string)), strings.ToLower(b.(string))) //nolint:errcheck // of texts alone
	case Greater:
		return compare(a, b) > 0
	case GreaterEqual:
		return compare(a, b) >= 0
	case Less:
		return compare(a, b) < 0
	case LessEqual:
		return compare(a, b) <= 0
	default:
		return compare(a, b) == 0
	}
}

func compare(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64)) //nolint:errcheck // checked by Parse
	case time.Time:
		return a.Compare(b.(time.Time)) //nolint:errcheck // checked by Parse
	case bool:
		if a == b {
			return 0
		}
		return 1
	case string:
		return cmp.Compare(a, b.(string)) //nolint:errcheck // checked by Parse
	default:
		return 1
	}
}
