package deploy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// serverVariable makes this program a server: it holds the ports and the database.
const serverVariable = "FLOVYN_DEPLOY_TEST_SERVER"

func TestMain(m *testing.M) {
	if settings, ok := os.LookupEnv(serverVariable); ok {
		os.Exit(serve(settings))
	}
	pgtest.Main(m)
}

// serve runs a server until it is told to stop, as flovyn-server does.
func serve(settings string) int {
	var httpPort, grpcPort int
	var dsn string
	if _, err := fmt.Sscan(settings, &httpPort, &grpcPort, &dsn); err != nil {
		return 2
	}
	cfg := servertest.Config(dsn)
	cfg.Server.HTTPPort, cfg.Server.GRPCPort, cfg.Server.Drain = httpPort, grpcPort, time.Second
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, cfg, server.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is a server in a process of its own, which can be replaced.
type process struct {
	httpPort, grpcPort int
	dsn                string

	mu  sync.Mutex
	cmd *exec.Cmd
}

// start starts the server and waits until it is ready.
func (p *process) start(ctx context.Context, t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", serverVariable, p.httpPort, p.grpcPort, p.dsn))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	await(ctx, t, "a server is ready", func() bool {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/_/health/ready", p.httpPort), http.NoBody)
		if err != nil {
			return false
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// stop tells the server to stop and returns how it ended.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	cmd := p.cmd
	p.cmd = nil
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

// await waits until something is so, and fails the test when ctx ends first.
func await(ctx context.Context, t *testing.T, what string, so func() bool) {
	t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for !so() {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
