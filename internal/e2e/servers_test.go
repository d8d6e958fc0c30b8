// Package e2e holds nothing but tests: of server processes as an operator runs
// them, driven over the wire by workers in this process.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
	"github.com/flovyn/flovyn-server/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	orgID     = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	userKey   = "flovyn_sk_test_0123456789abcdef"
	workerKey = "flovyn_wk_test_0123456789abcdef"
)

// serverProcess is flovyn-server in a process of its own, which can be stopped
// and started again on the same ports.
type serverProcess struct {
	t        *testing.T
	binary   string
	config   string
	httpPort int
	cmd      *exec.Cmd
	output   *bytes.Buffer
}

// build builds the server once for a test.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "flovyn-server")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/flovyn/flovyn-server/cmd/flovyn-server")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the server: %v\n%s", err, out)
	}
	return binary
}

func newServer(t *testing.T, binary, dsn string) *serverProcess {
	t.Helper()
	s := &serverProcess{t: t, binary: binary, httpPort: freePort(t)}
	s.config = filepath.Join(t.TempDir(), "config.toml")
	text := fmt.Sprintf(`
[database]
url = %q
[server]
host = "127.0.0.1"
http_port = %d
grpc_port = %d
[[orgs]]
id = %q
name = "Test"
slug = "test-org"
[auth.static_api_key]
keys = [
  { key = %q, org_id = %q, principal_type = "User", principal_id = "api:test", role = "ADMIN" },
  { key = %q, org_id = %q, principal_type = "Worker", principal_id = "worker:test" },
]
[auth.endpoints.http]
authenticators = ["static_api_key"]
authorizer = "cedar"
[auth.endpoints.grpc]
authenticators = ["static_api_key"]
authorizer = "cedar"
`, dsn, s.httpPort, freePort(t), orgID, userKey, orgID, workerKey, orgID)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("server on port %d said:\n%s", s.httpPort, s.output)
		}
	})
	s.output = &bytes.Buffer{}
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *serverProcess) url() string { return "http://127.0.0.1:" + strconv.Itoa(s.httpPort) }

func (s *serverProcess) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "--config", s.config)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for range ticks.C {
		resp, err := http.Get(s.url() + "/_/health/ready")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server did not become ready: %v\n%s", err, s.output)
		}
	}
}

// stop stops the server as an operator does and waits for its end.
func (s *serverProcess) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("the server did not stop cleanly: %v\n%s", err, s.output)
	}
	s.cmd = nil
}

func (s *serverProcess) client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url(), Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// tally counts how often each task and workflow was run.
type tally struct {
	mu    sync.Mutex
	tasks map[int]int
	done  atomic.Int64
}

func (c *tally) register(w *flow.Worker) {
	w.RegisterTask("double", func(_ context.Context, t *flow.Task) (any, error) {
		var n int
		if err := t.Decode(&n); err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.tasks[n]++
		c.mu.Unlock()
		c.done.Add(1)
		return 2 * n, nil
	})
	w.RegisterWorkflow("doubling", func(ctx *flow.Context, input json.RawMessage) (any, error) {
		return flow.Result[int](ctx.ScheduleTask("double", input, flow.TaskOptions{}))
	})
}

// runWorker runs a worker against one server until it is stopped, or the test ends.
func (c *tally) runWorker(t *testing.T, s *serverProcess, name string) (stop func()) {
	t.Helper()
	w, err := flow.NewWorker(s.client(workerKey), flow.Options{
		Org: orgID, Name: name, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.register(w)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx) // what it did not do is missed below
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// TestTwoServersShareOneQueue runs 500 workflows on two servers and one
// database, while one of the servers is stopped and started again.
func TestTwoServersShareOneQueue(t *testing.T) {
	t.Parallel()
	const workflows = 500
	dsn, binary := pgtest.New(t), build(t)
	one, two := newServer(t, binary, dsn), newServer(t, binary, dsn)
	one.start()
	two.start()
	counts := &tally{tasks: map[int]int{}}
	counts.runWorker(t, one, "worker-one")
	counts.runWorker(t, two, "worker-two")

	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		counts.waitFor(t, workflows/5)
		one.stop()
		counts.waitFor(t, workflows/2)
		one.start()
	}()

	ids := startAll(t, workflows, one.client(userKey), two.client(userKey))
	reader := two.client(userKey)
	for n, id := range ids {
		output, err := reader.WaitResult(t.Context(), id)
		if err != nil || string(output) != strconv.Itoa(2*n) {
			t.Fatalf("workflow %d (%s) ended with %s, %v", n, id, output, err)
		}
		checkHistory(t, reader, id)
	}
	<-restarted
	counts.mu.Lock()
	defer counts.mu.Unlock()
	for n := range workflows {
		if counts.tasks[n] != 1 {
			t.Errorf("the task of workflow %d ran %d times", n, counts.tasks[n])
		}
	}
	checkNothingLeft(t, dsn)
}

// waitFor waits until so many tasks were run.
func (c *tally) waitFor(t *testing.T, n int) {
	t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for c.done.Load() < int64(n) {
		select {
		case <-ticks.C:
		case <-t.Context().Done():
			return
		}
	}
}

// startAll starts workflows, each through either server: an idempotency key
// makes asking the other one harmless.
func startAll(t *testing.T, n int, clients ...*client.Client) []string {
	t.Helper()
	ids := make([]string, n)
	var group sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			start := client.Start{Org: orgID, Kind: "doubling", Input: i, IdempotencyKey: "doubling-" + strconv.Itoa(i)}
			for try := range 100 {
				id, err := clients[(i+try)%len(clients)].StartWorkflow(t.Context(), start)
				if err == nil {
					ids[i] = id
					return
				}
				if connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("starting workflow %d: %v", i, err)
					return
				}
			}
			t.Errorf("workflow %d was never started", i)
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return ids
}

func checkHistory(t *testing.T, c *client.Client, id string) {
	t.Helper()
	events, err := c.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for i, e := range events {
		if e.Seq != i+1 {
			t.Fatalf("event %d of %s has sequence number %d", i+1, id, e.Seq)
		}
		types = append(types, string(e.Type))
	}
	const want = "WORKFLOW_STARTED TASK_SCHEDULED WORKFLOW_SUSPENDED TASK_COMPLETED WORKFLOW_COMPLETED"
	if got := strings.Join(types, " "); got != want {
		t.Fatalf("history of %s: %s", id, got)
	}
}

// checkNothingLeft looks into the database for work that nobody will end.
func checkNothingLeft(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for what, query := range map[string]string{
		"open executions": "SELECT count(*) FROM workflow_execution WHERE ended_at IS NULL",
		"open tasks":      "SELECT count(*) FROM task_execution WHERE ended_at IS NULL",
		"backlog":         "SELECT count(*) FROM ready",
		"timers":          "SELECT count(*) FROM timer",
	} {
		var n int
		if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			t.Errorf("%d %s are left", n, what)
		}
	}
}
