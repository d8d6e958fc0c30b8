package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgserver"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// BenchmarkOneTask runs workflows of one task each, start to result, on a
// durable PostgreSQL without any transport: what the engine itself costs. It
// reports commits, row writes and WAL bytes per workflow beside the time.
func BenchmarkOneTask(b *testing.B) {
	for _, inFlight := range []int{1, 10, 50, 200} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) { benchmarkOneTask(b, inFlight) })
	}
}

func benchmarkOneTask(b *testing.B, inFlight int) {
	b.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "flovyn-bench") //nolint:usetesting // a private folder of root is closed to the database's user
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // the database may run as another user
		b.Fatal(err)
	}
	server, err := pgserver.Start(b.Context(), pgserver.Config{DataDir: filepath.Join(dir, "pg"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Stop(context.WithoutCancel(b.Context())) }()
	if err := server.CreateDatabase(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	dsn := server.DSN("bench")
	if err := postgres.Migrate(b.Context(), dsn); err != nil {
		b.Fatal(err)
	}
	before := counters(b, dsn)
	store, err := postgres.Open(b.Context(), postgres.Config{URL: dsn})
	if err != nil {
		b.Fatal(err)
	}
	e := engine.New(engine.Config{Store: store})
	tasks := task.New(store, e, slog.New(slog.DiscardHandler))
	r := &oneTaskRun{b: b, engine: e, tasks: tasks, key: wake.Key{Org: flovyn.OrgID(uuid.New()), Queue: "default"}, results: &sync.Map{}}

	ctx, cancel := context.WithCancel(b.Context())
	var workers sync.WaitGroup
	for range min(inFlight, 50) {
		workers.Go(func() { r.workflowWorker(ctx) })
		workers.Go(func() { r.taskWorker(ctx) })
	}
	r.run(inFlight, inFlight) // warm up
	b.ResetTimer()
	began := time.Now()
	r.run(b.N, inFlight)
	elapsed := time.Since(began)
	b.StopTimer()
	cancel()
	e.ClosePolls()
	workers.Wait()
	e.Close()
	store.Close() // a session reports what it counted when it ends
	after := counters(b, dsn)
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "workflows/s")
	for i, name := range []string{"commits/op", "rows/op", "walB/op"} {
		b.ReportMetric(float64(after[i]-before[i])/float64(b.N+inFlight), name)
	}
}

type oneTaskRun struct {
	b       *testing.B
	engine  *engine.Engine
	tasks   *task.Tasks
	key     wake.Key
	results *sync.Map
}

// run starts n workflows, so many in flight, and waits for their results.
func (r *oneTaskRun) run(n, inFlight int) {
	var group sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			done := make(chan struct{})
			started, err := r.engine.Start(r.b.Context(), engine.StartRequest{
				Org: r.key.Org, Kind: "one", Input: []byte(`{"n":1}`),
			})
			if err != nil {
				r.b.Error(err)
				return
			}
			if _, over := r.results.LoadOrStore(started.ID, done); !over {
				<-done
			}
			r.results.Delete(started.ID)
		})
	}
	group.Wait()
}

func (r *oneTaskRun) workflowWorker(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := r.engine.Poll(ctx, r.key, wake.Poller{Worker: "w"}, time.Second)
		if err != nil || a == nil {
			continue
		}
		id, org := a.Execution.ID, r.key.Org
		events, err := r.engine.Events(ctx, org, id)
		if err != nil {
			r.b.Error(err)
			return
		}
		commands, status := []history.Command{history.ScheduleTask{ID: newTaskID(), Kind: "t", Input: []byte(`{"n":1}`), MaxRetries: 3}}, history.Suspended
		if len(events) > 1 {
			commands, status = []history.Command{history.CompleteWorkflow{Output: []byte(`{"n":2}`)}}, history.Completed
		}
		if err := r.engine.Submit(ctx, org, id, commands, status); err != nil && ctx.Err() == nil {
			r.b.Error(err)
			return
		}
		if status == history.Completed {
			if done, waiting := r.results.LoadOrStore(id, nil); waiting && done != nil {
				close(done.(chan struct{}))
			}
		}
	}
}

func (r *oneTaskRun) taskWorker(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := r.tasks.Poll(ctx, r.key, wake.Poller{Worker: "w"}, time.Second)
		if err != nil || a == nil {
			continue
		}
		if err := r.tasks.Complete(ctx, r.key.Org, a.Task.ID, []byte(`{"n":2}`)); err != nil && ctx.Err() == nil {
			r.b.Error(err)
			return
		}
	}
}

// counters reads how many commits, row writes and WAL bytes the database has seen.
func counters(b *testing.B, dsn string) (c [3]int64) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	err = conn.QueryRow(b.Context(), `
		SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
		       (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables),
		       (SELECT wal_bytes::bigint FROM pg_stat_wal)`).Scan(&c[0], &c[1], &c[2])
	if err != nil {
		b.Fatal(err)
	}
	return c
}
