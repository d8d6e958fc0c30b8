package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/flovyn/flovyn-server/internal/openapi/openapitest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// speaker makes a call of the management API in one protocol. It returns what was
// sent and what came back, as texts, and stops a stream after so many messages
// when that is not zero.
type speaker interface {
	call(ctx context.Context, t *testing.T, method protoreflect.MethodDescriptor, req proto.Message, most int) (sent, got string)
}

// answered is what came with an answer.
type answered struct {
	status          int
	header, trailer http.Header
}

// send sends a request and returns the whole answer, or as much as enough wants.
func send(ctx context.Context, t *testing.T, client *http.Client, method, url, contentType string, body []byte, enough func([]byte) bool) (answered, []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+servertest.AdminKey)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := response.Body.Read(buf)
		text = append(text, buf[:n]...)
		switch {
		case err == io.EOF, enough(text):
			return answered{response.StatusCode, response.Header, response.Trailer}, text
		case err != nil:
			t.Fatalf("%s %s: reading the answer: %v, after %q", method, url, err, text)
		}
	}
}

// overREST speaks REST, by the annotations of the methods.
type overREST struct {
	client *http.Client
	base   string
	// checker holds what is sent and answered against the document of the API.
	checker *openapitest.Checker
}

func (r overREST) call(ctx context.Context, t *testing.T, method protoreflect.MethodDescriptor, req proto.Message, most int) (sent, got string) {
	t.Helper()
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		t.Fatalf("%s has no path", method.FullName())
	}
	verb, path := "GET", rule.GetGet()
	switch {
	case rule.GetPost() != "":
		verb, path = "POST", rule.GetPost()
	case rule.GetPut() != "":
		verb, path = "PUT", rule.GetPut()
	case rule.GetDelete() != "":
		verb, path = "DELETE", rule.GetDelete()
	}
	body := &strings.Builder{}
	query := url.Values{}
	m := req.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if variable := "{" + string(f.Name()) + "}"; strings.Contains(path, variable) {
			path = strings.ReplaceAll(path, variable, url.PathEscape(m.Get(f).String()))
			continue
		}
		if !m.Has(f) {
			continue
		}
		if rule.GetBody() == "" {
			query.Set(f.JSONName(), m.Get(f).String())
			continue
		}
		if body.Len() > 0 {
			body.WriteByte(',')
		}
		body.WriteString(strconv.Quote(f.JSONName()) + ":" + render(f, m.Get(f)))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	contentType, text := "", ""
	if rule.GetBody() != "" {
		contentType, text = "application/json", "{"+body.String()+"}"
	}
	response, answer := send(ctx, t, r.client, verb, r.base+path, contentType, []byte(text), func(b []byte) bool {
		return most > 0 && bytes.Count(b, []byte("\ndata: ")) >= most && bytes.HasSuffix(b, []byte("\n\n"))
	})
	r.checker.Check(t, openapitest.Exchange{
		Method: verb, URL: path, Body: []byte(text), Status: response.status, AnswerHeader: response.header, Answer: answer,
		Refused: response.status >= http.StatusBadRequest,
	})
	return verb + " " + path + "\n" + text, fmt.Sprintf("%d\n%s", response.status, answer)
}

// render writes a value as REST does: payloads as they are.
func render(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.IsMap():
		var members []string
		v.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			members = append(members, strconv.Quote(key.String())+":"+renderOne(f.MapValue(), value))
			return true
		})
		slices.Sort(members)
		return "{" + strings.Join(members, ",") + "}"
	case f.IsList():
		items := make([]string, v.List().Len())
		for i := range items {
			items[i] = renderOne(f, v.List().Get(i))
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		return renderOne(f, v)
	}
}

func renderOne(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.BytesKind:
		return string(v.Bytes())
	case protoreflect.StringKind:
		text, _ := json.Marshal(v.String())
		return string(text)
	case protoreflect.MessageKind:
		return renderMessage(v.Message())
	default:
		return fmt.Sprint(v.Interface())
	}
}

