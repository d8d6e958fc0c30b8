// Package torture holds nothing but tests: of servers, workers and a database as
// processes that are killed, frozen, cut off and starved while workflows run
// (TestTorture), and of what a server consumes when it runs for long (TestSoak).
//
// The processes are this test's own binary in other roles, so that nothing has to
// be built twice and the race detector, when it is on, watches all of them. A
// server in that role is the assembled program, as cmd/flovyn-server runs it.
package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// roleVariable tells a process of this binary what it is.
const roleVariable = "FLOVYN_TORTURE_ROLE"

// role is what a process needs to know.
type role struct {
	// Name is also the kind: it begins with "server" or "worker".
	Name string
	// Database and the ports are a server's.
	Database                      string
	HTTPPort, GRPCPort, StatsPort int
	// MaxConnections bounds the server's pool.
	MaxConnections int
	// Activation, Silence and Abandon are the server's patience with workers.
	Activation, Silence, Abandon time.Duration
	// URL is the server that a worker works for, Effects the file in which it
	// notes what its tasks did.
	URL, Effects string
}

func TestMain(m *testing.M) {
	text := os.Getenv(roleVariable)
	if text == "" {
		pgtest.Main(m)
	}
	os.Exit(play(text))
}

// play is a process in a role; it returns its exit code.
func play(text string) int {
	var r role
	err := json.Unmarshal([]byte(text), &r)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if r.URL != "" {
			err = r.work(ctx)
		} else {
			err = r.serve(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, r.Name+":", err)
		return 1
	}
	return 0
}

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// serve is a server, with one more port that tells what the process consumes.
func (r *role) serve(ctx context.Context) error {
	cfg := servertest.Config(r.Database)
	cfg.Database.MaxConnections = r.MaxConnections
	cfg.Server.HTTPPort, cfg.Server.GRPCPort = r.HTTPPort, r.GRPCPort
	cfg.Server.ShutdownTimeout = 10 * time.Second
	cfg.Engine.WorkflowActivationTimeout, cfg.Engine.TaskLivenessTimeout = r.Activation, r.Silence
	cfg.Engine.TaskAbandonTimeout = r.Abandon
	if r.StatsPort != 0 {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.StatsPort))
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(l, http.HandlerFunc(tellStats)) }()
	}
	return server.Run(ctx, cfg, server.Options{Log: logger(), Version: "torture"})
}

// stats is what a process knows of itself.
type stats struct {
	Goroutines int
	Heap       uint64
	Clock      time.Time
}

func tellStats(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = json.NewEncoder(w).Encode(stats{Goroutines: runtime.NumGoroutine(), Heap: m.HeapAlloc, Clock: time.Now()})
}

// work is a worker that knows the ordeal.
func (r *role) work(ctx context.Context) error {
	effects, err := os.OpenFile(r.Effects, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer effects.Close()
	c, err := client.New(client.Config{URL: r.URL, Token: servertest.WorkerKey})
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := flow.NewWorker(c, flow.Options{
		Org: servertest.Org.String(), Name: r.Name, MaxWorkflows: 8, MaxTasks: 8, PollTimeout: 5 * time.Second,
		HeartbeatInterval: time.Second, GracePeriod: 2 * time.Second, Logger: logger(),
	})
	if err != nil {
		return err
	}
	register(w, effects)
	return w.Run(ctx)
}
