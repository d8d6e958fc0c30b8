package history

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// object builds a JSON object by splicing. Payloads are never decoded and
// encoded again, so that {"id": 9007199254740993} survives unchanged.
type object struct{ buf []byte }

func newObject(sizeHint int) *object {
	return &object{buf: append(make([]byte, 0, sizeHint+64), '{')}
}

func (o *object) key(name string) {
	if len(o.buf) > 1 {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(o.buf, '"')
	o.buf = append(o.buf, name...) // keys are our own constants
	o.buf = append(o.buf, '"', ':')
}

func (o *object) text(name, value string) *object {
	o.key(name)
	o.buf = appendString(o.buf, value)
	return o
}

func (o *object) number(name string, value int64) *object {
	o.key(name)
	o.buf = strconv.AppendInt(o.buf, value, 10)
	return o
}

func (o *object) boolean(name string, value bool) *object {
	o.key(name)
	o.buf = strconv.AppendBool(o.buf, value)
	return o
}

// raw splices a JSON value; an empty one becomes null, because SDKs treat a
// missing key differently from a null one.
func (o *object) raw(name string, value []byte) *object {
	o.key(name)
	if len(value) == 0 {
		o.buf = append(o.buf, "null"...)
	} else {
		o.buf = append(o.buf, value...)
	}
	return o
}

func (o *object) bytes() []byte { return append(o.buf, '}') }

// appendString appends s as a JSON string without escaping HTML.
func appendString(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(buf, s)
		}
	}
	buf = append(buf, '"')
	buf = append(buf, s...)
	return append(buf, '"')
}

func appendEscaped(buf []byte, s string) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil { // a string always encodes
		return append(buf, `""`...)
	}
	return append(buf, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// maxDepth bounds the nesting of payloads. Readers have limits of their own, and
// a value just inside of one is outside once it stands in an event.
const maxDepth = 1000

// Payload checks a value that came from outside and returns it without
// surrounding white space. Empty stands for null. The bytes must be one JSON
// value in UTF-8, at most limit bytes long; field names it in the error.
func Payload(field string, value []byte, limit int) ([]byte, error) {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0:
		return nil, nil
	case len(value) > limit:
		return nil, &fault.Error{
			Kind: fault.Exhausted, Field: field,
			Message: field + ": " + strconv.Itoa(len(value)) + " bytes of JSON exceed the limit of " + strconv.Itoa(limit),
		}
	case !utf8.Valid(value) || !json.Valid(value):
		return nil, fault.InvalidField(field, "not a valid JSON value in UTF-8")
	case depth(value) > maxDepth:
		return nil, fault.InvalidField(field, "nested deeper than %d levels", maxDepth)
	}
	return value, nil
}

// depth returns how deep valid JSON is nested.
func depth(value []byte) int {
	level, deepest, quoted := 0, 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[' || c == '{':
			level++
			deepest = max(deepest, level)
		case c == ']' || c == '}':
			level--
		}
	}
	return deepest
}

// OrNull returns value, or the JSON null when it is empty.
func OrNull(value []byte) []byte {
	if len(value) == 0 {
		return []byte("null")
	}
	return value
}

// Member returns the raw JSON of one member of an event's data, nil when absent.
func Member(data []byte, name string) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil
	}
	return members[name]
}
