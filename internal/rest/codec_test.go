package rest

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

func shapeOf(tb testing.TB, name protoreflect.Name) *shape {
	tb.Helper()
	s, err := shapes{}.of(library(tb).Messages().ByName(name))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// again reads JSON and writes it.
func (s *shape) again(body string) (string, error) {
	m := dynamicpb.NewMessage(s.desc)
	if err := s.decodeBody([]byte(body), m); err != nil {
		return "", err
	}
	out, err := s.appendMessage(nil, m)
	return string(out), err
}

// What nobody set is null, an empty list or a zero; maps and oneofs are left out.
const emptyBook = `{"org":"","id":"","subtitle":null,"content":null,"pages":[],"tags":[],"author":null,"editors":[],` +
	`"printedAt":null,"readingTime":null,"idempotencyKeyTtl":null,"cover":null,"numbers":null,"sequel":null}`

func TestEmptyMessage(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	for _, body := range []string{"{}", " {\n} ", `{"id":null,"pages":null,"metadata":null,"content":null,"author":null,"hard":null,"soft":null}`} {
		if got, err := book.again(body); err != nil || got != emptyBook {
			t.Errorf("%s: %v\n%s", body, err, cmp.Diff(emptyBook, got))
		}
	}
}

// Payloads are their authors': nothing in them is changed, whatever it is.
func TestPayloadsAreKeptByteForByte(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	payloads := []string{
		`{"id": 9007199254740993, "x": 1.0, "s": "é\u0000ok"}`,
		`{"a":1,"a":2,"a":{"a":[ ]}}`,
		"[1e400,\t-0.0,1E+2 ,\r\n 0.10000000000000000000000000001]",
		`"\ud800 lone, \/ and \u00e9 and é"`,
		`"<script>&amp;\u2028"`, `true`, `0`, `""`,
		strings.Repeat("[", 900) + strings.Repeat("]", 900),
	}
	for _, payload := range payloads {
		body := fmt.Sprintf(`{"content": %[1]s ,"pages":[ %[1]s,%[1]s],"appendix":{"k": %[1]s},"cover":%[1]s,"digital":%[1]s}`, payload)
		got, err := book.again(body)
		if err != nil {
			t.Errorf("%s: %v", payload, err)
			continue
		}
		for _, member := range []string{
			`"content":` + payload + `,`, `"pages":[` + payload + `,` + payload + `],`, `"appendix":{"k":` + payload + `}`,
			`"cover":` + payload + `,`, `"digital":` + payload + `,`,
		} {
			if !strings.Contains(got, member) {
				t.Errorf("%s is not in %s", member, got)
			}
		}
	}
	// Within lists and maps null is a value like any other.
	if got, err := book.again(`{"pages":[null, null],"appendix":{"k":null}}`); err != nil ||
		!strings.Contains(got, `"pages":[null,null],"appendix":{"k":null}`) {
		t.Errorf("nulls: %v %s", err, got)
	}
}

func TestFieldsAndNames(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	for body, want := range map[string]string{
		`{"idempotencyKeyTtl":"1h"}`:                      `"idempotencyKeyTtl":"1h"`,
		`{"idempotencyKeyTTL":"1h"}`:                      `"idempotencyKeyTtl":"1h"`,
		`{"idempotency_key_ttl":"1h"}`:                    `"idempotencyKeyTtl":"1h"`,
		`{"author":{"full_name":"A","bornIn":0}}`:         `"author":{"fullName":"A","bornIn":0}`,
		`{"metadata":{"b":"2","a":"\"\\\n\u0001é"}}`:      `"metadata":{"a":"\"\\\n\u0001é","b":"2"}`,
		`{"subtitle":""}`:                                 `"subtitle":""`,
		`{"subtitle":"\ud83d\ude00"}`:                     `"subtitle":"😀"`,
		`{"printedAt":"2026-01-31T12:00:00.5+01:00"}`:     `"printedAt":"2026-01-31T11:00:00.500Z"`,
		`{"printedAt":"2026-01-31T11:00:00.000001Z"}`:     `"printedAt":"2026-01-31T11:00:00.000001Z"`,
		`{"readingTime":"-1.25s"}`:                        `"readingTime":"-1.250s"`,
		`{"numbers":{"aInt64":9223372036854775807}}`:      `"aInt64":9223372036854775807`,
		`{"numbers":{"aUint64":18446744073709551615}}`:    `"aUint64":18446744073709551615`,
		`{"numbers":{"aInt32":1e3,"aInt64":-2.0}}`:        `"aInt32":1000,"aInt64":-2`,
		`{"numbers":{"many":[1,2],"floats":[0.1,1e300]}}`: `"many":[1,2],"floats":[0.1,1e+300]`,
		`{"numbers":{"anOptionalBool":false}}`:            `"aBool":false,"anOptionalBool":false`,
		`{"hard":""}`:                                     `"hard":""`,
		`{"soft":{}}`:                                     `"soft":{"fullName":"","bornIn":null}`,
		`{"reviewers":{"x":{"fullName":"R"}}}`:            `"reviewers":{"x":{"fullName":"R","bornIn":null}}`,
		`{"editors":[{},{"fullName":"E"}]}`:               `"editors":[{"fullName":"","bornIn":null},{"fullName":"E","bornIn":null}]`,
		`{"sequel":{"sequel":{"id":"3"}}}`:                `"id":"3"`,
	} {
		if got, err := book.again(body); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v\n%s\nhas no %s", body, err, got, want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	for body, want := range map[string]string{
		`{"nonsense":1}`:                       `/nonsense: unknown field`,
		`{"author":{"nonsense":1}}`:            `/author/nonsense: unknown field`,
		`{"editors":[{},{"bornIn":"x"}]}`:      `/editors/1/bornIn: want a number`,
		`{"id":"1","id":"1"}`:                  `/id: given twice`,
		`{"printedAt":null,"printed_at":null}`: `/printed_at: given twice`,
		`{"metadata":{"a/b":"1","a/b":"1"}}`:   `/metadata/a~1b: given twice`,
		`{"metadata":{"a":1}}`:                 `/metadata/a: want a string`,
		`{"metadata":[]}`:                      `/metadata: want an object`,
		`{"metadata":{"a":null}}`:              `/metadata/a: want a string`,
		`{"tags":"x"}`:                         `/tags: want an array`,
		`{"tags":[null]}`:                      `/tags/0: want a string`,
		`{"id":1}`:                             `/id: want a string`,
		`{"id":"\ud800"}`:                      `/id: holds an escape that is no character`,
		`{"numbers":{"aInt32":2147483648}}`:    `/numbers/aInt32: the number is out of range`,
		`{"numbers":{"aUint32":-1}}`:           `/numbers/aUint32: the number is out of range`,
		`{"numbers":{"aInt64":1.5}}`:           `/numbers/aInt64: want an integer`,
		`{"numbers":{"aInt64":"1"}}`:           `/numbers/aInt64: want a number`,
		`{"numbers":{"aDouble":1e400}}`:        `/numbers/aDouble: the number is out of range`,
		`{"numbers":{"aBool":"true"}}`:         `/numbers/aBool: want true or false`,
		`{"numbers":{"aBool":1}}`:              `/numbers/aBool: want true or false`,
		`{"printedAt":"yesterday"}`:            `/printedAt: want a time of RFC 3339, such as "2026-01-31T12:00:00Z"`,
		`{"printedAt":1}`:                      `/printedAt: want a time of RFC 3339, such as "2026-01-31T12:00:00Z"`,
		`{"readingTime":"1h"}`:                 `/readingTime: want a duration in seconds, such as "90s" or "0.5s"`,
		`{"hard":"1","soft":{}}`:               `/soft: cannot be given together with hard`,
		`[]`:                                   `want an object`,
		`null`:                                 `want an object`,
		``:                                     `the body ends before its JSON value does`,
		`{`:                                    `the body ends before its JSON value does`,
		`{} {}`:                                `the body goes on after its JSON value`,
		`{}x`:                                  `the body goes on after its JSON value`,
		"{\"id\":\"\xff\"}":                    `the body is not UTF-8`,
		`{"content":{"a":}}`:                   `/content/a: the body is not valid JSON at byte 16: invalid character '}' at start of value`,
		`{"content":01}`:                       `the body is not valid JSON at byte 12: invalid character '1' after object value (expecting ',' or '}')`,
		`{id:1}`:                               `the body is not valid JSON at byte 1: invalid character 'i' at start of value`,
	} {
		if got, err := book.again(body); err == nil || err.Error() != want {
			t.Errorf("%s: %q, %v, want %q", body, got, err, want)
		}
	}
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	if _, err := book.again(`{"content":` + deep + `}`); err == nil || !strings.Contains(err.Error(), "depth") {
		t.Errorf("a very deep payload: %v", err)
	}
	if _, err := book.again(strings.Repeat(`{"sequel":`, 20000)); err == nil {
		t.Error("a very deep message was taken")
	}
}

// What is no JSON never becomes part of an answer.
func TestBrokenPayloadIsNotWritten(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	m := dynamicpb.NewMessage(book.desc)
	m.Set(book.desc.Fields().ByName("content"), protoreflect.ValueOfBytes([]byte(`{"a":`)))
	if got, err := book.appendMessage(nil, m); err == nil {
		t.Errorf("written: %s", got)
	}
}

func TestUnservableTypes(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		`google.protobuf.Struct f = 1;`:                          "google.protobuf.Struct has no form in REST",
		`repeated google.protobuf.Struct f = 1;`:                 "google.protobuf.Struct has no form in REST",
		`map<int32, string> f = 1;`:                              "M.f: the keys of a map must be strings",
		`enum E { E_UNSPECIFIED = 0; } E f = 1;`:                 "M.f: enum has no form in REST",
		`int32 key_ttl = 1; int32 f = 2 [json_name = "keyTTL"];`: `M has two fields that are called "keyTTL"`,
	} {
		file, err := compile(`syntax = "proto3"; import "google/protobuf/struct.proto"; message M { ` + field + ` }`)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (shapes{}).of(file.Messages().Get(0)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", field, err, want)
		}
	}
}

