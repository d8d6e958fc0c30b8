package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/flovyn/flovyn-server/internal/fault"
)

const books = "/api/orgs/acme/books"

// book is an empty book but for some members.
func book(members ...string) string {
	b := emptyBook
	for i := 0; i < len(members); i += 2 {
		for _, empty := range []string{`""`, "null", "[]"} {
			b = strings.Replace(b, `"`+members[i]+`":`+empty, `"`+members[i]+`":`+members[i+1], 1)
		}
	}
	return b
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	url := start(t, nil, Config{})
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string
		header             map[string]string
	}{
		"created": {
			"POST", books, `{"id":"7"}`, 201, book("org", `"acme"`, "id", `"7"`),
			map[string]string{"Location": books + "/7", "Content-Type": "application/json", "Cache-Control": "no-store"},
		},
		"found instead": {
			"POST", books, `{"id":"7","subtitle":"again"}`, 200, book("org", `"acme"`, "id", `"7"`, "subtitle", `"again"`),
			map[string]string{"Location": ""},
		},
		"created without a body": {"POST", books, "", 201, book("org", `"acme"`), map[string]string{"Location": ""}},
		"an escaped identifier":  {"GET", books + "/a%2Fb%20%25", "", 200, book("org", `"acme"`, "id", `"a/b %"`), nil},
		"a colon":                {"GET", books + "/key:stripe:ch_1", "", 200, book("org", `"acme"`, "id", `"key:stripe:ch_1"`), nil},
		"the query": {
			"GET", books + "/7?subtitle=a%26b&tags=x&tags=y&author.fullName=A&author.born_in=3&printedAt=2026-01-31T00:00:00Z&content=%5B1%2C%201.0%5D", "", 200,
			book("org", `"acme"`, "id", `"7"`, "subtitle", `"a&b"`, "tags", `["x","y"]`, "author", `{"fullName":"A","bornIn":3}`,
				"printedAt", `"2026-01-31T00:00:00Z"`, "content", `[1, 1.0]`),
			map[string]string{"Cache-Control": "private, no-cache"},
		},
		"replaced":                   {"PUT", books + "/7", `{"subtitle":"s"}`, 200, book("org", `"acme"`, "id", `"7"`, "subtitle", `"s"`), nil},
		"an additional binding":      {"PATCH", books + "/7", `{"org":"acme"}`, 200, book("org", `"acme"`, "id", `"7"`), nil},
		"a list":                     {"GET", books, "", 200, `[]`, map[string]string{"ETag": "", "Cache-Control": "no-store"}},
		"a literal, not a variable":  {"GET", books + "/latest?limit=3&all=true&score=1.5&sample=%7B%7D&times=2026-01-31T00:00:00Z", "", 200, `null`, nil},
		"a variable, not a literal":  {"PUT", books + "/latest", "", 200, book("org", `"acme"`, "id", `"latest"`), nil},
		"nothing to say":             {"DELETE", books + "/7", "", 204, "", map[string]string{"Content-Type": ""}},
		"nothing said with a body":   {"DELETE", books + "/7", " {} ", 204, "", nil},
		"a query with an empty text": {"GET", books + "/7?subtitle=", "", 200, book("org", `"acme"`, "id", `"7"`, "subtitle", `""`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ask(t, test.method, url+test.path, test.body)
			if got.status != test.status || got.body != test.want {
				t.Errorf("status %d, want %d\n%s", got.status, test.status, cmp.Diff(test.want, got.body))
			}
			for key, want := range test.header {
				if got := got.header.Get(key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	url := start(t, nil, Config{MaxBytes: 1000})
	for name, test := range map[string]struct {
		method, path, body string
		header             string
		status             int
		want               string
	}{
		"an unknown path":            {"GET", "/api/orgs/acme/shelves", "", "", 404, `{"error":"not found"}`},
		"a trailing slash":           {"GET", books + "/", "", "", 404, `{"error":"not found"}`},
		"a doubled slash":            {"GET", "/api/orgs//books", "", "", 404, `{"error":"not found"}`},
		"hidden from REST":           {"POST", "/library.Library/Hidden", "{}", "", 404, `{"error":"not found"}`},
		"a method":                   {"DELETE", books, "", "", 405, `{"error":"DELETE is not offered here"}`},
		"an unknown parameter":       {"GET", books + "?nonsense=1", "", "", 400, `{"error":"/nonsense: unknown parameter","details":[{"path":"/nonsense","message":"unknown parameter"}]}`},
		"a parameter with a body":    {"POST", books + "?id=1", "{}", "", 400, `{"error":"/id: unknown parameter","details":[{"path":"/id","message":"unknown parameter"}]}`},
		"a variable as parameter":    {"GET", books + "/7?org=evil", "", "", 400, `{"error":"/org: unknown parameter","details":[{"path":"/org","message":"unknown parameter"}]}`},
		"a variable in the body":     {"PUT", books + "/7", `{"org":"evil"}`, "", 400, `{"error":"/org: the path says something else","details":[{"path":"/org","message":"the path says something else"}]}`},
		"given twice":                {"GET", books + "?limit=1&limit=1", "", "", 400, `{"error":"/limit: given twice","details":[{"path":"/limit","message":"given twice"}]}`},
		"given under two names":      {"GET", books + "/7?idempotencyKeyTtl=1&idempotency_key_ttl=1", "", "", 400, ""},
		"a map in the query":         {"GET", books + "/7?metadata=x", "", "", 400, ""},
		"a number in words":          {"GET", books + "?limit=many", "", "", 400, `{"error":"/limit: want a number","details":[{"path":"/limit","message":"want a number"}]}`},
		"a number in hexadecimal":    {"GET", books + "?score=0x1p-2", "", "", 400, ""},
		"no number":                  {"GET", books + "?score=NaN", "", "", 400, ""},
		"an empty number":            {"GET", books + "?limit=", "", "", 400, ""},
		"a large number":             {"GET", books + "?limit=2147483648", "", "", 400, `{"error":"/limit: the number is out of range","details":[{"path":"/limit","message":"the number is out of range"}]}`},
		"a wrong truth":              {"GET", books + "?all=1", "", "", 400, ""},
		"a broken payload":           {"GET", books + "?sample=%7B", "", "", 400, ""},
		"a broken text":              {"GET", books + "?query=%ff", "", "", 400, `{"error":"/query: is not UTF-8","details":[{"path":"/query","message":"is not UTF-8"}]}`},
		"a broken escape":            {"GET", books + "?query=%zz", "", "", 400, `{"error":"the query cannot be read: invalid URL escape \"%zz\""}`},
		"a semicolon":                {"GET", books + "?query=a;b", "", "", 400, ""},
		"a broken variable":          {"GET", books + "/%ff", "", "", 400, `{"error":"/id: is not UTF-8","details":[{"path":"/id","message":"is not UTF-8"}]}`},
		"a variable of another kind": {"DELETE", books + "/seven", "", "", 400, `{"error":"/number: want a number","details":[{"path":"/number","message":"want a number"}]}`},
		"a form":                     {"POST", books, "id=1", "Content-Type: application/x-www-form-urlencoded", 415, ""},
		"a text":                     {"POST", books, "{}", "Content-Type: text/plain", 415, ""},
		"no type":                    {"POST", books, "{}", "Content-Type: ", 415, `{"error":"the body must be JSON in UTF-8, with the header Content-Type: application/json"}`},
		"another encoding":           {"POST", books, "{}", "Content-Type: application/json; charset=utf-16", 415, ""},
		"compressed":                 {"POST", books, "{}", "Content-Encoding: gzip", 415, ""},
		"too large":                  {"POST", books, `{"id":"` + strings.Repeat("x", 1000) + `"}`, "", 413, `{"error":"the body exceeds the limit of 1000 bytes"}`},
		"a body where none is":       {"DELETE", books + "/7", `{"number":8}`, "", 400, `{"error":"there is nothing to say in a body here"}`},
		"no JSON":                    {"POST", books, "id", "", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ask(t, test.method, url+test.path, test.body, strings.Split(test.header, "\n")...)
			if got.status != test.status {
				t.Errorf("status %d, want %d: %s", got.status, test.status, got.body)
			}
			if test.want != "" && got.body != test.want+"\n" {
				t.Error(cmp.Diff(test.want+"\n", got.body))
			}
			if !strings.HasPrefix(got.body, `{"error":"`) || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("the body is %q (%s)", got.body, got.header.Get("Content-Type"))
			}
		})
	}
}

// The guide creates an organization with `curl -d` and no header.
func TestBodyOfCurl(t *testing.T) {
	t.Parallel()
	url := start(t, nil, Config{})
	form := "Content-Type: application/x-www-form-urlencoded"
	if got := ask(t, "POST", url+books, `{"id":"7"}`, form, "Authorization: Bearer x"); got.status != 201 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, "POST", url+books, `id=7`, form, "Authorization: Bearer x"); got.status != 400 {
		t.Errorf("a form: %d %s", got.status, got.body)
	}
	if got := ask(t, "POST", url+books, `{}`, `Content-Type: application/json; charset="UTF-8"`); got.status != 201 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	url := start(t, nil, Config{})
	for path, want := range map[string]string{
		books:               "GET, HEAD, POST",
		books + "/7":        "DELETE, GET, HEAD, PATCH, PUT",
		books + "/latest":   "DELETE, GET, HEAD, PATCH, PUT",
		books + "/7/stream": "GET",
	} {
		for _, method := range []string{"OPTIONS", "TRACE", "PROPFIND"} {
			if got := ask(t, method, url+path, ""); got.status != 405 || got.header.Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow: %s, want %s", method, path, got.status, got.header.Get("Allow"), want)
			}
		}
	}
	get, head := ask(t, "GET", url+books+"/7", ""), ask(t, "HEAD", url+books+"/7", "")
	if head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
	for _, key := range []string{"Content-Length", "Content-Type", "ETag", "Cache-Control"} {
		if get.header.Get(key) != head.header.Get(key) || get.header.Get(key) == "" {
			t.Errorf("%s: GET says %q, HEAD %q", key, get.header.Get(key), head.header.Get(key))
		}
	}
	if got := ask(t, "HEAD", url+books+"/7/stream", ""); got.status != 405 {
		t.Errorf("HEAD of a stream: %d", got.status)
	}
}

