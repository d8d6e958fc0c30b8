package openapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/flovyn/flovyn-server/gen/flovyn/api/v1" // the API that is described
	"github.com/flovyn/flovyn-server/internal/openapi"
	"github.com/flovyn/flovyn-server/internal/openapi/openapitest"
	"github.com/flovyn/flovyn-server/internal/rest"
)

// example makes a server whose procedures accept what is valid and answer with what
// the document shows.
type example struct {
	mux      *http.ServeMux
	document []byte
	root     map[string]any
}

func newExample(t *testing.T) *example {
	t.Helper()
	e := &example{mux: http.NewServeMux()}
	server := connect.NewServer()
	protoregistry.GlobalFiles.RangeFilesByPackage("flovyn.api.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				server.Register(method(t, methods.Get(j)))
			}
		}
		return true
	})
	handler, err := rest.New(server, rest.Config{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	e.mux.Handle("/api/", handler)
	openapi.Mount(e.mux, handler.Operations(), "1.2.3")
	e.document = e.get(t, openapi.DocumentPath, "").Body.Bytes()
	if err := json.Unmarshal(e.document, &e.root); err != nil {
		t.Fatal(err)
	}
	return e
}

// method validates what it receives and answers with an empty message.
func method(t *testing.T, desc protoreflect.MethodDescriptor) connect.Method {
	t.Helper()
	stream := connect.StreamTypeUnary
	if desc.IsStreamingServer() {
		stream = connect.StreamTypeServer
	}
	return connect.Method{
		Spec: connect.Spec{
			StreamType: stream, Schema: desc, Procedure: "/" + string(desc.Parent().FullName()) + "/" + string(desc.Name()),
		},
		Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
			in := dynamicpb.NewMessage(desc.Input())
			if err := stream.Receive(in); err != nil {
				return err
			}
			if err := protovalidate.Validate(in); err != nil {
				return connect.NewError(connect.CodeInvalidArgument, err.Error())
			}
			return stream.Send(full(desc.Output(), 3))
		},
	}
}

// full makes a message in which everything has a value, down to a depth.
func full(desc protoreflect.MessageDescriptor, depth int) proto.Message {
	m := dynamicpb.NewMessage(desc)
	for i := range desc.Fields().Len() {
		f := desc.Fields().Get(i)
		value := func(f protoreflect.FieldDescriptor) protoreflect.Value {
			switch {
			case f.Message() != nil:
				return protoreflect.ValueOfMessage(full(f.Message(), depth-1).ProtoReflect())
			case f.Kind() == protoreflect.BytesKind:
				return protoreflect.ValueOfBytes([]byte(`[{"a": 1.0}]`))
			case f.Kind() == protoreflect.StringKind:
				return protoreflect.ValueOfString("x")
			default:
				return f.Default()
			}
		}
		switch {
		case depth == 0 || desc.ParentFile().Package() == "google.protobuf":
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), value(f.MapValue()))
		case f.IsList():
			m.Mutable(f).List().Append(value(f))
		default:
			m.Set(f, value(f))
		}
	}
	return m
}

func (e *example) get(t *testing.T, path, encoding string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	req.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	e.mux.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("%s answers %d", path, w.Code)
	}
	return w
}

