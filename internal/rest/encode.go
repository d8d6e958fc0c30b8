package rest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// anyJSON accepts every JSON value of RFC 8259. Payloads are their authors': a
// member that is there twice stays there twice.
var anyJSON = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// appendMessage appends a message as JSON.
func (s *shape) appendMessage(b []byte, m protoreflect.Message) ([]byte, error) {
	switch s.format {
	case asTimestamp:
		return appendTimestamp(b, m)
	case asDuration:
		return appendDuration(b, m)
	case asObject:
	}
	b = append(b, '{')
	start := len(b)
	for _, f := range s.fields {
		has := m.Has(f.desc)
		if !has && (f.desc.IsMap() || f.oneof != nil) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		if !has && f.nullable() {
			b = append(b, "null"...)
			continue
		}
		var err error
		if b, err = f.append(b, m.Get(f.desc)); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// append appends a field's value, whatever its cardinality.
func (f *field) append(b []byte, v protoreflect.Value) (_ []byte, err error) {
	switch {
	case f.desc.IsMap():
		return f.appendMap(b, v.Map())
	case f.desc.IsList():
		list := v.List()
		b = append(b, '[')
		for i := range list.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = f.appendValue(b, list.Get(i)); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	default:
		return f.appendValue(b, v)
	}
}

// appendMap appends the entries of a map in the order of their keys, so that the
// same answer is the same bytes.
func (f *field) appendMap(b []byte, entries protoreflect.Map) (_ []byte, err error) {
	keys := make([]string, 0, entries.Len())
	for key := range entries.Range {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, key), ':')
		if b, err = f.appendValue(b, entries.Get(protoreflect.ValueOfString(key).MapKey())); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func (f *field) appendValue(b []byte, v protoreflect.Value) ([]byte, error) {
	switch f.value.Kind() {
	case protoreflect.MessageKind:
		return f.elem.appendMessage(b, v.Message())
	case protoreflect.BytesKind:
		return f.appendRaw(b, v.Bytes())
	case protoreflect.StringKind:
		return appendText(b, v.String()), nil
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.FloatKind:
		return appendFloat(b, v.Float(), 32), nil
	case protoreflect.DoubleKind:
		return appendFloat(b, v.Float(), 64), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	default: // a shape has no other kinds than these and signed integers
		return strconv.AppendInt(b, v.Int(), 10), nil
	}
}

// appendRaw appends a payload as it is. One that is no JSON would spoil the whole
// answer, so it fails instead.
func (f *field) appendRaw(b, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return append(b, "null"...), nil
	}
	if !jsontext.Value(payload).IsValid(anyJSON...) {
		return b, fmt.Errorf("%s holds %d bytes that are not JSON", f.desc.FullName(), len(payload))
	}
	return append(b, payload...), nil
}

func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // broken UTF-8 becomes the replacement character
	return b
}

// appendFloat appends a number; what JSON has no number for is null.
func appendFloat(b []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	return jsontext.AppendFloat(b, v, bits)
}

// secondsAndNanos reads a Timestamp or a Duration.
func secondsAndNanos(m protoreflect.Message) (seconds, nanos int64) {
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByNumber(1)).Int(), m.Get(fields.ByNumber(2)).Int()
}

const (
	maxNanos = 999_999_999
	// The years 1 to 9999 are those that RFC 3339 can write.
	minSeconds = -62135596800
	maxSeconds = 253402300799
	// maxDurationSeconds is about ten thousand years, google.protobuf's bound.
	maxDurationSeconds = 315_576_000_000
)

func appendTimestamp(b []byte, m protoreflect.Message) ([]byte, error) {
	seconds, nanos := secondsAndNanos(m)
	if seconds < minSeconds || seconds > maxSeconds || nanos < 0 || nanos > maxNanos {
		return b, fmt.Errorf("%d s and %d ns are not a time of RFC 3339", seconds, nanos)
	}
	b = append(b, '"')
	b = time.Unix(seconds, nanos).UTC().AppendFormat(b, "2006-01-02T15:04:05")
	return append(appendFraction(b, nanos), `Z"`...), nil
}

func appendDuration(b []byte, m protoreflect.Message) ([]byte, error) {
	seconds, nanos := secondsAndNanos(m)
	if max(seconds, -seconds) > maxDurationSeconds || max(nanos, -nanos) > maxNanos || seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0 {
		return b, fmt.Errorf("%d s and %d ns are not a duration", seconds, nanos)
	}
	b = append(b, '"')
	if seconds < 0 || nanos < 0 {
		b = append(b, '-')
	}
	b = strconv.AppendInt(b, max(seconds, -seconds), 10)
	return append(appendFraction(b, max(nanos, -nanos)), `s"`...), nil
}

// appendFraction appends nanoseconds with no, three, six or nine digits.
func appendFraction(b []byte, nanos int64) []byte {
	switch {
	case nanos == 0:
		return b
	case nanos%1e6 == 0:
		return fmt.Appendf(b, ".%03d", nanos/1e6)
	case nanos%1e3 == 0:
		return fmt.Appendf(b, ".%06d", nanos/1e3)
	default:
		return fmt.Appendf(b, ".%09d", nanos)
	}
}
