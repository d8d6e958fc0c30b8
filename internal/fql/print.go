package fql

import "strings"

// String writes a query so that Parse reads the same one.
func (q Query) String() string {
	var b strings.Builder
	if q.Where != nil {
		write(&b, q.Where, 0)
	}
	if q.Order != nil {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("ORDER BY " + writeField(q.Order.Field))
		if q.Order.Descending {
			b.WriteString(" DESC")
		}
	}
	return b.String()
}

// How strongly nodes bind: what binds less strongly than its place needs
// parentheses there.
const (
	bindsOr = iota
	bindsAnd
	bindsNot
)

func write(b *strings.Builder, n Node, place int) {
	switch n := n.(type) {
	case Or:
		writePair(b, n.Left, " OR ", n.Right, bindsOr, place)
	case And:
		writePair(b, n.Left, " AND ", n.Right, bindsAnd, place)
	case Not:
		b.WriteString("NOT ")
		write(b, n.Node, bindsNot)
	case *Condition:
		b.WriteString(n.String())
	}
}

func writePair(b *strings.Builder, left Node, op string, right Node, binds, place int) {
	if binds < place {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	write(b, left, binds)
	b.WriteString(op)
	// A chain is read from the left: on the right, an equal needs parentheses.
	write(b, right, binds+1)
}

// String writes a condition.
func (c *Condition) String() string {
	s := writeField(c.Field) + " " + string(c.Op)
	switch c.Op {
	case IsNull, IsNotNull:
		return s
	case In, NotIn:
		values := make([]string, len(c.Values))
		for i, v := range c.Values {
			values[i] = writeValue(v.any)
		}
		return s + " (" + strings.Join(values, ", ") + ")"
	default:
		return s + " " + writeValue(c.Values[0].any)
	}
}

func writeField(f Field) string {
	if f.Type != Meta {
		return f.Name
	}
	key := f.MetadataKey()
	if strings.ContainsFunc(key, func(c rune) bool { return !inKey(c) }) {
		return metadataPrefix + quote(key)
	}
	return f.Name
}
