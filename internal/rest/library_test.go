package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// compile compiles a proto file against what is linked into the test.
func compile(source string) (protoreflect.FileDescriptor, error) {
	compiler := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"test.proto": source})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			file, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: file}, err
		}),
	}}
	files, err := compiler.Compile(context.Background(), "test.proto")
	if err != nil {
		return nil, err
	}
	// Once over the wire, so that options have the types that Go knows.
	wire, err := proto.Marshal(protodesc.ToFileDescriptorProto(files[0]))
	if err != nil {
		return nil, err
	}
	file := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(wire, file); err != nil {
		return nil, err
	}
	return protodesc.NewFile(file, protoregistry.GlobalFiles)
}

// library returns the API of testdata/library.proto.
func library(tb testing.TB) protoreflect.FileDescriptor {
	tb.Helper()
	source, err := os.ReadFile("testdata/library.proto")
	if err != nil {
		tb.Fatal(err)
	}
	file, err := compile(string(source))
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// handlers answer the procedures of a service, by name.
type handlers map[string]func(ctx context.Context, in protoreflect.Message, stream connect.ServerStream) error

// serve makes a server of all services in a file. A procedure without a handler
// answers with the fields of its request that the answer has too.
func serve(file protoreflect.FileDescriptor, h handlers) *connect.Server {
	server := connect.NewServer()
	for i := range file.Services().Len() {
		methods := file.Services().Get(i).Methods()
		for j := range methods.Len() {
			method := methods.Get(j)
			shape := connect.StreamTypeUnary
			if method.IsStreamingServer() {
				shape = connect.StreamTypeServer
			}
			server.Register(connect.Method{
				Spec: connect.Spec{
					StreamType: shape, Schema: method,
					Procedure: "/" + string(method.Parent().FullName()) + "/" + string(method.Name()),
				},
				Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
					in := dynamicpb.NewMessage(method.Input())
					if err := stream.Receive(in); err != nil {
						return err
					}
					if err := stream.Receive(dynamicpb.NewMessage(method.Input())); !errors.Is(err, io.EOF) {
						return errors.New("there is a second message")
					}
					if handle, ok := h[string(method.Name())]; ok {
						return handle(ctx, in, stream)
					}
					return stream.Send(echo(in, method.Output()))
				},
			})
		}
	}
	return server
}

// echo copies what a message has into an answer: the whole of it, or into the
// answer's field of its type.
func echo(in protoreflect.Message, out protoreflect.MessageDescriptor) proto.Message {
	answer := dynamicpb.NewMessage(out)
	if in.Descriptor() == out {
		return in.Interface()
	}
	for i := range out.Fields().Len() {
		f := out.Fields().Get(i)
		switch {
		case f.Message() == in.Descriptor() && !f.IsList() && f.Name() != "first":
			answer.Set(f, protoreflect.ValueOfMessage(in))
		case f.Name() == "created":
			answer.Set(f, protoreflect.ValueOfBool(text(in, "subtitle") != "again"))
		}
	}
	return answer
}

// start serves a library over HTTP.
func start(t *testing.T, h handlers, cfg Config) string {
	t.Helper()
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 20
	}
	handler, err := New(serve(library(t), h), cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// response is what came back.
type response struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. Headers are written as lines "Name: value".
func ask(t *testing.T, method, url, body string, headers ...string) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(content)}
}
