package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// overHTTP1 and overH2C are clients that close their connections when the test
// ends.
func overHTTP1(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func overH2C(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// withKey sends a credential with every call.
func withKey(key string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && key != "" {
				info.RequestHeader().Set("Authorization", "Bearer "+key)
			}
			return next(ctx, spec)
		}
	}
}

// protocol is a way to speak to a server.
type protocol struct {
	name    string
	client  func(*testing.T) *http.Client
	options []connecthttp.Option
}

var protocols = []protocol{
	{"grpc", overH2C, []connecthttp.Option{connecthttp.WithGRPC()}},
	{"grpcweb", overHTTP1, []connecthttp.Option{connecthttp.WithGRPCWeb()}},
	{"connect", overHTTP1, nil},
	{"connectjson", overHTTP1, []connecthttp.Option{connecthttp.WithProtoJSON()}},
}

func (p protocol) dial(t *testing.T, url, key string) *connect.Client {
	t.Helper()
	return connect.NewClient(connecthttp.NewTransport(p.client(t), url, p.options...), withKey(key))
}

// ports are the base URLs of a server.
func ports(s *servertest.Server) map[string]string {
	return map[string]string{"http": s.HTTP, "grpc": s.GRPC}
}

// reply is what a plain HTTP request was answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// request sends a plain HTTP request.
func request(t *testing.T, client *http.Client, method, url string, header map[string]string, body string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(text)}
}

// decode reads a JSON object.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%q is no JSON object: %v", text, err)
	}
	return object
}
