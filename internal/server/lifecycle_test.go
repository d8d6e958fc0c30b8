package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// A stopping server answers the polls it holds, ends its streams, finishes, and
// is not ready any more; and all of that soon.
func TestGracefulShutdown(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	dispatch := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, servertest.WorkerKey))
	org := servertest.Org.String()

	subscription, err := dispatch.SubscribeToNotifications(t.Context(), &flovynv1.SubscriptionRequest{OrgId: org, WorkerId: "w", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Close()

	written := make(chan struct{}, 10)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { written <- struct{}{} }})
	polls := make(chan error, 1)
	go func() {
		got, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 60})
		if err == nil && got.GetWorkflowExecution() != nil {
			err = errors.New("a poll of an empty queue brought work")
		}
		polls <- err
	}()
	<-written
	// The server reads one connection in order: an answer to a later request
	// tells that it has the poll.
	if _, err := dispatch.GetEvents(t.Context(), &flovynv1.GetEventsRequest{}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Fatal(err)
	}

	begin := time.Now()
	stopCtx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(stopCtx); err != nil {
		t.Errorf("shutting down: %v", err)
	}
	if err := <-polls; err != nil {
		t.Errorf("the held poll: %v", err)
	}
	if _, err := subscription.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the subscription ended with %v, want a clean end", err)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := s.Ready(t.Context()); err == nil {
		t.Error("a stopped server calls itself ready")
	}
	w := httptest.NewRecorder()
	s.ProbeReady()(w, httptest.NewRequest(http.MethodGet, "/_/health/ready", http.NoBody))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "stopping") {
		t.Errorf("readiness: %d %s", w.Code, w.Body)
	}
	if _, err := dispatch.PollWorkflow(t.Context(), &flovynv1.PollRequest{OrgId: org, WorkerId: "w"}); err == nil {
		t.Error("a stopped server answers")
	}
}

// While it drains, a server that was told to stop still answers, unready, so
// that load balancers notice before its ports close.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(cfg *config.Config) { cfg.Server.Drain = 3 * time.Second })
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.WithoutCancel(t.Context())) }()
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for code := 0; code != http.StatusServiceUnavailable; <-ticks.C {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+"/_/health/ready", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("a draining server does not answer: %v", err)
		}
		_ = response.Body.Close()
		code = response.StatusCode
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// Run ends when its context does.
func TestRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var log lockedBuffer
	done := make(chan error, 1)
	listening := make(chan struct{})
	handler := &signalling{Handler: slog.NewTextHandler(&log, nil), message: "listening", seen: listening}
	go func() {
		done <- server.Run(ctx, servertest.Config(pgtest.New(t)), server.Options{Log: slog.New(handler), Version: "1.2.3"})
	}()
	select {
	case <-listening:
	case err := <-done:
		t.Fatalf("ended early: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "stopped") {
		t.Errorf("log:\n%s", text)
	}
	if text := log.String(); strings.Contains(text, servertest.AdminKey) || strings.Contains(text, "password") {
		t.Errorf("the log holds secrets:\n%s", text)
	}
}

