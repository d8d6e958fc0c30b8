package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

// output is what a program writes, readable while it runs.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // tells that there is more, without queueing
}

func newOutput() *output { return &output{written: make(chan struct{}, 1)} }

// Write takes more text.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.written <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

// String returns what there is by now.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await returns when the text contains want, or fails when the program ends
// without it.
func (o *output) await(t *testing.T, want string, ended <-chan int) {
	t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(o.String(), want) {
		select {
		case <-o.written:
		case code := <-ended:
			t.Fatalf("the program ended with %d before it wrote %q:\n%s", code, want, o)
		case <-deadline:
			t.Fatalf("the program did not write %q in time:\n%s", want, o)
		}
	}
}

// running is a program under way.
type running struct {
	stdout, stderr *output
	interrupt      context.CancelFunc
	ended          chan int
}

// launch runs the program in the background.
func launch(t *testing.T, environ []string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{stdout: newOutput(), stderr: newOutput(), interrupt: cancel, ended: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- program(ctx, args, environ, r.stdout, r.stderr)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// code waits for the end of the program and returns its exit code.
func (r *running) code(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.ended:
		return code
	case <-time.After(patience):
		t.Fatalf("the program does not end:\n%s\n%s", r.stdout, r.stderr)
		return 0
	}
}

// place is a data directory that the unprivileged user can reach whom PostgreSQL
// runs as when the tests run as root.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "flovyn-dev-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

func TestDevServesUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := place(t)
	r := launch(t, []string{"DATABASE_URL=postgres://not-wanted"}, "dev", "--http-port=0", "--grpc-port=0", "--data-dir", dir)
	r.stdout.await(t, "GetEvents", r.ended)
	startedBy(t, curls(r.stdout.String())[0])
	for _, want := range []string{"HTTP", "gRPC", dir, "flovyn_sk_dev_admin", "fwt_dev_worker", "550e8400-e29b-41d4-a716-446655440000"} {
		if !strings.Contains(r.stdout.String(), want) {
			t.Errorf("%q is not said:\n%s", want, r.stdout)
		}
	}
	r.interrupt()
	if code := r.code(t); code != exitOK {
		t.Errorf("it ended with %d: %s", code, r.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("PostgreSQL still runs (%v)", err)
	}
}

func TestDevRefuses(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // after the subtests, which are parallel
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a taken port":         {[]string{"--temporary", "--http-port", port}, exitFailure, "port " + port + " cannot be used"},
		"a configuration file": {[]string{"--config", "x.toml"}, exitUsage, "dev takes no configuration file"},
		"half a demo":          {[]string{"--exit-when-done"}, exitUsage, "--demo"},
		"an unknown flag":      {[]string{"--port", "1"}, exitUsage, "unknown flag"},
		"an unknown log level": {[]string{"--log-level", "loud"}, exitUsage, "log level"},
		"two databases":        {[]string{"--database-url", "postgres://h/d", "--temporary"}, exitUsage, "--temporary"},
		"two places":           {[]string{"--data-dir", "/x", "--temporary"}, exitUsage, "--temporary excludes --data-dir"},
		"no HTTP port":         {[]string{"--http-port", "99999"}, exitUsage, "--http-port: want a number from 0 to 65535"},
		"no gRPC port":         {[]string{"--grpc-port", "-1"}, exitUsage, "--grpc-port: want a number from 0 to 65535"},
		"no URL":               {[]string{"--database-url", "postgres://h:port/d"}, exitUsage, "--database-url (or DATABASE_URL): "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := launch(t, nil, append([]string{"dev"}, test.args...)...)
			if code := r.code(t); code != test.code || !strings.Contains(r.stderr.String(), test.want) {
				t.Errorf("it ended with %d, want %d and %q:\n%s", code, test.code, test.want, r.stderr)
			}
		})
	}
}