func TestUnchanged(t *testing.T) {
	t.Parallel()
	url := start(t, nil, Config{}) + books + "/7"
	tag := ask(t, "GET", url, "").header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) {
		t.Fatalf("the tag is %q", tag)
	}
	for _, condition := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
		if got := ask(t, "GET", url, "", "If-None-Match: "+condition); got.status != 304 || got.body != "" || got.header.Get("ETag") != tag {
			t.Errorf("%s: %d %q", condition, got.status, got.body)
		}
	}
	if got := ask(t, "GET", url+"?subtitle=other", "", "If-None-Match: "+tag); got.status != 200 || got.header.Get("ETag") == tag {
		t.Errorf("changed: %d", got.status)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	violations := func(places ...string) *connect.Error {
		bad := &errdetails.BadRequest{}
		for i := 0; i < len(places); i += 2 {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: places[i], Description: places[i+1]})
		}
		return withDetail(connect.NewError(connect.CodeInvalidArgument, "no"), bad)
	}
	for name, test := range map[string]struct {
		err    error
		status int
		want   string
		retry  string
	}{
		"invalid":      {connect.NewError(connect.CodeInvalidArgument, "no"), 400, `{"error":"no"}`, ""},
		"precondition": {connect.NewError(connect.CodeFailedPrecondition, "no"), 400, `{"error":"no"}`, ""},
		"range":        {connect.NewError(connect.CodeOutOfRange, "no"), 400, `{"error":"no"}`, ""},
		"stranger":     {connect.NewError(connect.CodeUnauthenticated, "no"), 401, `{"error":"no"}`, ""},
		"denied":       {connect.NewError(connect.CodePermissionDenied, "no"), 403, `{"error":"no"}`, ""},
		"absent":       {connect.NewError(connect.CodeNotFound, "no <b>"), 404, `{"error":"no <b>"}`, ""},
		"exists":       {connect.NewError(connect.CodeAlreadyExists, "no"), 409, `{"error":"no"}`, ""},
		"conflict":     {connect.NewError(connect.CodeAborted, "no"), 409, `{"error":"no"}`, ""},
		"exhausted":    {connect.NewError(connect.CodeResourceExhausted, "no"), 429, `{"error":"no"}`, "1"},
		"exhausted for a while": {
			withDetail(connect.NewError(connect.CodeResourceExhausted, "no"), &errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}),
			429, `{"error":"no"}`, "2",
		},
		"a field too large": {
			connect.NewError(connect.CodeResourceExhausted, "no").WithCause(&fault.Error{Kind: fault.Exhausted, Field: "content"}),
			413, `{"error":"no"}`, "",
		},
		"gone":              {connect.NewError(connect.CodeCanceled, "no"), 499, `{"error":"no"}`, ""},
		"late":              {connect.NewError(connect.CodeDeadlineExceeded, "no"), 504, `{"error":"no"}`, ""},
		"unavailable":       {connect.NewError(connect.CodeUnavailable, "no"), 503, `{"error":"no"}`, "1"},
		"unimplemented":     {connect.NewError(connect.CodeUnimplemented, "no"), 501, `{"error":"no"}`, ""},
		"internal":          {connect.NewError(connect.CodeInternal, "no"), 500, `{"error":"no"}`, ""},
		"without words":     {connect.NewError(connect.CodeNotFound, ""), 404, `{"error":"not_found"}`, ""},
		"of our own":        {errors.New("pq: password is hunter2"), 500, `{"error":"internal error"}`, ""},
		"of another server": {connect.NewError(connect.CodeNotFound, "secret").WithRemote(), 500, `{"error":"internal error"}`, ""},
		"fields": {
			violations("idempotency_key_ttl", "a", `metadata["a.b/c"]`, "b", "editors[1].full_name", "c", "content.user_name[0]", "d", "/content/x_y", "e",
				`reviewers["r"].born_in`, "f", "pages[2].a_b", "g", "", "h"),
			400, `{"error":"no","details":[{"path":"/idempotencyKeyTtl","message":"a"},{"path":"/metadata/a.b~1c","message":"b"},` +
				`{"path":"/editors/1/fullName","message":"c"},{"path":"/content/user_name/0","message":"d"},{"path":"/content/x_y","message":"e"},` +
				`{"path":"/reviewers/r/bornIn","message":"f"},{"path":"/pages/2/a_b","message":"g"},{"path":"","message":"h"}]}`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t, handlers{"Get": func(context.Context, protoreflect.Message, connect.ServerStream) error { return test.err }}, Config{})
			got := ask(t, "GET", url+books+"/7", "")
			if got.status != test.status || got.body != test.want+"\n" || got.header.Get("Retry-After") != test.retry {
				t.Errorf("status %d, want %d; Retry-After %q, want %q\n%s",
					got.status, test.status, got.header.Get("Retry-After"), test.retry, cmp.Diff(test.want+"\n", got.body))
			}
		})
	}
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		if statuses[code] == 0 {
			t.Errorf("%s has no status", code)
		}
	}
}

