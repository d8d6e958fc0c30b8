package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// A process runs this binary in a role, again and again: one that ends is started
// anew, as an operator's supervisor would.
type process struct {
	t    *testing.T
	role role
	env  []string

	mu     sync.Mutex
	cmd    *exec.Cmd // nil between two runs
	starts int
	output ring
	broken bool // a run of it panicked or raced
	done   chan struct{}
	stop   context.CancelFunc
}

// restartPause is how soon a process that ended is started again.
const restartPause = 300 * time.Millisecond

func start(t *testing.T, r role) *process {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &process{t: t, role: r, done: make(chan struct{}), stop: stop}
	go p.supervise(ctx)
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s, started %d times, said last:\n%s", r.Name, p.runs(), p.output.String())
		}
	})
	return p
}

func (p *process) supervise(ctx context.Context) {
	defer close(p.done)
	// The kernel ends a child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		cmd, err := p.spawn()
		if err != nil {
			p.t.Errorf("starting %s: %v", p.role.Name, err)
			return
		}
		waited := make(chan error, 1)
		go func() { waited <- cmd.Wait() }()
		select {
		case <-waited:
		case <-ctx.Done():
			p.signal(syscall.SIGCONT)
			p.signal(syscall.SIGTERM)
			select {
			case <-waited:
			case <-time.After(20 * time.Second):
				p.signal(syscall.SIGKILL)
				p.t.Errorf("%s did not stop when asked: %v", p.role.Name, <-waited)
			}
		}
		p.mu.Lock()
		p.cmd = nil
		text := p.output.String()
		p.broken = p.broken || strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic: ")
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

func (p *process) spawn() (*exec.Cmd, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, err := json.Marshal(p.role)
	if err != nil {
		return nil, err
	}
	// Without a context: its supervisor ends it, with a signal of its choice.
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), roleVariable+"="+string(text)), p.env...)
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.cmd = cmd
	p.starts++
	return cmd, nil
}

// signal sends a signal to the process, if it runs.
func (p *process) signal(s syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.cmd.Process.Signal(s) == nil
}

// pid returns the process's id, 0 between two runs.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// setEnv is what the next run finds in its environment beside everything else.
func (p *process) setEnv(env ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = env
}

// end stops the process for good.
func (p *process) end() {
	p.stop()
	<-p.done
}

// runs is how often the process was started.
func (p *process) runs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// ring keeps the last of what is written.
type ring struct {
	mu  sync.Mutex
	buf []byte
}

const ringSize = 64 << 10

func (r *ring) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, b...)
	if len(r.buf) > ringSize {
		r.buf = append([]byte(nil), r.buf[len(r.buf)-ringSize:]...)
	}
	return len(b), nil
}

func (r *ring) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.buf)
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

// startServer starts a server process on ports of its own.
func startServer(t *testing.T, r role) *process {
	t.Helper()
	r.HTTPPort, r.GRPCPort, r.StatsPort = freePort(t), freePort(t), freePort(t)
	return start(t, r)
}

func (p *process) url() string { return "http://127.0.0.1:" + strconv.Itoa(p.role.GRPCPort) }

// startWorker starts a worker process for a server's address. Its tasks write
// their effects into dir.
func startWorker(t *testing.T, name, url, dir string) *process {
	t.Helper()
	return start(t, role{Name: name, URL: url, Effects: filepath.Join(dir, name+".effects")})
}

func (p *process) get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// awaitReady waits until the server serves.
func (p *process) awaitReady(within time.Duration) {
	p.t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/_/health/ready", p.role.HTTPPort)
	err := eventually(p.t.Context(), within, func() error { return p.get(p.t.Context(), url, nil) })
	if err != nil {
		p.t.Fatalf("%s did not become ready within %v: %v", p.role.Name, within, err)
	}
}

// eventually tries until there is no error, for so long at most.
func eventually(ctx context.Context, within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// newClient is a client of a server's address, as a person uses it.
func newClient(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Token: servertest.AdminKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRoles starts a server and a worker as processes and runs one ordeal.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := startServer(t, role{
		Name: "server", Database: pgtest.New(t), MaxConnections: 8,
		Activation: 10 * time.Second, Silence: 10 * time.Second, Abandon: time.Minute,
	})
	s.awaitReady(time.Minute)
	dir := t.TempDir()
	startWorker(t, "worker", s.url(), dir)
	c := newClient(t, s.url())
	if err := runOne(t.Context(), c, ordeal{N: 5}, time.Minute); err != nil {
		t.Fatal(err)
	}
	effects, err := effectsIn([]string{filepath.Join(dir, "worker.effects")})
	if err != nil || len(effects) != 4 {
		t.Errorf("%d tasks had an effect (%v)", len(effects), err)
	}
}

// runOne starts an ordeal, gives it what it waits for, and checks its result.
func runOne(ctx context.Context, c *client.Client, o ordeal, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("ordeal %d did not end within %v", o.N, within))
	defer cancel()
	id, err := c.StartWorkflow(ctx, client.Start{Org: servertest.Org.String(), Kind: "ordeal", Input: o})
	if err != nil {
		return fmt.Errorf("starting ordeal %d: %w", o.N, err)
	}
	if err := c.Signal(ctx, servertest.Org.String(), id, "go", signalValue); err != nil {
		return fmt.Errorf("signalling ordeal %d: %w", o.N, err)
	}
	err = eventually(ctx, within, func() error { return c.ResolvePromiseByName(ctx, id, "gate", gateValue) })
	if err != nil {
		return fmt.Errorf("opening the gate of ordeal %d: %w", o.N, err)
	}
	output, err := c.WaitResult(ctx, id)
	if err != nil {
		return fmt.Errorf("ordeal %d (%s): %w", o.N, id, err)
	}
	if string(output) != strconv.Itoa(o.result()) {
		return fmt.Errorf("ordeal %d (%s) ended with %s instead of %d", o.N, id, output, o.result())
	}
	return nil
}
