package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A fieldError is a mistake in a request, at a place.
type fieldError struct {
	// path is a JSON pointer (RFC 6901), empty for the whole.
	path    string
	message string
}

func (e *fieldError) Error() string {
	if e.path == "" {
		return e.message
	}
	return e.path + ": " + e.message
}

// decodeBody reads a message from JSON. What it keeps of body is copied.
func (s *shape) decodeBody(body []byte, m protoreflect.Message) error {
	if !utf8.Valid(body) {
		return &fieldError{message: "the body is not UTF-8"}
	}
	d := decoder{jsontext.NewDecoder(bytes.NewBuffer(body), anyJSON...)}
	if err := d.message(s, m); err != nil {
		return d.explain(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return &fieldError{message: "the body goes on after its JSON value"}
	}
	return nil
}

type decoder struct{ *jsontext.Decoder }

// explain turns what the reader of JSON found into a mistake at a place.
func (d decoder) explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &fieldError{message: "the body ends before its JSON value does"}
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return &fieldError{
			path:    string(syntax.JSONPointer),
			message: "the body is not valid JSON at byte " + strconv.FormatInt(syntax.ByteOffset, 10) + ": " + syntax.Err.Error(),
		}
	}
	return err
}

// wrong says what is wrong with the value that was read last.
func (d decoder) wrong(format string, args ...any) error {
	return &fieldError{path: string(d.StackPointer()), message: fmt.Sprintf(format, args...)}
}

// want says that the next value should have been another.
func (d decoder) want(what string) error {
	if err := d.SkipValue(); err != nil {
		return err
	}
	return d.wrong("want %s", what)
}

// enter reads the beginning of an object or an array.
func (d decoder) enter(kind jsontext.Kind, what string) error {
	if d.PeekKind() != kind {
		return d.want(what)
	}
	_, err := d.ReadToken()
	return err
}

func (d decoder) message(s *shape, m protoreflect.Message) error {
	if s.format != asObject {
		return d.moment(s, m)
	}
	if err := d.enter('{', "an object"); err != nil {
		return err
	}
	seen := make([]bool, len(s.fields))
	for d.PeekKind() != '}' {
		name, err := d.text()
		if err != nil {
			return err
		}
		f, ok := s.named[name]
		if !ok {
			return d.wrong("unknown field")
		}
		if seen[f.place] {
			return d.wrong("given twice")
		}
		seen[f.place] = true
		if err := d.field(f, m); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// field reads a member of a message. A null stands for nothing at all.
func (d decoder) field(f *field, m protoreflect.Message) error {
	if d.PeekKind() == 'n' {
		return d.SkipValue()
	}
	if f.oneof != nil {
		if other := m.WhichOneof(f.oneof); other != nil {
			if err := d.SkipValue(); err != nil {
				return err
			}
			return d.wrong("cannot be given together with %s", other.JSONName())
		}
	}
	switch {
	case f.desc.IsMap():
		return d.entries(f, m.Mutable(f.desc).Map())
	case f.desc.IsList():
		return d.items(f, m.Mutable(f.desc).List())
	case f.elem != nil:
		return d.message(f.elem, m.Mutable(f.desc).Message())
	default:
		v, err := d.scalar(f)
		if err == nil {
			m.Set(f.desc, v)
		}
		return err
	}
}

func (d decoder) entries(f *field, entries protoreflect.Map) error {
	if err := d.enter('{', "an object"); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.text()
		if err != nil {
			return err
		}
		key := protoreflect.ValueOfString(name).MapKey()
		if entries.Has(key) {
			return d.wrong("given twice")
		}
		var v protoreflect.Value
		if f.elem != nil {
			v = entries.NewValue()
			err = d.message(f.elem, v.Message())
		} else {
			v, err = d.scalar(f)
		}
		if err != nil {
			return err
		}
		entries.Set(key, v)
	}
	_, err := d.ReadToken()
	return err
}

func (d decoder) items(f *field, list protoreflect.List) error {
	if err := d.enter('[', "an array"); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if f.elem != nil {
			if err := d.message(f.elem, list.AppendMutable().Message()); err != nil {
				return err
			}
			continue
		}
		v, err := d.scalar(f)
		if err != nil {
			return err
		}
		list.Append(v)
	}
	_, err := d.ReadToken()
	return err
}

