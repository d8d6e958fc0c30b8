// Package client talks to a Flovyn server: the generated service clients with a
// bearer token attached, and helpers for what programs do most (start a workflow,
// wait for its result, settle a promise).
//
// The default protocol is gRPC, which workers use on the server's gRPC port. The
// same services answer gRPC-Web and Connect on the HTTP port, for networks where
// HTTP/2 does not pass.
//
// A token is a password: the client never sends one in clear text, except to
// this machine itself, or when the configuration says that the network is
// trusted. It does not follow redirects either, which could lead elsewhere.
package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
)

// Config says which server to talk to, and how.
type Config struct {
	// URL is the server's address, http://host:port or https://host:port.
	URL string
	// Token is the bearer token of every call: an API key, a worker token or a
	// session token. Empty calls without credentials.
	Token string
	// TokenSource supplies the token of each call instead of Token, for tokens
	// that expire.
	TokenSource func(ctx context.Context) (string, error)
	// Protocol is how calls travel; GRPC by default.
	Protocol Protocol
	// AllowPlaintextToken permits to send a token over http:// to another
	// machine.
	AllowPlaintextToken bool
	// HTTPClient replaces the client's own. It must speak what Protocol needs,
	// and Close leaves it alone.
	HTTPClient *http.Client
}

// Client holds one connection pool and the service clients that share it. It may
// be used from many goroutines.
type Client struct {
	// Workflows starts workflows, and hands them to workers.
	Workflows flovynv1connect.WorkflowDispatchClient
	// Queries asks workflows about their state.
	Queries flovynv1connect.WorkflowQueryClient
	// Tasks hands tasks to workers, and takes their results.
	Tasks flovynv1connect.TaskExecutionClient
	// Workers registers workers.
	Workers flovynv1connect.WorkerLifecycleClient
	// Agents hands agents to workers.
	Agents flovynv1connect.AgentDispatchClient

	rpc   *connect.Client
	close func()
}

// New makes a client. It does not connect: a server that is down shows in the
// first call.
func New(config Config) (*Client, error) {
	address, err := url.Parse(config.URL)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if (address.Scheme != "http" && address.Scheme != "https") || address.Host == "" {
		return nil, fmt.Errorf("server address %q is not http://host:port or https://host:port", config.URL)
	}
	token := config.tokenSource()
	if token != nil && !config.AllowPlaintextToken && !confidential(address) {
		return nil, fmt.Errorf("the token would travel to %s in clear text: use https, or allow it explicitly", address.Host)
	}
	options, err := config.Protocol.options()
	if err != nil {
		return nil, err
	}
	httpClient, closeIdle := config.HTTPClient, func() {}
	if httpClient == nil {
		httpClient = newHTTPClient(config.Protocol, address.Scheme)
		closeIdle = httpClient.CloseIdleConnections
	}
	transport := connecthttp.NewTransport(httpClient, strings.TrimSuffix(config.URL, "/"), options...)
	return assemble(connect.NewClient(transport, bearer(token)), closeIdle), nil
}

func assemble(rpc *connect.Client, closeIdle func()) *Client {
	return &Client{
		Workflows: flovynv1connect.NewWorkflowDispatchClient(rpc),
		Queries:   flovynv1connect.NewWorkflowQueryClient(rpc),
		Tasks:     flovynv1connect.NewTaskExecutionClient(rpc),
		Workers:   flovynv1connect.NewWorkerLifecycleClient(rpc),
		Agents:    flovynv1connect.NewAgentDispatchClient(rpc),
		rpc:       rpc,
		close:     closeIdle,
	}
}

// Close closes the connections. Calls that are under way must have ended.
func (c *Client) Close() { c.close() }

// tokenSource returns nil when calls carry no credentials.
func (config *Config) tokenSource() func(context.Context) (string, error) {
	if config.TokenSource != nil || config.Token == "" {
		return config.TokenSource
	}
	token := config.Token
	return func(context.Context) (string, error) { return token, nil }
}

// bearer attaches the token to every call.
func bearer(token func(context.Context) (string, error)) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		if token == nil {
			return next
		}
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			value, err := token(ctx)
			if err != nil {
				return nil, fmt.Errorf("getting a token: %w", err)
			}
			info, ok := connect.CallInfoForClientContext(ctx)
			if !ok {
				ctx, info = connect.NewClientContext(ctx)
			}
			info.RequestHeader().Set("Authorization", "Bearer "+value)
			return next(ctx, spec)
		}
	}
}