// fill sets some fields of a message to anything that passes both codecs: no
// payloads, which protojson has in base64, and no more than wide says of what
// protojson writes as texts.
func fill(t *rapid.T, m protoreflect.Message, depth int, wide bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value := f
		if f.IsMap() {
			value = f.MapValue()
		}
		if value.Kind() == protoreflect.BytesKind || !wide && is64(value) || depth == 0 && value.Message() != nil ||
			!rapid.Bool().Draw(t, "set "+f.JSONName()) {
			continue
		}
		draw := func() protoreflect.Value {
			if value.Message() == nil {
				return drawScalar(t, value.Kind())
			}
			inner := dynamicpb.NewMessage(value.Message())
			switch value.Message().Name() {
			case "Timestamp":
				setMoment(inner, rapid.Int64Range(minSeconds, maxSeconds).Draw(t, "s"), rapid.Int32Range(0, maxNanos).Draw(t, "ns"))
			case "Duration":
				setMoment(inner, rapid.Int64Range(1, maxDurationSeconds).Draw(t, "s"), rapid.Int32Range(0, maxNanos).Draw(t, "ns"))
			default:
				fill(t, inner, depth-1, wide)
			}
			return protoreflect.ValueOfMessage(inner)
		}
		switch {
		case f.IsMap():
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(rapid.String().Draw(t, "key")).MapKey(), draw())
			}
		case f.IsList():
			for range rapid.IntRange(0, 3).Draw(t, "items") {
				m.Mutable(f).List().Append(draw())
			}
		default:
			m.Set(f, draw())
		}
	}
}

