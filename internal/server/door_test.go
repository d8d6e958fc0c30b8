package server_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/flovyn/flovyn-server/gen/flovyn/v1" // its services are walked
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// procedures are all methods of our protocol, from the compiled descriptors.
func procedures(t *testing.T) []connect.Spec {
	t.Helper()
	var specs []connect.Spec
	protoregistry.GlobalFiles.RangeFilesByPackage("flovyn.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				specs = append(specs, specOf(methods.Get(j)))
			}
		}
		return true
	})
	if len(specs) < 50 {
		t.Fatalf("only %d procedures in the descriptors", len(specs))
	}
	return specs
}

func specOf(m protoreflect.MethodDescriptor) connect.Spec {
	spec := connect.Spec{Schema: m, Procedure: "/" + string(m.Parent().FullName()) + "/" + string(m.Name())}
	if m.IsStreamingClient() {
		spec.StreamType |= connect.StreamTypeClient
	}
	if m.IsStreamingServer() {
		spec.StreamType |= connect.StreamTypeServer
	}
	return spec
}

// call makes one call of any shape with an empty message, and returns how it
// ended.
func call(t *testing.T, client *connect.Client, spec connect.Spec, request, response any) error {
	t.Helper()
	if spec.StreamType == connect.StreamTypeUnary {
		return client.CallUnary(t.Context(), spec, request, response)
	}
	if spec.StreamType == connect.StreamTypeServer {
		stream, err := client.CallServerStream(t.Context(), spec, request)
		if err != nil {
			return err
		}
		defer stream.Close()
		return stream.Receive(response)
	}
	stream, err := client.CallClientStream(t.Context(), spec)
	if err != nil {
		return err
	}
	defer stream.Close()
	// A refusal may come before the message is sent; Receive tells it.
	_ = stream.Send(request)
	_ = stream.CloseSend()
	return stream.Receive(response)
}

func messages(spec connect.Spec) (request, response any) {
	m := spec.Schema.(protoreflect.MethodDescriptor)
	return dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
}

// Nothing of our protocol answers a stranger: no procedure, on no port, in no
// protocol, neither without a credential nor with the placeholders that SDKs send.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for port, url := range ports(s) {
		for _, p := range protocols {
			for name, key := range map[string]string{"none": "", "placeholder": "fct_placeholder-6d1c5c2e-92f2-4a4e-9a35-54ef3b2a3a11"} {
				t.Run(port+"/"+p.name+"/"+name, func(t *testing.T) {
					t.Parallel()
					client := p.dial(t, url, key)
					for _, spec := range procedures(t) {
						in, out := messages(spec)
						if err := call(t, client, spec, in, out); connect.CodeOf(err) != connect.CodeUnauthenticated {
							t.Errorf("%s: %v, want unauthenticated", spec.Procedure, err)
						}
					}
				})
			}
		}
	}
}

// What this server does not do is answered as such, to those who may ask.
func TestAgentsAreUnimplemented(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	worker := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	member := protocols[0].dial(t, s.GRPC, servertest.MemberKey)
	for _, spec := range procedures(t) {
		if !strings.Contains(spec.Procedure, "AgentDispatch") {
			continue
		}
		in, out := messages(spec)
		request := in.(*dynamicpb.Message)
		if field := request.Descriptor().Fields().ByName("org_id"); field != nil {
			request.Set(field, protoreflect.ValueOfString(servertest.Org.String()))
		}
		if err := call(t, worker, spec, in, out); connect.CodeOf(err) != connect.CodeUnimplemented {
			t.Errorf("%s for a worker: %v, want unimplemented", spec.Procedure, err)
		}
	}
	for _, name := range []string{"PollAgent", "ScheduleAgentTask", "StreamAgentData", "CompleteAgent"} {
		for _, spec := range procedures(t) {
			if !strings.HasSuffix(spec.Procedure, "AgentDispatch/"+name) {
				continue
			}
			in, out := messages(spec)
			request := in.(*dynamicpb.Message)
			if field := request.Descriptor().Fields().ByName("org_id"); field != nil {
				request.Set(field, protoreflect.ValueOfString(servertest.Org.String()))
			}
			if err := call(t, member, spec, in, out); connect.CodeOf(err) != connect.CodePermissionDenied {
				t.Errorf("%s for a member: %v, want permission_denied", spec.Procedure, err)
			}
		}
	}
}

