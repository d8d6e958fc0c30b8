package postgres_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Servers that start together migrate once; those that start later, not at all.
func TestMigrate(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewEmpty(t)
	var servers sync.WaitGroup
	for range 5 {
		servers.Go(func() {
			if err := postgres.Migrate(context.WithoutCancel(t.Context()), dsn); err != nil {
				t.Error(err)
			}
		})
	}
	servers.Wait()
	if err := postgres.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	create(t, open(t, dsn))
	if n := number(t, dsn, "SELECT count(*) FROM goose_db_version WHERE version_id = 1"); n != 1 {
		t.Fatalf("the first migration ran %d times", n)
	}
	if n := number(t, dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != 0 {
		t.Fatalf("%d locks are left", n)
	}
	if hash, err := postgres.MigrationHash(); err != nil || len(hash) != 16 {
		t.Fatalf("%s, %v", hash, err)
	}
	for _, url := range []string{"postgres://user:secret@host:port/x", "://", "host='"} {
		for _, err := range []error{postgres.Migrate(t.Context(), url), openError(t, url)} {
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		}
	}
	if err := openError(t, "postgres://nobody@127.0.0.1:1/x?connect_timeout=1"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func openError(t *testing.T, url string) error {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err == nil {
		s.Close()
	}
	return err
}

// Each month's histories have a partition of their own, made in time and once.
func TestHistoryPartitions(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	s := open(t, dsn)
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			if err := s.EnsureHistoryPartitions(context.WithoutCancel(t.Context()), 6); err != nil {
				t.Error(err)
			}
		})
	}
	makers.Wait()
	create(t, s)
	if n := number(t, dsn, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'workflow_event'::regclass"); n != 8 {
		t.Errorf("%d partitions, not a default one and seven months", n)
	}
	if n := number(t, dsn, "SELECT count(*) FROM workflow_event_default"); n != 0 {
		t.Errorf("%d events missed their partition", n)
	}
}

// Claims go by score and kind, each item to one worker, each worker one item.
func TestClaims(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	stores := []*postgres.Store{open(t, dsn), open(t, dsn)}
	const n = 120
	var all []flovyn.ExecutionID
	for i := range n {
		id := newID()
		all = append(all, id)
		err := stores[0].Do(t.Context(), postgres.Touch{}, func(tx *postgres.Tx) error {
			if err := insert(tx, id); err != nil {
				return err
			}
			e, err := tx.Execution(org, id)
			if err != nil {
				return err
			}
			e.Kind = []string{"even", "odd"}[i%2]
			tx.ListExecution(e)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	claim := func(s *postgres.Store, kinds []string, workers ...string) []flovyn.Activation {
		t.Helper()
		got, err := s.ClaimExecutions(context.WithoutCancel(t.Context()), org, "q", kinds, workers)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := claim(stores[0], []string{"odd"}, "w"); len(got) != 1 || got[0].Execution.ID != all[1] || got[0].Execution.WorkerID != "w" || string(got[0].Input) != `{"n":1}` {
		t.Fatalf("%+v", got)
	}
	if got := claim(stores[0], []string{"none"}, "w"); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	if got, err := stores[0].ClaimExecutions(t.Context(), flovyn.OrgID(newID()), "q", nil, []string{"w"}); err != nil || len(got) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	first := claim(stores[0], nil, "a", "b", "c")
	workers := map[string]flovyn.ExecutionID{}
	for _, a := range first {
		workers[a.Execution.WorkerID] = a.Execution.ID
	}
	if workers["a"] != all[0] || workers["b"] != all[2] || workers["c"] != all[3] {
		t.Fatalf("%v", workers)
	}
	var mu sync.Mutex
	seen := map[flovyn.ExecutionID]int{}
	var claimers sync.WaitGroup
	for i := range 6 {
		claimers.Go(func() {
			for {
				got := claim(stores[i%2], nil, "1", "2", "3", "4", "5")
				mu.Lock()
				for _, a := range got {
					seen[a.Execution.ID]++
				}
				enough := len(seen) == n-4
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	claimers.Wait()
	for id, times := range seen {
		if times != 1 || !slices.Contains(all, id) {
			t.Errorf("%s was claimed %d times", id, times)
		}
	}
	if n := number(t, dsn, "SELECT count(*) FROM ready"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Claiming while steps lock the same executions never deadlocks, whatever order
// the backlog is in.
func TestClaimsAmongSteps(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	s := open(t, dsn)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var ids []flovyn.ExecutionID
	for range 40 {
		ids = append(ids, create(t, s))
	}
	// A backlog in the opposite order of the ids.
	list := `INSERT INTO ready (class, id, org_id, queue, kind, score)
		SELECT 'workflow', id, org_id, queue, kind, now() - interval '1 s' * row_number() OVER (ORDER BY id) FROM workflow_execution ON CONFLICT DO NOTHING`
	for range 25 {
		if _, err := conn.Exec(t.Context(), "UPDATE workflow_execution SET status = 'PENDING'"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.ClaimExecutions(context.WithoutCancel(t.Context()), org, "q", nil, make([]string, 40)); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{Executions: ids}, func(tx *postgres.Tx) error {
				return appendSignal(tx, ids[0], "s")
			})
			if err != nil {
				t.Error(err)
			}
		})
		both.Wait()
	}
	if n := number(t, dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n != 0 {
		t.Fatalf("%d deadlocks", n)
	}
}