// A port that is taken is an error at the start, and names the port.
func TestBusyPort(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := servertest.Config(pgtest.New(t))
	cfg.Server.GRPCPort = l.Addr().(*net.TCPAddr).Port
	err = server.Run(t.Context(), cfg, server.Options{})
	if err == nil || !strings.Contains(err.Error(), "grpc port "+strconv.Itoa(cfg.Server.GRPCPort)) {
		t.Errorf("%v", err)
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*config.Config){
		"no authenticators":      func(c *config.Config) { c.Auth.Endpoints.HTTP.Authenticators = nil },
		"unknown authenticator":  func(c *config.Config) { c.Auth.Endpoints.GRPC.Authenticators = []string{"magic"} },
		"no policy file":         func(c *config.Config) { c.Auth.Cedar.PolicyPath = "/does/not/exist.cedar" },
		"no database":            func(c *config.Config) { c.Database.URL = "postgres://nobody:hunter2@127.0.0.1:1/none" },
		"no TLS certificate":     func(c *config.Config) { c.Server.TLSCertFile, c.Server.TLSKeyFile = "/no", "/no" },
		"a key without an owner": func(c *config.Config) { c.Auth.StaticAPIKey.Keys[0].PrincipalID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := servertest.Config(pgtest.New(t))
			spoil(cfg)
			err := server.Run(t.Context(), cfg, server.Options{})
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Without authentication the server works, for whichever organization a request
// names or is about, and says so loudly.
func TestAuthenticationDisabled(t *testing.T) {
	t.Parallel()
	cfg := servertest.Config(pgtest.New(t))
	cfg.Auth.Enabled = false
	var log lockedBuffer
	s, err := server.New(t.Context(), cfg, server.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	httpAddr, grpcAddr := s.Addrs()
	for _, key := range []string{"", "fct_placeholder-1"} {
		for _, addr := range []string{httpAddr, grpcAddr} {
			client := protocols[0].dial(t, "http://"+addr, key)
			inhabit(t, client, servertest.ForeignOrg.String())
			workflow, _, _ := inhabit(t, client, servertest.Org.String())
			if makePromise(t, flovynv1connect.NewWorkflowDispatchClient(client), workflow) == "" {
				t.Error("no promise")
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "auth.enabled is false") {
		t.Errorf("not loud:\n%s", text)
	}
}

// Servers on one database hand work to each other's pollers.
func TestTwoServersOnOneDatabase(t *testing.T) {
	t.Parallel()
	a := servertest.New(t)
	b := servertest.On(t, a.DSN)
	atA := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, a.GRPC, servertest.WorkerKey))
	atB := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, b.GRPC, servertest.WorkerKey))
	org := servertest.Org.String()
	polled := make(chan string, 1)
	go func() {
		got, err := atB.PollWorkflow(t.Context(), &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 60})
		if err != nil {
			polled <- err.Error()
			return
		}
		polled <- got.GetWorkflowExecution().GetId()
	}()
	started, err := atA.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-polled; got != started.GetWorkflowExecutionId() {
		t.Errorf("polled %q, want %s", got, started.GetWorkflowExecutionId())
	}
}

// Work that was claimed for a client that went away is there for the next: at
// once, but for an answer that had left the server when the client went, which is
// rare and comes back with the activation's timeout.
func TestClaimOfAVanishedClientIsUndone(t *testing.T) {
	t.Parallel()
	const rounds, beyondRecall = 20, 4
	late := 0
	s := servertest.New(t, func(cfg *config.Config) { cfg.Engine.WorkflowActivationTimeout = time.Second })
	dispatch := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, servertest.WorkerKey))
	org := servertest.Org.String()
	for round := range rounds {
		queue := "q" + strconv.Itoa(round)
		ctx, cancel := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		taken := false
		gone.Go(func() {
			got, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: org, WorkerId: "fickle", Queue: queue, TimeoutSeconds: 60})
			taken = err == nil && got.GetWorkflowExecution() != nil
		})
		gone.Go(func() {
			if _, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Queue: queue}); err != nil {
				t.Error(err)
			}
		})
		gone.Go(cancel)
		gone.Wait()
		if taken {
			continue // the answer was faster than the departure
		}
		began := time.Now()
		patient, stop := context.WithTimeout(t.Context(), time.Minute)
		got, err := dispatch.PollWorkflow(patient, &flovynv1.PollRequest{OrgId: org, WorkerId: "steady", Queue: queue, TimeoutSeconds: 60})
		stop()
		if err != nil || got.GetWorkflowExecution() == nil {
			t.Fatalf("round %d: the work is lost: %v, %v", round, got, err)
		}
		if time.Since(began) > 5*time.Second {
			late++
		}
	}
	if late > beyondRecall {
		t.Errorf("the work of %d of %d clients that went away was not given back at once", late, rounds)
	}
}

// The self-test tells a door that lets strangers in.
func TestSelfTestNoticesAnOpenDoor(t *testing.T) {
	t.Parallel()
	answer := func(status int, header string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", header)
			w.WriteHeader(status)
		})
	}
	for name, test := range map[string]struct {
		handler http.Handler
		refuses bool
	}{
		"open":            {answer(http.StatusOK, ""), false},
		"open, gRPC":      {answer(http.StatusOK, "0"), false},
		"bad request":     {answer(http.StatusBadRequest, ""), false},
		"invalid, gRPC":   {answer(http.StatusOK, "3"), false},
		"refused":         {answer(http.StatusUnauthorized, ""), true},
		"refused in gRPC": {answer(http.StatusOK, "16"), true},
	} {
		if err := server.Refuses(t.Context(), test.handler, "/x/Y", "application/json"); (err == nil) != test.refuses {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lockedBuffer is a log that is written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// signalling closes a channel when a message is logged.
type signalling struct {
	slog.Handler
	message string
	seen    chan struct{}
	once    sync.Once
}

func (s *signalling) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == s.message {
		s.once.Do(func() { close(s.seen) })
	}
	return s.Handler.Handle(ctx, r)
}