// A refusal is written in the protocol of the request.
func TestRefusalIsWrittenPerProtocol(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	const procedure = "/flovyn.v1.WorkflowDispatch/GetEvents"
	for name, test := range map[string]struct {
		client      *http.Client
		contentType string
		path        string
		status      int
		grpcStatus  string
		body        string
	}{
		"gRPC":         {overH2C(t), "application/grpc", procedure, 200, "16", ""},
		"gRPC, proto":  {overH2C(t), "application/grpc+proto", procedure, 200, "16", ""},
		"gRPC-Web":     {overHTTP1(t), "application/grpc-web+proto", procedure, 200, "16", ""},
		"Connect JSON": {overHTTP1(t), "application/json", procedure, 401, "", `{"code":"unauthenticated","message":"missing or invalid credentials"}`},
		"Connect":      {overHTTP1(t), "application/proto", procedure, 401, "", `{"code":"unauthenticated","message":"missing or invalid credentials"}`},
		"plain":        {overHTTP1(t), "application/json", "/api/orgs", 401, "", `{"error":"missing or invalid credentials"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := request(t, test.client, http.MethodPost, s.HTTP+test.path, map[string]string{"Content-Type": test.contentType}, "")
			if got.status != test.status || strings.TrimSpace(got.body) != test.body {
				t.Errorf("%d %q, want %d %q", got.status, got.body, test.status, test.body)
			}
			if got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
			if test.grpcStatus != "" && got.header.Get("Grpc-Status") != "" && got.header.Get("Grpc-Status") != test.grpcStatus {
				t.Errorf("Grpc-Status %q, want %s", got.header.Get("Grpc-Status"), test.grpcStatus)
			}
		})
	}
}

// With one port for both doors the protocol decides, and a closed door stays
// closed.
func TestClosedDoor(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, oneFreePort(t), func(cfg *config.Config) { cfg.Auth.Endpoints.HTTP.Enabled = false })
	header := map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + servertest.WorkerKey}
	got := request(t, overHTTP1(t), http.MethodPost, s.GRPC+"/flovyn.v1.WorkflowDispatch/GetEvents", header, "{}")
	if got.status != http.StatusNotFound {
		t.Errorf("JSON at the closed http door: %d", got.status)
	}
	checkScenario(t, protocols[0], s.GRPC, "closed")
}

// A key that only one door's chain accepts opens only that door, whatever the
// content type says.
func TestListenerDecidesTheAuthorizer(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(cfg *config.Config) { cfg.Auth.Endpoints.GRPC.Authorizer = config.AuthorizerOrgScope })
	for _, p := range protocols {
		for port, want := range map[string]connect.Code{s.HTTP: connect.CodePermissionDenied, s.GRPC: 0} {
			spec, in, out := pollSpec(t)
			err := call(t, p.dial(t, port, servertest.MemberKey), spec, in, out)
			if (want == 0 && err != nil) || (want != 0 && connect.CodeOf(err) != want) {
				t.Errorf("%s at %s: %v, want %v", p.name, port, err, want)
			}
		}
	}
}

// pollSpec is a procedure that members may not call, with a request for it.
func pollSpec(t *testing.T) (spec connect.Spec, request, response any) {
	t.Helper()
	for _, spec := range procedures(t) {
		if strings.HasSuffix(spec.Procedure, "/PollWorkflow") {
			request, response = messages(spec)
			m := request.(*dynamicpb.Message)
			m.Set(m.Descriptor().Fields().ByName("org_id"), protoreflect.ValueOfString(servertest.Org.String()))
			m.Set(m.Descriptor().Fields().ByName("worker_id"), protoreflect.ValueOfString("worker"))
			return spec, request, response
		}
	}
	t.Fatal("no PollWorkflow")
	return spec, nil, nil
}

// oneFreePort makes both doors share a port that is free.
func oneFreePort(t *testing.T) servertest.Option {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return func(cfg *config.Config) { cfg.Server.HTTPPort, cfg.Server.GRPCPort = port, port }
}
