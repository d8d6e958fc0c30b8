package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestNew(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config  client.Config
		problem string // empty: there is none
	}{
		"encrypted":                   {config: client.Config{URL: "https://flovyn.example.com", Token: "t"}},
		"this machine by name":        {config: client.Config{URL: "http://localhost:9090", Token: "t"}},
		"this machine by number":      {config: client.Config{URL: "http://127.0.0.1:9090", Token: "t"}},
		"this machine by long number": {config: client.Config{URL: "http://[::1]:9090", Token: "t"}},
		"without a token":             {config: client.Config{URL: "http://flovyn:9090"}},
		"allowed":                     {config: client.Config{URL: "http://flovyn:9090", Token: "t", AllowPlaintextToken: true}},
		"in clear text":               {client.Config{URL: "http://flovyn:9090", Token: "t"}, "clear text"},
		"in clear text, from a source": {
			client.Config{URL: "http://flovyn:9090", TokenSource: func(context.Context) (string, error) { return "t", nil }}, "clear text",
		},
		"a name that only begins like this machine": {client.Config{URL: "http://localhost.example.com", Token: "t"}, "clear text"},
		"no scheme":           {client.Config{URL: "localhost:9090"}, "is not http://"},
		"no host":             {client.Config{URL: "http://"}, "is not http://"},
		"no address":          {client.Config{}, "is not http://"},
		"an unknown protocol": {client.Config{URL: "http://localhost", Protocol: "soap"}, "unknown protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(test.config)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("got %v, want an error about %q", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

// Every protocol reaches the server with the token, on the door that is made for it.
func TestProtocols(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	for _, test := range []struct {
		protocol client.Protocol
		url      string
	}{
		{"", server.GRPC},
		{client.GRPC, server.GRPC},
		{client.GRPC, server.HTTP + "/"},
		{client.GRPCWeb, server.HTTP},
		{client.Connect, server.HTTP},
		{client.ConnectJSON, server.HTTP},
	} {
		t.Run(string(test.protocol), func(t *testing.T) {
			t.Parallel()
			c, err := client.New(client.Config{URL: test.url, Protocol: test.protocol, Token: servertest.AdminKey})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			id, err := c.StartWorkflow(t.Context(), client.Start{Org: servertest.Org.String(), Kind: "k", Input: []int{7}})
			if err != nil {
				t.Fatal(err)
			}
			events, err := c.Events(t.Context(), id)
			if err != nil || len(events) != 1 || events[0].Type != client.WorkflowStarted {
				t.Fatalf("history %v, %v", events, err)
			}
			if data, err := events[0].Decode(); err != nil || string(data.Input) != "[7]" {
				t.Errorf("input %s, %v", data.Input, err)
			}
			err = c.ResolvePromiseByName(t.Context(), id, "approval", nil)
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("settling a promise that there is not: %v", err)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	c, start := user(t, servertest.New(t)), client.Start{Org: servertest.Org.String(), Kind: "k", IdempotencyKey: "once"}
	first, err := c.StartWorkflow(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := c.StartWorkflow(t.Context(), start); err != nil || second != first {
		t.Errorf("the second start: %s, %v; want %s", second, err, first)
	}
}

func user(t *testing.T, server *servertest.Server) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: server.GRPC, Token: servertest.AdminKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestWaitResult(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	c := user(t, server)
	workerClient, err := client.New(client.Config{URL: server.GRPC, Token: servertest.WorkerKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(workerClient.Close)
	worker, err := flow.NewWorker(workerClient, flow.Options{Org: servertest.Org.String(), MaxWorkflows: 1})
	if err != nil {
		t.Fatal(err)
	}
	worker.RegisterWorkflow("ends", func(_ *flow.Context, input json.RawMessage) (any, error) {
		switch string(input) {
		case `"failed"`:
			return nil, errors.New("out of stock")
		case `"cancelled"`:
			return nil, flow.Cancel("changed my mind")
		default:
			return input, nil
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for _, want := range []string{"completed", "failed", "cancelled"} {
		id, err := c.StartWorkflow(t.Context(), client.Start{Org: servertest.Org.String(), Kind: "ends", Input: want})
		if err != nil {
			t.Fatal(err)
		}
		output, err := c.WaitResult(t.Context(), id)
		failure, isFailure := errors.AsType[*client.WorkflowError](err)
		got := "completed"
		switch {
		case isFailure && failure.Cancelled && failure.Message == "changed my mind":
			got = "cancelled"
		case isFailure && failure.Message == "out of stock" && failure.FailureType == "ERROR":
			got = "failed"
		case err != nil || string(output) != `"completed"`:
			got = "something else"
		}
		if got != want {
			t.Errorf("got %s (%s, %v), want %s", got, output, err, want)
		}
	}
	unserved, err := c.StartWorkflow(t.Context(), client.Start{Org: servertest.Org.String(), Kind: "unserved"})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.WaitResult(short, unserved); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
}

// A redirect is not followed: it could take the token elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{URL: server.URL, Protocol: client.Connect, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Events(t.Context(), "x"); err == nil || reached {
		t.Errorf("the redirect was followed: %v, %v", reached, err)
	}
}

func TestTokenSource(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	t.Cleanup(server.Close)
	fail := errors.New("signed out")
	for _, tokenErr := range []error{nil, fail} {
		c, err := client.New(client.Config{URL: server.URL, Protocol: client.Connect, TokenSource: func(context.Context) (string, error) {
			return "fresh", tokenErr
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Events(t.Context(), "x")
		switch {
		case tokenErr != nil && !errors.Is(err, fail):
			t.Errorf("without a token: %v", err)
		case tokenErr == nil:
			if header := <-got; header != "Bearer fresh" {
				t.Errorf("the server saw %q", header)
			}
		}
		c.Close()
	}
}
