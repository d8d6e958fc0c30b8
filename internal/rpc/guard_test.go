package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/metrics"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// script is a stream with one request.
type script struct {
	request proto.Message
	sent    int
}

func (s *script) Receive(msg any) error {
	if s.request == nil {
		return io.EOF
	}
	proto.Merge(msg.(proto.Message), s.request)
	s.request = nil
	return nil
}

func (*script) SendHeaders() error { return nil }

func (s *script) Send(any) error {
	s.sent++
	return nil
}

// serve runs a handler behind all interceptors.
func serve(ctx context.Context, t *testing.T, procedure string, stream connect.ServerStream, handler connect.ServerFunc) error {
	t.Helper()
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	server := connect.NewServer(observe(slog.New(slog.DiscardHandler), metrics.New(""), trace.Off()), recoverPanics,
		guard(authz.OrgScope{}, validator, newKnownOrgs(someOrgs), nil), lifetime(time.Hour))
	server.Register(connect.Method{Spec: connect.Spec{Procedure: procedure}, Handler: handler})
	return server.Call(ctx, procedure, nil, stream)
}

func receive(msg proto.Message) connect.ServerFunc {
	return func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error { return stream.Receive(msg) }
}

func asCaller(t *testing.T) context.Context {
	t.Helper()
	return caller.With(t.Context(), caller.Caller{Kind: caller.Worker, ID: "w", Org: flovyn.OrgID(someID)})
}

const poll = flovynv1connect.WorkflowDispatchPollWorkflowProcedure

func TestGuard(t *testing.T) {
	t.Parallel()
	own := &flovynv1.PollRequest{OrgId: someID.String()}
	for name, test := range map[string]struct {
		ctx       context.Context
		procedure string
		request   proto.Message
		code      connect.Code
		message   string
	}{
		"nobody":     {t.Context(), poll, own, connect.CodeUnauthenticated, "Authentication required"},
		"unlisted":   {asCaller(t), "/flovyn.v1.WorkflowDispatch/DropEverything", own, connect.CodePermissionDenied, "not open to anybody"},
		"no org":     {asCaller(t), poll, &flovynv1.PollRequest{}, connect.CodeInvalidArgument, "org_id: is required"},
		"other org":  {asCaller(t), poll, &flovynv1.PollRequest{OrgId: "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}, connect.CodePermissionDenied, "Access denied: poll on"},
		"NUL":        {asCaller(t), poll, &flovynv1.PollRequest{OrgId: someID.String(), Queue: "a\x00"}, connect.CodeInvalidArgument, "queue: holds a NUL"},
		"rule":       {asCaller(t), poll, &flovynv1.PollRequest{OrgId: someID.String(), Queue: strings.Repeat("x", 513)}, connect.CodeInvalidArgument, "queue: must be at most 512 bytes"},
		"no request": {asCaller(t), poll, nil, connect.CodeInternal, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := serve(test.ctx, t, test.procedure, &script{request: test.request}, receive(&flovynv1.PollRequest{}))
			var wire *connect.Error
			if !errors.As(err, &wire) || wire.Code() != test.code || !strings.Contains(wire.Message(), test.message) {
				t.Errorf("%v, want %v %q", err, test.code, test.message)
			}
		})
	}
	if err := serve(asCaller(t), t, poll, &script{request: own}, receive(&flovynv1.PollRequest{})); err != nil {
		t.Errorf("a good request: %v", err)
	}
}

// A handler that answers without looking at the request is guarded all the same.
func TestGuardWithoutReceive(t *testing.T) {
	t.Parallel()
	nobodys := caller.With(t.Context(), caller.Caller{Kind: caller.Anonymous, ID: "anonymous"})
	for name, handler := range map[string]connect.ServerFunc{
		"answers": func(_ context.Context, _ connect.Spec, s connect.ServerStream) error { return s.Send(nil) },
		"headers": func(_ context.Context, _ connect.Spec, s connect.ServerStream) error { return s.SendHeaders() },
		"returns": func(context.Context, connect.Spec, connect.ServerStream) error { return nil },
		"ignores": func(_ context.Context, _ connect.Spec, s connect.ServerStream) error {
			_ = s.Send(nil)
			return nil
		},
		"fails": func(context.Context, connect.Spec, connect.ServerStream) error {
			return connect.NewError(connect.CodeUnimplemented, "not here")
		},
	} {
		stream := &script{}
		if err := serve(nobodys, t, poll, stream, handler); connect.CodeOf(err) != connect.CodePermissionDenied || stream.sent > 0 {
			t.Errorf("%s: %v, %d messages sent", name, err, stream.sent)
		}
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	err := serve(asCaller(t), t, poll, &script{}, func(context.Context, connect.Spec, connect.ServerStream) error {
		panic("secret")
	})
	var wire *connect.Error
	if !errors.As(err, &wire) || wire.Code() != connect.CodeInternal || strings.Contains(wire.Message(), "secret") {
		t.Errorf("%v", err)
	}
}

// A NUL is found wherever text may be, and not looked for in payloads.
func TestNulPath(t *testing.T) {
	t.Parallel()
	const nul = "a\x00b"
	for want, message := range map[string]proto.Message{
		"queue":                     &flovynv1.PollRequest{Queue: nul},
		"workflow_capabilities[1]":  &flovynv1.PollRequest{WorkflowCapabilities: []string{"a", nul}},
		`metadata["k"]`:             &flovynv1.StartWorkflowRequest{Metadata: map[string]string{"k": nul}},
		"metadata":                  &flovynv1.StartWorkflowRequest{Metadata: map[string]string{nul: "v"}},
		"workflows[0].tags[0]":      &flovynv1.WorkerRegistrationRequest{Workflows: []*flovynv1.WorkflowCapability{{Tags: []string{nul}}}},
		"commands[0].set_state.key": &flovynv1.SubmitWorkflowCommandsRequest{Commands: []*flovynv1.WorkflowCommand{{CommandData: &flovynv1.WorkflowCommand_SetState{SetState: &flovynv1.SetStateCommand{Key: nul}}}}},
		"level":                     &flovynv1.LogMessageRequest{Level: nul, Message: nul},
		"":                          &flovynv1.StartWorkflowRequest{Input: []byte(nul), WorkflowKind: "k", PrioritySeconds: 1},
	} {
		if got := nulPath(message.ProtoReflect()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