func renderMessage(m protoreflect.Message) string {
	if m.Descriptor().FullName() == "google.protobuf.Timestamp" {
		return `"<time>"`
	}
	var members []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); m.Has(f) {
			members = append(members, strconv.Quote(f.JSONName())+":"+render(f, m.Get(f)))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func pathOf(method protoreflect.MethodDescriptor) string {
	return "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
}

// answers renders messages and a verdict as a text.
func answers(verdict string, messages []proto.Message) string {
	lines := []string{verdict}
	for _, m := range messages {
		lines = append(lines, renderMessage(m.ProtoReflect()))
	}
	return strings.Join(lines, "\n")
}

// connectJSON speaks Connect with JSON.
type connectJSON struct {
	client *http.Client
	base   string
}

func (c connectJSON) call(ctx context.Context, t *testing.T, method protoreflect.MethodDescriptor, req proto.Message, most int) (sent, got string) {
	t.Helper()
	body, err := protojson.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	url := c.base + pathOf(method)
	if !method.IsStreamingServer() {
		response, answer := send(ctx, t, c.client, "POST", url, "application/json", body, never)
		if response.status != http.StatusOK {
			return pathOf(method), verdictOf(t, answer)
		}
		return pathOf(method), answers("ok", []proto.Message{decodeJSON(t, method, answer)})
	}
	_, answer := send(ctx, t, c.client, "POST", url, "application/connect+json", envelope(body), func(b []byte) bool {
		return most > 0 && len(envelopes(b)) >= most
	})
	var messages []proto.Message
	verdict := "ok"
	for _, e := range envelopes(answer) {
		if e.flags&2 != 0 {
			if bytes.Contains(e.body, []byte(`"error"`)) {
				verdict = verdictOf(t, e.body)
			}
			continue
		}
		messages = append(messages, decodeJSON(t, method, e.body))
	}
	return pathOf(method), answers(verdict, messages)
}

func never([]byte) bool { return false }

func decodeJSON(t *testing.T, method protoreflect.MethodDescriptor, text []byte) proto.Message {
	t.Helper()
	m := dynamicpb.NewMessage(method.Output())
	if err := protojson.Unmarshal(text, m); err != nil {
		t.Fatalf("%s: %v in %s", method.FullName(), err, text)
	}
	return m
}

// verdictOf reads a Connect error.
func verdictOf(t *testing.T, text []byte) string {
	t.Helper()
	var failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Details []struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"details"`
	}
	if err := json.Unmarshal(text, &failure); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	verdict := failure.Code + ": " + failure.Message
	var types strings.Builder
	for _, d := range failure.Details {
		if _, err := base64.RawStdEncoding.DecodeString(d.Value); err != nil {
			t.Errorf("a detail is no base64: %v", err)
		}
		types.WriteString(" [" + d.Type + "]")
	}
	verdict += types.String()
	return verdict
}

type enveloped struct {
	flags byte
	body  []byte
}

func envelope(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}

func envelopes(b []byte) (all []enveloped) {
	for len(b) >= 5 {
		n := int(binary.BigEndian.Uint32(b[1:5]))
		if len(b) < 5+n {
			break
		}
		all = append(all, enveloped{b[0], b[5 : 5+n]})
		b = b[5+n:]
	}
	return all
}

// grpcWire speaks gRPC.
type grpcWire struct {
	client *http.Client
	base   string
}

// grpcCodes are the names of the codes that the table meets.
var grpcCodes = map[string]string{
	"3": "invalid_argument", "5": "not_found", "6": "already_exists", "7": "permission_denied", "9": "failed_precondition",
	"12": "unimplemented",
}

func (g grpcWire) call(ctx context.Context, t *testing.T, method protoreflect.MethodDescriptor, req proto.Message, most int) (sent, got string) {
	t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	response, answer := send(ctx, t, g.client, "POST", g.base+pathOf(method), "application/grpc", envelope(body), func(b []byte) bool {
		return most > 0 && len(envelopes(b)) >= most
	})
	status, message := response.trailer.Get("Grpc-Status"), response.trailer.Get("Grpc-Message")
	if status == "" {
		status, message = response.header.Get("Grpc-Status"), response.header.Get("Grpc-Message")
	}
	verdict := "ok"
	if status != "" && status != "0" {
		text, err := url.PathUnescape(message)
		if err != nil {
			t.Fatal(err)
		}
		verdict = grpcCodes[status] + ": " + text
		if response.trailer.Get("Grpc-Status-Details-Bin")+response.header.Get("Grpc-Status-Details-Bin") != "" &&
			status == "3" {
			verdict += " [google.rpc.BadRequest]"
		}
	}
	var messages []proto.Message
	for _, e := range envelopes(answer) {
		m := dynamicpb.NewMessage(method.Output())
		if err := proto.Unmarshal(e.body, m); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return pathOf(method), answers(verdict, messages)
}

// normal replaces what differs from run to run. Identifiers are numbered in the
// order in which they are first seen.
type normal struct{ ids map[string]string }

var (
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?`)
	numbers = regexp.MustCompile(`(\\?"(?:timestampMs|fireAtMs|durationMs)\\?":)"?\d+"?`)
)

func (n *normal) text(s string) string {
	s = uuids.ReplaceAllStringFunc(s, func(id string) string {
		if _, known := n.ids[id]; !known {
			n.ids[id] = "<id-" + strconv.Itoa(len(n.ids)+1) + ">"
		}
		return n.ids[id]
	})
	return numbers.ReplaceAllString(times.ReplaceAllString(s, "<time>"), "${1}<n>")
}

// pick returns the first text under a key of an answer, in whatever protocol.
func pick(t *testing.T, answer, key string) string {
	t.Helper()
	found := regexp.MustCompile(`"` + key + `":\s*"([^"]+)"`).FindStringSubmatch(answer)
	if found == nil {
		t.Fatalf("no %s in %s", key, answer)
	}
	return found[1]
}
