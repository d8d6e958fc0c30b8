package fql

import (
	"slices"
	"time"

	"pgregory.net/rapid"
)

// Draw makes a query about an entity.
func Draw(t *rapid.T, entity Entity) Query {
	var q Query
	if rapid.Bool().Draw(t, "where") {
		q.Where = drawNode(t, entity, 3)
	}
	if rapid.Bool().Draw(t, "ordered") {
		q.Order = &Order{Field: rapid.SampledFrom(entity.Fields()).Draw(t, "order"), Descending: rapid.Bool().Draw(t, "descending")}
	}
	return q
}

func drawNode(t *rapid.T, entity Entity, depth int) Node {
	if depth == 0 {
		return drawCondition(t, entity)
	}
	switch rapid.IntRange(0, 4).Draw(t, "node") {
	case 0:
		return And{drawNode(t, entity, depth-1), drawNode(t, entity, depth-1)}
	case 1:
		return Or{drawNode(t, entity, depth-1), drawNode(t, entity, depth-1)}
	case 2:
		return Not{drawNode(t, entity, depth-1)}
	default:
		return drawCondition(t, entity)
	}
}

func drawCondition(t *rapid.T, entity Entity) Node {
	all := entity.Fields()
	if entity.HasMetadata() {
		all = append(slices.Clip(all), metadataField(rapid.StringMatching(`[a-z "\\.é]{1,4}`).Draw(t, "key")))
	}
	f := rapid.SampledFrom(all).Draw(t, "field")
	c := &Condition{Field: f, Op: rapid.SampledFrom(f.Type.Operators()).Draw(t, "op")}
	switch c.Op {
	case IsNull, IsNotNull:
	case In, NotIn:
		for range rapid.IntRange(1, 4).Draw(t, "values") {
			c.Values = append(c.Values, drawValue(t, f))
		}
	default:
		c.Values = []Value{drawValue(t, f)}
	}
	return c
}

func drawValue(t *rapid.T, f Field) Value {
	switch f.Type {
	case Number:
		return Value{rapid.Int64().Draw(t, "number")}
	case Bool:
		return Value{rapid.Bool().Draw(t, "bool")}
	case Enum:
		return Value{rapid.SampledFrom(f.Values).Draw(t, "enum")}
	case UUID:
		return Value{rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "uuid")}
	case Time:
		switch rapid.IntRange(0, 3).Draw(t, "time") {
		case 0:
			return Value{Clock{}}
		case 1:
			return Value{Clock{Today: true}}
		case 2:
			return Value{Clock{Number: rapid.Int64Range(0, 999).Draw(t, "ago"), Unit: rapid.SampledFrom([]byte("smhdw")).Draw(t, "unit")}}
		default:
			return Value{time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC()}
		}
	default:
		return Value{rapid.StringMatching(`[^\x00]{0,6}`).Draw(t, "text")}
	}
}
