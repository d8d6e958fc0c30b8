package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/flovyn/flovyn-server/gen/flovyn/api/v1" // the API that is served
)

// FuzzRequest sends anything to the API as it is served, and to the library of the
// tests, which has kinds of fields that the API does not have.
//
// Whatever comes: an answer is JSON, a failure has a text, nothing but what the
// path says gets into what the path binds, and what was understood is understood
// again when it is written and read.
func FuzzRequest(f *testing.F) {
	var servers []*fuzzed
	servers = append(servers, newFuzzed(f, library(f)))
	protoregistry.GlobalFiles.RangeFilesByPackage("flovyn.api.v1", func(file protoreflect.FileDescriptor) bool {
		if file.Services().Len() > 0 {
			servers = append(servers, newFuzzed(f, file))
		}
		return true
	})
	const json = "application/json"
	for _, s := range servers {
		for _, o := range s.operations {
			for _, query := range []string{"", "limit=1&offset=2", "types=a&lastEventId=%31", "query=status%20%3D%20%22X%22&org=evil"} {
				path := strings.NewReplacer("{org}", "acme", "{identifier}", "key:a%2Fb").Replace(o.Path)
				path = strings.NewReplacer("{id}", "7", "{number}", "7", "{kind}", "a%20b").Replace(path)
				f.Add(o.Method, path, query, json, []byte(`{"kind":"a","input":{"id": 9007199254740993, "x":1.0},"metadata":{"a":"b"},"idempotencyKeyTTL":"1h"}`))
			}
		}
	}
	f.Add("POST", books, "", json, []byte(`{"numbers":{"aInt64":-1e3,"floats":[1.5]},"printedAt":"2026-01-31T12:00:00.5+01:00","soft":{},"sequel":{"pages":[null,[{}]]}}`))
	f.Add("POST", books, "", json+"; charset=utf-8", []byte(`{"org":"evil"}`))
	f.Fuzz(func(t *testing.T, method, path, query, content string, body []byte) {
		for _, s := range servers {
			s.check(t, method, path, query, content, body)
		}
	})
}

// fuzzed is a server that remembers what it understood.
type fuzzed struct {
	handler    *Handler
	operations []*Operation
	understood []protoreflect.Message
}

func newFuzzed(f *testing.F, file protoreflect.FileDescriptor) *fuzzed {
	f.Helper()
	s := &fuzzed{}
	all := handlers{}
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			out := methods.Get(j).Output()
			all[string(methods.Get(j).Name())] = func(_ context.Context, in protoreflect.Message, stream connect.ServerStream) error {
				s.understood = append(s.understood, in)
				return stream.Send(echo(in, out))
			}
		}
	}
	server := serve(file, all)
	var err error
	if s.operations, err = Operations(server.Specs()); err != nil {
		f.Fatal(err)
	}
	if s.handler, err = New(server, Config{MaxBytes: 1 << 20}); err != nil {
		f.Fatal(err)
	}
	return s
}

func (s *fuzzed) check(t *testing.T, method, path, query, content string, body []byte) {
	t.Helper()
	u, err := url.Parse("http://x" + path)
	if err != nil || u.Host != "x" {
		return // net/http refuses it
	}
	u.RawQuery = query
	req := &http.Request{Method: method, URL: u, Header: http.Header{"Content-Type": {content}}, Body: http.NoBody}
	req = req.WithContext(t.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	s.understood = nil
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, req)
	answer := w.Body.Bytes()
	switch {
	case w.Code == http.StatusNoContent, method == http.MethodHead && w.Code == http.StatusOK,
		w.Header().Get("Content-Type") == "text/event-stream":
	case w.Code >= 400:
		var p problem
		if err := json.Unmarshal(answer, &p); err != nil || p.Error == "" {
			t.Fatalf("%d: %q (%v)", w.Code, answer, err)
		}
	case !json.Valid(answer):
		t.Fatalf("%d: %q", w.Code, answer)
	}
	if w.Code >= 500 || w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden {
		t.Fatalf("%s %s answers %d: %s", method, path, w.Code, answer)
	}
	segments, err := split(u)
	for _, in := range s.understood {
		if err != nil {
			t.Fatalf("a path that cannot be read was understood: %v", err)
		}
		o, _ := s.handler.root.find(segments, method)
		checkUnderstood(t, o, segments, in)
	}
}

// checkUnderstood checks that the path had the last word, and that what was
// understood survives another time.
func checkUnderstood(t *testing.T, o *Operation, segments []string, in protoreflect.Message) {
	t.Helper()
	for i, s := range o.segment {
		if s.field != nil && !s.field.says(in, segments[i]) {
			t.Fatalf("%s is %v although the path says %q", s.field.name, in.Get(s.field.desc), segments[i])
		}
	}
	first, err := o.in.appendMessage(nil, in)
	if err != nil {
		t.Fatalf("what was understood cannot be written: %v", err)
	}
	again := dynamicpb.NewMessage(o.in.desc)
	if err := o.in.decodeBody(first, again); err != nil {
		t.Fatalf("%s is not understood: %v", first, err)
	}
	second, err := o.in.appendMessage(nil, again)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("written once it is %s, twice it is %s (%v)", first, second, err)
	}
}
