package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// The health paths answer everybody, on both ports.
func TestHealthPaths(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	checks := map[string]any{"database": map[string]any{"status": "UP"}, "server": map[string]any{"status": "UP"}}
	for _, url := range ports(s) {
		for path, want := range map[string]map[string]any{
			"/_/health":         {"status": "UP", "version": "test", "plugins": []any{}},
			"/_/health/live":    {"status": "UP"},
			"/_/health/ready":   {"status": "UP", "checks": checks},
			"/_/health/startup": {"status": "UP", "checks": checks},
		} {
			got := request(t, overHTTP1(t), http.MethodGet, url+path, nil, "")
			if diff := cmp.Diff(want, decode(t, got.body)); got.status != http.StatusOK || diff != "" {
				t.Errorf("%s: %d (-want +got):\n%s", path, got.status, diff)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("%s: %s", path, kind)
			}
		}
	}
}

// While the database is away the server lives and is not ready; and it says so
// without telling where the database is.
func TestNotReadyWithoutDatabase(t *testing.T) {
	t.Parallel()
	database := pgtest.Server(t)
	s := servertest.On(t, pgtest.NewOn(t, database))
	if err := database.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := overHTTP1(t)
	got := request(t, client, http.MethodGet, s.HTTP+"/_/health/ready", nil, "")
	want := map[string]any{"status": "DOWN", "checks": map[string]any{
		"database": map[string]any{"status": "DOWN", "error": "the database does not answer"}, "server": map[string]any{"status": "UP"},
	}}
	if diff := cmp.Diff(want, decode(t, got.body)); got.status != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("ready: %d (-want +got):\n%s", got.status, diff)
	}
	if got := request(t, client, http.MethodGet, s.HTTP+"/_/health/live", nil, ""); got.status != http.StatusOK {
		t.Errorf("live: %d", got.status)
	}
	header := map[string]string{"Authorization": "Bearer " + servertest.WorkerKey, "Content-Type": "application/json"}
	body := `{"workflowExecutionId": "01890a5d-ac96-774b-bcce-b302099a8057"}`
	got = request(t, client, http.MethodPost, s.HTTP+"/flovyn.v1.WorkflowDispatch/GetEvents", header, body)
	if code := decode(t, got.body)["code"]; code != "unavailable" || got.status != http.StatusServiceUnavailable {
		t.Errorf("a call: %d %s", got.status, got.body)
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	key := map[string]string{"Authorization": "Bearer " + servertest.AdminKey}
	for _, url := range ports(s) {
		for _, path := range []string{"/", "/nowhere", "/api/nothing", "/_/health/other"} {
			got := request(t, overHTTP1(t), http.MethodGet, url+path, key, "")
			if got.status != http.StatusNotFound || strings.TrimSpace(got.body) != `{"error":"not found"}` {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
		if got := request(t, overHTTP1(t), http.MethodGet, url+"/nowhere", nil, ""); got.status != http.StatusUnauthorized {
			t.Errorf("a stranger: %d", got.status)
		}
	}
}

// A plain POST of JSON is enough: no header of Connect's is needed.
func TestPlainJSON(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	header := map[string]string{"Authorization": "Bearer " + servertest.AdminKey, "Content-Type": "application/json"}
	body := `{"orgId": "` + servertest.Org.String() + `", "workflowKind": "order", "input": "eyJhIjoxfQ=="}`
	for _, url := range ports(s) {
		got := request(t, overHTTP1(t), http.MethodPost, url+"/flovyn.v1.WorkflowDispatch/StartWorkflow", header, body)
		id, _ := decode(t, got.body)["workflowExecutionId"].(string)
		if got.status != http.StatusOK || len(id) != 36 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		got = request(t, overHTTP1(t), http.MethodPost, url+"/flovyn.v1.WorkflowDispatch/GetEvents", header, `{"workflowExecutionId": "`+id+`"}`)
		events, _ := decode(t, got.body)["events"].([]any)
		if got.status != http.StatusOK || len(events) != 1 {
			t.Errorf("%d %s", got.status, got.body)
		}
		for _, broken := range []string{"{", `{"unknown": 1}`, `{"workflowExecutionId": 7}`, "[]", "null x"} {
			got = request(t, overHTTP1(t), http.MethodPost, url+"/flovyn.v1.WorkflowDispatch/GetEvents", header, broken)
			if code := decode(t, got.body)["code"]; code != "invalid_argument" || got.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", broken, got.status, got.body)
			}
		}
	}
}

// A request's id is the client's when it is a sensible one, else the server's.
func TestRequestID(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for sent, kept := range map[string]bool{"req-7": true, "": false, strings.Repeat("x", 200): false, "a b": false} {
		got := request(t, overHTTP1(t), http.MethodGet, s.HTTP+"/_/health", map[string]string{"X-Request-Id": sent}, "")
		id := got.header.Get("X-Request-Id")
		if (id == sent) != kept || id == "" {
			t.Errorf("sent %q, got %q", sent, id)
		}
	}
	for id, want := range map[string]bool{"a\nb": false, "a\"b": false, "\x7f": false, "ü": false, "A-1_b": true} {
		if server.Sensible(id) != want {
			t.Errorf("%q: sensible %v", id, !want)
		}
	}
}

// Pages of the configured origins may call; others may not, and by default none.
func TestCORS(t *testing.T) {
	t.Parallel()
	closed := servertest.New(t)
	open := servertest.New(t, func(c *config.Config) { c.Server.CORSOrigins = []string{"https://app.example.com"} })
	const path = "/flovyn.v1.WorkflowDispatch/StartWorkflow"
	for name, test := range map[string]struct {
		server *servertest.Server
		origin string
		want   string
	}{
		"configured": {open, "https://app.example.com", "https://app.example.com"},
		"another":    {open, "https://evil.example.com", ""},
		"by default": {closed, "https://app.example.com", ""},
	} {
		for _, url := range ports(test.server) {
			preflight := request(t, overHTTP1(t), http.MethodOptions, url+path, map[string]string{
				"Origin": test.origin, "Access-Control-Request-Method": "POST",
				"Access-Control-Request-Headers": "authorization,connect-protocol-version,content-type",
			}, "")
			if got := preflight.header.Get("Access-Control-Allow-Origin"); got != test.want {
				t.Errorf("%s: the preflight allows %q, want %q", name, got, test.want)
			}
			if test.want != "" && preflight.status != http.StatusNoContent {
				t.Errorf("%s: the preflight is answered %d", name, preflight.status)
			}
			// A refusal must reach the page too, or it cannot tell what is wrong.
			refused := request(t, overHTTP1(t), http.MethodPost, url+path,
				map[string]string{"Origin": test.origin, "Content-Type": "application/json"}, "{}")
			if got := refused.header.Get("Access-Control-Allow-Origin"); got != test.want || refused.status != http.StatusUnauthorized {
				t.Errorf("%s: the refusal is %d and allows %q, want %q", name, refused.status, got, test.want)
			}
		}
	}
}

// What other programs bring along works: grpc-go's client, its health checks,
// and reflection.
func TestForeignGRPCClients(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(s.GRPC, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	err = conn.Invoke(t.Context(), "/flovyn.v1.WorkflowDispatch/GetEvents", &flovynv1.GetEventsRequest{}, &flovynv1.GetEventsResponse{})
	if got := status.Convert(err); got.Code() != codes.Unauthenticated || got.Message() != "missing or invalid credentials" {
		t.Errorf("without a credential: %v", err)
	}
	client := healthpb.NewHealthClient(conn)
	for _, service := range []string{"", "flovyn.v1.WorkflowDispatch"} {
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of nobody: %v", err)
	}
	if got, err := client.List(t.Context(), &healthpb.HealthListRequest{}); err != nil || len(got.GetStatuses()) < 6 {
		t.Errorf("list of healths: %v, %v", got, err)
	}
	watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("watch: %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("watch at the end: %v, %v", got, err)
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	with := servertest.New(t)
	without := servertest.New(t, func(c *config.Config) { c.Server.Reflection = false })
	list := func(s *servertest.Server) ([]string, error) {
		transport := connecthttp.NewTransport(overH2C(t), s.GRPC, connecthttp.WithGRPC())
		stream := grpcreflect.NewClient(connect.NewClient(transport)).NewStream(t.Context())
		defer stream.Close()
		services, err := stream.ListServices()
		names := make([]string, len(services))
		for i, name := range services {
			names[i] = string(name)
		}
		return names, err
	}
	if got, err := list(with); err != nil || !slices.Contains(got, "flovyn.v1.WorkflowDispatch") {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := list(without); err == nil {
		t.Errorf("switched off, it tells %v", got)
	}
}

// With a certificate both ports speak TLS, HTTP/2 included.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	s := servertest.New(t, func(c *config.Config) { c.Server.TLSCertFile, c.Server.TLSKeyFile = cert, key })
	for _, url := range ports(s) {
		for _, protocol := range protocols {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
			t.Cleanup(transport.CloseIdleConnections)
			protocol.client = func(*testing.T) *http.Client { return &http.Client{Transport: transport} }
			checkScenario(t, protocol, strings.Replace(url, "http://", "https://", 1), protocol.name+url)
		}
	}
}

// certificate makes a certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER), pool
}