// scalar reads one value that is no message. A payload is kept byte for byte.
func (d decoder) scalar(f *field) (v protoreflect.Value, err error) {
	switch kind := f.value.Kind(); kind {
	case protoreflect.BytesKind:
		raw, err := d.ReadValue()
		return protoreflect.ValueOfBytes(bytes.Clone(raw)), err
	case protoreflect.StringKind:
		if d.PeekKind() != '"' {
			return v, d.want("a string")
		}
		text, err := d.text()
		return protoreflect.ValueOfString(text), err
	case protoreflect.BoolKind:
		switch d.PeekKind() {
		case 't', 'f':
			token, err := d.ReadToken()
			return protoreflect.ValueOfBool(err == nil && token.Kind() == 't'), err
		default:
			return v, d.want("true or false")
		}
	default:
		if d.PeekKind() != '0' {
			return v, d.want("a number")
		}
		raw, err := d.ReadValue()
		if err != nil {
			return v, err
		}
		if v, err = parseNumber(kind, string(raw)); err != nil {
			return v, d.wrong("%s", err.Error())
		}
		return v, nil
	}
}

// text reads a string. An escape that stands for half a character is refused:
// text in UTF-8 cannot hold it.
func (d decoder) text() (string, error) {
	raw, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", d.wrong("holds an escape that is no character")
	}
	return string(text), nil
}

// moment reads a timestamp or a duration.
func (d decoder) moment(s *shape, m protoreflect.Message) error {
	if d.PeekKind() != '"' {
		return d.want(s.format.wanted())
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	if err := s.parseMoment(text, m); err != nil {
		return d.wrong("%s", err.Error())
	}
	return nil
}

func (f format) wanted() string {
	if f == asDuration {
		return `a duration in seconds, such as "90s" or "0.5s"`
	}
	return `a time of RFC 3339, such as "2026-01-31T12:00:00Z"`
}

func (s *shape) parseMoment(text string, m protoreflect.Message) error {
	var seconds, nanos int64
	ok := false
	if s.format == asDuration {
		seconds, nanos, ok = parseDuration(text)
	} else if t, err := time.Parse(time.RFC3339Nano, text); err == nil && !strings.Contains(text, ",") {
		seconds, nanos = t.Unix(), int64(t.Nanosecond())
		ok = seconds >= minSeconds && seconds <= maxSeconds
	}
	if !ok {
		return errors.New("want " + s.format.wanted())
	}
	fields := m.Descriptor().Fields()
	m.Set(fields.ByNumber(1), protoreflect.ValueOfInt64(seconds))
	m.Set(fields.ByNumber(2), protoreflect.ValueOfInt32(int32(nanos)))
	return nil
}

// parseDuration reads seconds with up to nine decimals and an s behind them.
func parseDuration(text string) (seconds, nanos int64, ok bool) {
	number, ok := strings.CutSuffix(text, "s")
	if !ok {
		return 0, 0, false
	}
	number, negative := strings.CutPrefix(number, "-")
	whole, fraction, dotted := strings.Cut(number, ".")
	if dotted && fraction == "" || len(fraction) > 9 || !digits(whole) || fraction != "" && !digits(fraction) {
		return 0, 0, false
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds > maxDurationSeconds {
		return 0, 0, false
	}
	nanos, err = strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if negative {
		seconds, nanos = -seconds, -nanos
	}
	return seconds, nanos, err == nil
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// maxExact is the greatest integer below which a float64 holds every other.
const maxExact = 1 << 53

// parseNumber reads a number of a kind. Integers are read as such, whatever their
// size; some programs write them with a fraction of nothing, and those are read
// as far as they are exact.
func parseNumber(kind protoreflect.Kind, text string) (protoreflect.Value, error) {
	var v protoreflect.Value
	switch kind {
	case protoreflect.FloatKind:
		n, err := strconv.ParseFloat(text, 32)
		return protoreflect.ValueOfFloat32(float32(n)), numberError(err, text)
	case protoreflect.DoubleKind:
		n, err := strconv.ParseFloat(text, 64)
		return protoreflect.ValueOfFloat64(n), numberError(err, text)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") {
		if n != math.Trunc(n) || math.Abs(n) > maxExact {
			return v, errors.New("want an integer")
		}
		text = strconv.FormatFloat(n, 'f', 0, 64)
	}
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), numberError(err, text)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), numberError(err, text)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), numberError(err, text)
	default: // the signed ones of 64 bits
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), numberError(err, text)
	}
}

func numberError(err error, text string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange), strings.HasPrefix(text, "-"):
		return errors.New("the number is out of range")
	default:
		return errors.New("want a number")
	}
}