// at returns what stands at a path of the document.
func at(value any, names ...string) any {
	for _, name := range names {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

// Every example of a request is accepted, every answer is as documented, and so is
// every example of an answer.
func TestExamplesAreTrue(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	checker := openapitest.New(t, e.document)
	for id, operation := range checker.Operations() {
		verb, path, _ := strings.Cut(operation, " ")
		o := at(e.root, "paths", path, strings.ToLower(verb))
		var query []string
		parameters, _ := at(o, "parameters").([]any)
		for _, p := range parameters {
			name, _ := at(p, "name").(string)
			value, _ := at(p, "example").(string)
			switch at(p, "in") {
			case "path":
				if value == "" {
					t.Errorf("%s: the variable %s has no example", id, name)
				}
				path = strings.Replace(path, "{"+name+"}", url.PathEscape(value), 1)
			case "query":
				if at(p, "required") == true {
					query = append(query, name+"="+url.QueryEscape(value))
				}
			}
		}
		x := openapitest.Exchange{Method: verb, URL: path}
		if len(query) > 0 {
			x.URL += "?" + strings.Join(query, "&")
		}
		if shown := at(o, "requestBody", "content", "application/json", "example"); shown != nil {
			var err error
			if x.Body, err = json.Marshal(shown); err != nil {
				t.Fatal(err)
			}
		}
		req := httptest.NewRequest(x.Method, x.URL, bytes.NewReader(x.Body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.mux.ServeHTTP(w, req)
		x.Header, x.Status, x.AnswerHeader, x.Answer = req.Header, w.Code, w.Header(), w.Body.Bytes()
		if w.Code >= 300 {
			t.Errorf("%s with the example of its request answers %d: %s\n%s", id, w.Code, x.Answer, x.Body)
		}
		checker.Check(t, x)
		responses, _ := at(o, "responses").(map[string]any)
		for status, response := range responses {
			if shown := at(response, "content", "application/json", "example"); shown != nil && strings.HasPrefix(status, "2") {
				x.Answer, _ = json.Marshal(shown)
				checker.Check(t, x)
			}
		}
		if words, _ := at(o, "description").(string); words == "" {
			t.Errorf("%s has no description", id)
		}
	}
	if missing := checker.Missing(); len(missing) > 0 {
		t.Errorf("never answered: %v", missing)
	}
}

// What the document forbids is refused, and the refusal is as documented.
func TestRefusalsAreDocumented(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	checker := openapitest.New(t, e.document)
	for target, body := range map[string]string{
		"POST /api/orgs/acme/workflow-executions":           `{"kind":"","nonsense":1}`,
		"GET /api/orgs/acme/workflow-executions?limit=0":    "",
		"GET /api/orgs/acme/workflow-executions/not-a-uuid": "",
		"GET /api/orgs/acme/schedules?nonsense=1":           "",
	} {
		verb, path, _ := strings.Cut(target, " ")
		req := httptest.NewRequest(verb, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.mux.ServeHTTP(w, req)
		x := openapitest.Exchange{
			Method: verb, URL: path, Header: req.Header, Body: []byte(body),
			Status: w.Code, AnswerHeader: w.Header(), Answer: w.Body.Bytes(), Refused: true,
		}
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s answers %d", target, w.Code)
		}
		checker.Check(t, x)
		if x.Refused = false; checker.Conforms(x) == nil {
			t.Errorf("%s is allowed by the document", target)
		}
	}
}

func TestDocumentIsWhole(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	if got := at(e.root, "info", "version"); got != "1.2.3" || at(e.root, "openapi") != "3.1.0" {
		t.Errorf("version %v of %v", got, at(e.root, "openapi"))
	}
	var check func(value any)
	check = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if reference, ok := value["$ref"].(string); ok {
				if at(e.root, strings.Split(strings.TrimPrefix(reference, "#/"), "/")...) == nil {
					t.Errorf("%s leads nowhere", reference)
				}
			}
			for _, member := range value {
				check(member)
			}
		case []any:
			for _, item := range value {
				check(item)
			}
		}
	}
	check(e.root)
	tags, _ := e.root["tags"].([]any)
	for _, tag := range tags {
		if words, _ := at(tag, "description").(string); words == "" {
			t.Errorf("%v has no description", at(tag, "name"))
		}
	}
	if bytes.Contains(e.document, []byte("https://")) || bytes.Contains(e.document, []byte("http://")) {
		t.Error("the document names another host")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	e := newExample(t)
	w := e.get(t, openapi.PagePath, "")
	policy := w.Header().Get("Content-Security-Policy")
	for _, source := range []string{"http:", "https:", "*", "'unsafe-eval'", "script-src 'unsafe-inline'", "'self' "} {
		if strings.Contains(policy, source) {
			t.Errorf("the policy allows %s: %s", source, policy)
		}
	}
	page := w.Body.String()
	for _, loads := range []string{"<script src", "<link rel=\"stylesheet", "@import"} {
		if strings.Contains(page, loads) {
			t.Errorf("the page has %q", loads)
		}
	}
	if strings.Count(page, "<script") != 2 || strings.Count(page, "</script") != 2 || strings.Contains(page, "<!--") {
		t.Error("a script may end where it should not")
	}
	tag := w.Header().Get("ETag")
	if zipped := e.get(t, openapi.PagePath, "gzip"); zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Body.Len() > 600_000 {
		t.Errorf("compressed it has %d bytes", zipped.Body.Len())
	}
	req := httptest.NewRequest(http.MethodGet, openapi.PagePath, http.NoBody)
	req.Header.Set("If-None-Match", tag)
	again := httptest.NewRecorder()
	if e.mux.ServeHTTP(again, req); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("unchanged it is answered %d", again.Code)
	}
	post := httptest.NewRecorder()
	e.mux.ServeHTTP(post, httptest.NewRequest(http.MethodPost, openapi.PagePath, http.NoBody))
	if post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST is answered %d, Allow: %s", post.Code, post.Header().Get("Allow"))
	}
}