func withDetail(err *connect.Error, message proto.Message) *connect.Error {
	detail, failed := connectproto.NewErrorDetail(message)
	if failed != nil {
		panic(failed)
	}
	return err.WithDetail(detail)
}

// A handler that answers and then fails has failed.
func TestFailureAfterTheAnswer(t *testing.T) {
	t.Parallel()
	url := start(t, handlers{"Get": func(ctx context.Context, in protoreflect.Message, stream connect.ServerStream) error {
		info, _ := connect.CallInfoForServerContext(ctx)
		info.ResponseHeader().Set("X-Mine", info.RequestHeader().Get("X-Yours")+info.Protocol)
		if err := stream.Send(in.Interface()); err != nil {
			return err
		}
		if text(in, "id") == "bad" {
			return connect.NewError(connect.CodeNotFound, "no")
		}
		return nil
	}}, Config{})
	if got := ask(t, "GET", url+books+"/bad", ""); got.status != 404 || got.body != "{\"error\":\"no\"}\n" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, "GET", url+books+"/good", "", "X-Yours: our "); got.status != 200 || got.header.Get("X-Mine") != "our"+"rest" {
		t.Errorf("%d, X-Mine: %s", got.status, got.header.Get("X-Mine"))
	}
}

func TestMappingsThatCannotBeServed(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		`get: "/a/{id}" body: "id"`:           `the body is either "*" or nothing`,
		`get: "/a/{id=*}"`:                    `"{id=*}" is neither a name nor a variable; wildcards and verbs are not served`,
		`get: "/a/{id}:watch"`:                `"{id}:watch" is neither a name nor a variable; wildcards and verbs are not served`,
		`get: "/a/{nonsense}"`:                `the path binds "nonsense", which is no plain field of M`,
		`get: "/a/{id}/{id}"`:                 `the path binds id twice`,
		`get: "/a//b"`:                        `"" is neither a name nor a variable; wildcards and verbs are not served`,
		`get: "a"`:                            `the path "a" does not begin with a slash`,
		`custom: {kind: "LINK" path: "/a"}`:   `there is no method`,
		`get: "/a" response_body: "nonsense"`: `the answer is to be "nonsense", which is no field of M`,
	} {
		file, err := compile(`syntax = "proto3"; import "google/api/annotations.proto"; message M { string id = 1; }
			service S { rpc Call(M) returns (M) { option (google.api.http) = {` + rule + `}; } }`)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(serve(file, nil), Config{}); err == nil || err.Error() != "the REST mapping of S.Call: "+want {
			t.Errorf("%s: %v", rule, err)
		}
	}
	file, err := compile(`syntax = "proto3"; import "google/api/annotations.proto"; message M { string id = 1; }
		service S {
			rpc One(M) returns (M) { option (google.api.http) = {get: "/a/{id}"}; }
			rpc Two(M) returns (M) { option (google.api.http) = {get: "/a/{id}"}; }
		}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(serve(file, nil), Config{}); err == nil || err.Error() != "S.One and S.Two are both GET /a/{id}" {
		t.Error(err)
	}
}

// frame makes an event of the library.
func frame(file protoreflect.FileDescriptor, id, event, data string) proto.Message {
	m := dynamicpb.NewMessage(file.Messages().ByName("Frame"))
	for name, value := range map[protoreflect.Name]string{"id": id, "event": event, "data": data} {
		m.Set(m.Descriptor().Fields().ByName(name), protoreflect.ValueOfString(value))
	}
	return m
}

func TestStream(t *testing.T) {
	t.Parallel()
	file := library(t)
	url := start(t, handlers{"Follow": func(_ context.Context, in protoreflect.Message, stream connect.ServerStream) error {
		switch text(in, "id") {
		case "absent":
			return connect.NewError(connect.CodeNotFound, "no")
		case "empty":
			return nil
		}
		for _, f := range []proto.Message{
			frame(file, "1", "data", `{"a":1}`), frame(file, "", "token", "two\nlines\r\nand\rmore\n"),
			frame(file, "2\n", "x\r", ""), frame(file, text(in, "last_event_id"), "end", "é"),
		} {
			if err := stream.Send(f); err != nil {
				return err
			}
		}
		if text(in, "id") == "fails" {
			return connect.NewError(connect.CodeUnavailable, "the server\nis stopping")
		}
		return nil
	}}, Config{}) + books
	const events = "id: 1\nevent: data\ndata: {\"a\":1}\n\n" + "event: token\ndata: two\ndata: lines\ndata: and\ndata: more\ndata: \n\n" +
		"data: \n\n" + "id: 41\nevent: end\ndata: é\n\n"
	got := ask(t, "GET", url+"/7/stream", "", "Last-Event-ID: 41")
	if got.status != 200 || got.body != events || got.header.Get("Content-Type") != "text/event-stream" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v\n%s", got.status, got.header, cmp.Diff(events, got.body))
	}
	got = ask(t, "GET", url+"/fails/stream?lastEventId=41", "")
	if want := events + "event: error\ndata: the server\ndata: is stopping\n\n"; got.status != 200 || got.body != want {
		t.Errorf("%d %v\n%s", got.status, got.header, cmp.Diff(want, got.body))
	}
	if got := ask(t, "GET", url+"/absent/stream", ""); got.status != 404 || got.body != "{\"error\":\"no\"}\n" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, "GET", url+"/empty/stream", ""); got.status != 200 || got.body != "" || got.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, "GET", url+"/7/stream?nonsense=1", ""); got.status != 400 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// While nothing happens the client hears that the stream is alive, and when the
// client leaves the call ends.
func TestStreamIsKeptAlive(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	url := start(t, handlers{"Follow": func(ctx context.Context, _ protoreflect.Message, stream connect.ServerStream) error {
		if err := stream.SendHeaders(); err != nil {
			return err
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}, Config{KeepAlive: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+books+"/7/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for range 3 {
		if !lines.Scan() || lines.Text() != ": keep-alive" || !lines.Scan() || lines.Text() != "" {
			t.Fatalf("the stream says %q (%v)", lines.Text(), lines.Err())
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the call did not end when the client left")
	}
}

// A client that does not read cannot hold a call: its stream is cut off.
func TestStalledClientIsCutOff(t *testing.T) {
	t.Parallel()
	file := library(t)
	ended := make(chan error, 1)
	url := start(t, handlers{"Follow": func(ctx context.Context, _ protoreflect.Message, stream connect.ServerStream) error {
		event := frame(file, "1", "data", strings.Repeat("x", 1<<20))
		for {
			if err := stream.Send(event); err != nil {
				<-ctx.Done()
				ended <- errors.Join(err, context.Cause(ctx))
				return err
			}
		}
	}}, Config{Patience: 50 * time.Millisecond})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s/7/stream HTTP/1.1\r\nHost: x\r\n\r\n", books); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errSlow) {
			t.Errorf("the call ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the call goes on although nobody reads")
	}
}

func BenchmarkGet(b *testing.B) {
	handler, err := New(serve(library(b), nil), Config{MaxBytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, handler, http.MethodGet, books+"/7?subtitle=x", "")
}

func BenchmarkPost(b *testing.B) {
	handler, err := New(serve(library(b), nil), Config{MaxBytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, handler, http.MethodPost, books, `{"id":"7","content":{"id": 9007199254740993},"metadata":{"a":"b"},"tags":["x","y"]}`)
}

// blank is a writer that forgets.
type blank struct{ header http.Header }

func (w blank) Header() http.Header         { return w.header }
func (w blank) Write(b []byte) (int, error) { return len(b), nil }
func (w blank) WriteHeader(int)             {}

func benchmark(b *testing.B, handler http.Handler, method, path, body string) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(blank{http.Header{}}, req)
	}
}
