package deploy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/jackc/pgx/v5"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// proxied is three servers behind nginx with the configuration of deploy/.
type proxied struct {
	servers []*process
	// HTTP and GRPC are what clients know.
	httpURL, grpcURL string
	roots            *x509.CertPool
}

func newProxied(ctx context.Context, t *testing.T) *proxied {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatal("there is no nginx: install it (apt-get install nginx-light), or have tools/prepare-tests.sh do it as root")
		}
	}
	p := &proxied{}
	dsn, dir := pgtest.New(t), t.TempDir()
	for range 3 {
		p.servers = append(p.servers, &process{httpPort: freePort(t), grpcPort: freePort(t), dsn: dsn})
	}
	t.Cleanup(func() {
		for _, s := range p.servers {
			if err := s.stop(); err != nil {
				t.Errorf("a server ended badly: %v", err)
			}
		}
	})
	for _, s := range p.servers {
		s.start(ctx, t)
	}
	p.certificate(t, dir)
	httpPort, grpcPort := freePort(t), freePort(t)
	p.httpURL, p.grpcURL = fmt.Sprintf("https://127.0.0.1:%d", httpPort), fmt.Sprintf("https://127.0.0.1:%d", grpcPort)
	replace := []string{
		"worker_processes auto;", "worker_processes 1; daemon off; error_log stderr; pid " + dir + "/nginx.pid;",
		"/var/log/nginx/access.log", "off", "/etc/nginx/tls", dir,
		"listen 443", fmt.Sprintf("listen 127.0.0.1:%d", httpPort), "listen 9090", fmt.Sprintf("listen 127.0.0.1:%d", grpcPort),
		"\nhttp {\n", "\nhttp {\n" + temporary(dir),
	}
	if os.Geteuid() == 0 {
		replace = append(replace, "events {", "user root;\nevents {")
	}
	for i, s := range p.servers {
		name := fmt.Sprintf("flovyn-%d.internal:", i+1)
		replace = append(replace, name+"8000", fmt.Sprintf("127.0.0.1:%d", s.httpPort), name+"9090", fmt.Sprintf("127.0.0.1:%d", s.grpcPort))
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(read(t, "deploy", "proxy", "nginx.conf"))), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-e", "stderr", "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to
	})
	client := p.client(t)
	await(ctx, t, "nginx passes requests on", func() bool {
		status, _ := call(ctx, t, client, http.MethodGet, p.httpURL+"/_/health", "", "")
		return status == http.StatusOK
	})
	return p
}

// temporary has nginx keep its temporary files where the test may write.
func temporary(dir string) (lines string) {
	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "    %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	lines += paths.String()
	return lines
}

// certificate makes one that clients of the test trust.
func (p *proxied) certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "flovyn"}, DNSNames: []string{"api.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"fullchain.pem": chain, "privkey.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(chain)
}

// client speaks HTTP/2 over TLS, as SDKs and browsers do.
func (p *proxied) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: p.roots, ServerName: "api.example.com", MinVersion: tls.VersionTLS12},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (p *proxied) dispatch(t *testing.T) flovynv1connect.WorkflowDispatchClient {
	t.Helper()
	key := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+servertest.WorkerKey)
			}
			return next(ctx, spec)
		}
	}
	return flovynv1connect.NewWorkflowDispatchClient(
		connect.NewClient(connecthttp.NewTransport(p.client(t), p.grpcURL, connecthttp.WithGRPC()), key))
}

// call sends a plain request; status is 0 when there was no answer.
func call(ctx context.Context, t *testing.T, client *http.Client, method, url, key, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(all)
}