func setMoment(m protoreflect.Message, seconds int64, nanos int32) {
	m.Set(m.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfInt64(seconds))
	m.Set(m.Descriptor().Fields().ByNumber(2), protoreflect.ValueOfInt32(nanos))
}

func is64(f protoreflect.FieldDescriptor) bool {
	switch f.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return true
	default:
		return false
	}
}

func drawScalar(t *rapid.T, kind protoreflect.Kind) protoreflect.Value {
	switch kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(t, "text"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.Float32().Filter(finite32).Draw(t, "float"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Filter(finite).Draw(t, "double"))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	default:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	}
}

func finite(f float64) bool   { return !math.IsNaN(f) && !math.IsInf(f, 0) }
func finite32(f float32) bool { return finite(float64(f)) }

// protojson reads what this codec writes, and so does this codec itself.
func TestWritesWhatProtojsonReads(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	rapid.Check(t, func(t *rapid.T) {
		m := dynamicpb.NewMessage(book.desc)
		fill(t, m, 2, true)
		written, err := book.appendMessage(nil, m)
		if err != nil || !json.Valid(written) {
			t.Fatalf("%v: %s", err, written)
		}
		for name, read := range map[string]func([]byte, *dynamicpb.Message) error{
			"protojson":  func(b []byte, m *dynamicpb.Message) error { return protojson.Unmarshal(b, m) },
			"this codec": func(b []byte, m *dynamicpb.Message) error { return book.decodeBody(b, m) },
		} {
			back := dynamicpb.NewMessage(book.desc)
			if err := read(written, back); err != nil {
				t.Fatalf("%s: %v: %s", name, err, written)
			}
			if !proto.Equal(m, back) {
				t.Fatalf("%s reads %s as\n%v\nnot\n%v", name, written, back, m)
			}
		}
	})
}

// This codec reads what protojson writes, but for the integers that it has as
// texts.
func TestReadsWhatProtojsonWrites(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	rapid.Check(t, func(t *rapid.T) {
		m := dynamicpb.NewMessage(book.desc)
		fill(t, m, 2, false)
		written, err := protojson.MarshalOptions{UseProtoNames: rapid.Bool().Draw(t, "proto names")}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back := dynamicpb.NewMessage(book.desc)
		if err := book.decodeBody(written, back); err != nil || !proto.Equal(m, back) {
			t.Fatalf("%v: %s is read as\n%v", err, written, back)
		}
	})
}

func TestMomentsBeyondTheCalendar(t *testing.T) {
	t.Parallel()
	book := shapeOf(t, "Book")
	for name, seconds := range map[protoreflect.Name]int64{"printed_at": maxSeconds + 1, "reading_time": maxDurationSeconds + 1} {
		f := book.desc.Fields().ByName(name)
		m := dynamicpb.NewMessage(book.desc)
		setMoment(m.Mutable(f).Message(), seconds, 0)
		if got, err := book.appendMessage(nil, m); err == nil {
			t.Errorf("%s is written as %s", name, got)
		}
	}
	if _, err := time.Parse(time.RFC3339, "9999-12-31T23:59:59-01:00"); err != nil {
		t.Fatal(err)
	}
	if _, err := book.again(`{"printedAt":"9999-12-31T23:59:59-01:00"}`); err == nil {
		t.Error("a time in the year 10000 is taken")
	}
}