func TestDevHelpKeepsSecrets(t *testing.T) {
	t.Parallel()
	r := launch(t, []string{"DATABASE_URL=postgres://u:geheim@h/d"}, "dev", "--help")
	if code := r.code(t); code != exitOK || strings.Contains(r.stdout.String(), "geheim") || !strings.Contains(r.stdout.String(), "--data-dir") {
		t.Errorf("it ended with %d:\n%s", code, r.stdout)
	}
}

func TestDevDemoExits(t *testing.T) {
	t.Parallel()
	r := launch(t, nil, "dev", "--demo", "--exit-when-done", "--temporary", "--http-port=0", "--grpc-port=0")
	if code := r.code(t); code != exitOK || !strings.Contains(r.stdout.String(), "WORKFLOW_COMPLETED") {
		t.Errorf("it ended with %d:\n%s\n%s", code, r.stdout, r.stderr)
	}
	lines := curls(r.stdout.String())
	if len(lines) != 2 || !strings.Contains(lines[0], "http://127.0.0.1:8000/") || !strings.Contains(r.stdout.String(), "buf curl http://127.0.0.1:9090/") {
		t.Errorf("it does not say what to paste:\n%s", r.stdout)
	}
}

// curls are the command lines of curl in a text.
func curls(text string) []string {
	return regexp.MustCompile(`(?m)^ *curl (.*\\\n)*.*$`).FindAllString(text, -1)
}

// startedBy runs a command line that starts a workflow and returns its id.
func startedBy(t *testing.T, line string) string {
	t.Helper()
	var started struct{ WorkflowExecutionID string }
	if err := json.Unmarshal(shell(t, line), &started); err != nil || started.WorkflowExecutionID == "" {
		t.Fatalf("%s\nstarted nothing (%v)", line, err)
	}
	return started.WorkflowExecutionID
}

// The command lines that are printed, and the README's, order something, have it approved, and show
// how it completed.
func TestDevDemoInvites(t *testing.T) {
	t.Parallel()
	r := launch(t, nil, "dev", "--demo", "--temporary", "--http-port=0", "--grpc-port=0")
	r.stdout.await(t, "GetEvents", r.ended)
	printed := curls(r.stdout.String())
	if len(printed) != 2 {
		t.Fatalf("%d command lines, want one to order and one to approve:\n%s", len(printed), r.stdout)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	usual := "http://127.0.0.1:8000"
	here := printed[0][strings.Index(printed[0], "http"):strings.Index(printed[0], "/flovyn")]
	for _, order := range []string{printed[0], strings.ReplaceAll(curls(string(readme))[0], usual, here)} {
		id := startedBy(t, order)
		withID := func(line string) string { return strings.ReplaceAll(line, "ID", id) }
		// The promise is there when the order has come that far.
		history := withID(strings.NewReplacer("ResolvePromise", "GetEvents").Replace(printed[1]))
		history = regexp.MustCompile(`(?m)-d '.*'$`).ReplaceAllString(history, withID(`-d '{"workflowExecutionId": "ID"}'`))
		awaitEvent(t, history, "PROMISE_CREATED")
		shell(t, withID(printed[1]))
		awaitEvent(t, history, "WORKFLOW_COMPLETED")
	}

	r.interrupt()
	if code := r.code(t); code != exitOK {
		t.Errorf("it ended with %d:\n%s", code, r.stderr)
	}
	if r.stderr.String() != "" && strings.Contains(r.stderr.String(), "level=ERROR") {
		t.Errorf("the log has errors:\n%s", r.stderr)
	}
}

// shell runs a command line as somebody who pastes it.
func shell(t *testing.T, line string) []byte {
	t.Helper()
	answer, err := exec.CommandContext(t.Context(), "sh", "-c", line+" --fail-with-body --silent").Output()
	if err != nil {
		t.Fatalf("%s\nanswers %s (%v)", line, answer, err)
	}
	return answer
}

// awaitEvent asks for a history until it has an event.
func awaitEvent(t *testing.T, history, event string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		text := shell(t, history)
		if strings.Contains(string(text), event) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the order has no %s:\n%s", event, text)
		}
	}
}