// load is what clients do while servers are replaced.
type load struct {
	*proxied

	started, completed, polls, reads, retried atomic.Int64
	mu                                        sync.Mutex
	failures                                  []string
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

// starter starts workflows by gRPC, without a key: a start that fails must not be
// sent again, so that none may fail.
func (l *load) starter(ctx context.Context, t *testing.T) {
	t.Helper()
	dispatch := l.dispatch(t)
	for ctx.Err() == nil {
		_, err := dispatch.StartWorkflow(context.WithoutCancel(ctx), &flovynv1.StartWorkflowRequest{
			OrgId: servertest.Org.String(), WorkflowKind: "k", Queue: "q",
		})
		if err != nil {
			l.fail("a start by gRPC: %v", err)
			return
		}
		l.started.Add(1)
	}
}

// browser reads by REST, through the other door.
func (l *load) browser(ctx context.Context, t *testing.T) {
	t.Helper()
	client := l.client(t)
	for ctx.Err() == nil {
		status, body := call(context.WithoutCancel(ctx), t, client, http.MethodGet, l.httpURL+"/api/orgs/"+servertest.OrgSlug, servertest.AdminKey, "")
		if status != http.StatusOK || !strings.Contains(body, servertest.Org.String()) {
			l.fail("a read by REST: %d %s", status, body)
			return
		}
		l.reads.Add(1)
	}
}

// worker executes workflows until there is nothing left to do. A poll may be sent
// again, and a submission too: it is recognized.
func (l *load) worker(ctx context.Context, t *testing.T) {
	t.Helper()
	dispatch := l.dispatch(t)
	for ctx.Err() == nil {
		l.polls.Add(1)
		polled, err := dispatch.PollWorkflow(ctx, &flovynv1.PollRequest{
			OrgId: servertest.Org.String(), WorkerId: "w", Queue: "q", TimeoutSeconds: 60,
		})
		if err != nil {
			if ctx.Err() == nil {
				l.retry("a poll", err)
			}
			continue
		}
		if polled.GetWorkflowExecution() == nil {
			continue
		}
		submission := &flovynv1.SubmitWorkflowCommandsRequest{
			WorkflowExecutionId: polled.GetWorkflowExecution().GetId(), Status: flovynv1.WorkflowStatus_COMPLETED,
			Commands: []*flovynv1.WorkflowCommand{{
				SequenceNumber: 1, CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
				CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{}},
			}},
		}
		for {
			if _, err = dispatch.SubmitWorkflowCommands(context.WithoutCancel(ctx), submission); err == nil {
				break
			}
			if !l.retry("a submission", err) || ctx.Err() != nil {
				break
			}
		}
		l.completed.Add(1)
	}
}

// retry reports whether a client may send a call again, which failed.
func (l *load) retry(what string, err error) bool {
	l.retried.Add(1)
	if code := connect.CodeOf(err); code != connect.CodeUnavailable {
		l.fail("%s: %v", what, err)
		return false
	}
	return true
}

// Three servers are replaced one after the other, behind a proxy and under load:
// no start is lost, none happens twice, and none fails.
func TestRollingRestartBehindNginx(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l := &load{proxied: newProxied(ctx, t)}
	l.doors(ctx, t)
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	starting, stopStarting := context.WithCancel(ctx)
	defer stopStarting()
	var clients, workers sync.WaitGroup
	clients.Go(func() { l.browser(starting, t) })
	for range 2 {
		clients.Go(func() { l.starter(starting, t) })
		workers.Go(func() { l.worker(working, t) })
		workers.Go(func() { l.worker(working, t) })
	}
	progress := func(n int64) {
		from := l.started.Load()
		await(ctx, t, "workflows go on being started", func() bool { return l.started.Load() >= from+n || l.failed() })
	}
	for _, s := range l.servers {
		progress(20)
		if err := s.stop(); err != nil {
			t.Errorf("a server ended badly: %v", err)
		}
		progress(20) // with two
		s.start(ctx, t)
	}
	progress(20)
	stopStarting()
	clients.Wait()
	conn, err := pgx.Connect(ctx, l.servers[0].dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var total, completed int64
	await(ctx, t, "every workflow has ended", func() bool {
		if err := conn.QueryRow(ctx, "SELECT count(*), count(ended_at) FROM workflow_execution").Scan(&total, &completed); err != nil {
			t.Fatal(err)
		}
		return total == completed
	})
	stopWorking()
	workers.Wait()
	if total != l.started.Load() {
		t.Errorf("%d workflows were started, %d are there", l.started.Load(), total)
	}
	for _, failure := range l.failures {
		t.Error(failure)
	}
	t.Logf("3 servers replaced: %d starts, %d reads, %d polls, %d calls sent again, none failed that must not be",
		l.started.Load(), l.reads.Load(), l.polls.Load(), l.retried.Load())
}

func (l *load) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failures) > 0
}

// doors checks that each door keeps its own protection behind the proxy, and that
// metrics stay inside.
func (p *proxied) doors(ctx context.Context, t *testing.T) {
	t.Helper()
	client := p.client(t)
	for url, want := range map[string]int{
		p.httpURL + "/_/health": http.StatusOK, p.httpURL + "/_/metrics": http.StatusNotFound, p.grpcURL + "/_/metrics": http.StatusNotFound,
		p.httpURL + "/api/orgs/" + servertest.OrgSlug: http.StatusUnauthorized,
	} {
		if status, body := call(ctx, t, client, http.MethodGet, url, "", ""); status != want {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
}
