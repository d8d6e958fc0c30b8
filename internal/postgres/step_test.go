package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

var org = flovyn.OrgID(uuid.MustParse("0a0a0a0a-0000-4000-8000-000000000001"))

func open(t *testing.T, dsn string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func number(t *testing.T, dsn, sql string, args ...any) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func newID() flovyn.ExecutionID { return flovyn.ExecutionID(flovyn.NewUUID()) }

// insert makes an execution with its first event.
func insert(tx *postgres.Tx, id flovyn.ExecutionID) error {
	e := &flovyn.WorkflowExecution{
		ID: id, Org: org, Kind: "k", Queue: "q", Status: flovyn.WorkflowPending,
		HistoryMonth: flovyn.HistoryMonth(tx.Now()), CreatedAt: tx.Now(),
	}
	tx.InsertExecution(e)
	return tx.Append(e, history.Started("k", []byte(`{"n":1}`)))
}

func create(t *testing.T, s *postgres.Store) flovyn.ExecutionID {
	t.Helper()
	id := newID()
	if err := s.Do(t.Context(), postgres.Touch{}, func(tx *postgres.Tx) error { return insert(tx, id) }); err != nil {
		t.Fatal(err)
	}
	return id
}

// signal appends one event.
func signal(ctx context.Context, s *postgres.Store, id flovyn.ExecutionID, name string) error {
	return s.Do(ctx, postgres.Touch{Executions: []flovyn.ExecutionID{id}}, func(tx *postgres.Tx) error {
		return appendSignal(tx, id, name)
	})
}

func appendSignal(tx *postgres.Tx, id flovyn.ExecutionID, name string) error {
	e, err := tx.Execution(org, id)
	if err != nil {
		return err
	}
	tx.UpdateExecution(e)
	return tx.Append(e, history.Signalled(name, nil))
}

func eventsOf(t *testing.T, s *postgres.Store, id flovyn.ExecutionID) []history.Event {
	t.Helper()
	events, err := s.Events(t.Context(), org, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := history.Fold(id, events); err != nil {
		t.Fatal(err)
	}
	return events
}

// Steps that wait while a commit is under way share the next one.
func TestStepsShareCommits(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewOn(t, pgtest.Server(t)) // where nobody else uses up transactions
	s := open(t, dsn)
	const xids = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
	before := number(t, dsn, xids)
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	var steps sync.WaitGroup
	hold := func() {
		err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{}, func(tx *postgres.Tx) error {
			entered <- struct{}{}
			<-release
			return insert(tx, newID())
		})
		if err != nil {
			t.Error(err)
		}
	}
	steps.Go(hold) // both lanes are busy
	<-entered
	steps.Go(hold)
	<-entered
	var queued atomic.Int64
	for range 200 {
		steps.Go(func() {
			queued.Add(1)
			if err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{}, func(tx *postgres.Tx) error { return insert(tx, newID()) }); err != nil {
				t.Error(err)
			}
		})
	}
	for queued.Load() < 200 {
		if err := s.Ping(t.Context()); err != nil { // a round trip, instead of a sleep
			t.Fatal(err)
		}
	}
	close(release)
	steps.Wait()
	if n := number(t, dsn, "SELECT count(*) FROM workflow_execution"); n != 202 {
		t.Errorf("%d executions", n)
	}
	if n := number(t, dsn, xids) - before; n > 30 {
		t.Errorf("%d transactions for 202 steps", n)
	}
}

// A member that fails, panics or breaks a constraint never fails its neighbours.
func TestNeighboursAreUnharmed(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.New(t))
	existing, shared := create(t, s), create(t, s)
	refused := errors.New("refused")
	var steps sync.WaitGroup
	var committed, rolledBack atomic.Int64
	do := func(want func(error) bool, decide func(*postgres.Tx) error) {
		steps.Go(func() {
			err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{Executions: []flovyn.ExecutionID{shared}}, func(tx *postgres.Tx) error {
				tx.OnCommit(func() { committed.Add(1) })
				tx.OnRollback(func() { rolledBack.Add(1) })
				return decide(tx)
			})
			if !want(err) {
				t.Errorf("error %v", err)
			}
		})
	}
	const rounds = 40
	for range rounds {
		do(func(err error) bool { return err == nil }, func(tx *postgres.Tx) error { return appendSignal(tx, shared, "good") })
		do(func(err error) bool { return errors.Is(err, refused) }, func(tx *postgres.Tx) error {
			return errors.Join(appendSignal(tx, shared, "refused"), refused)
		})
		do(func(err error) bool { return err != nil && strings.Contains(err.Error(), "panicked") }, func(tx *postgres.Tx) error {
			_ = appendSignal(tx, shared, "panicked")
			panic("on purpose")
		})
		do(func(err error) bool { return fault.Is(err, fault.Exists) }, func(tx *postgres.Tx) error {
			_ = appendSignal(tx, shared, "broken")
			return insert(tx, existing) // a violation that only the database notices
		})
	}
	steps.Wait()
	events := eventsOf(t, s, shared)
	if len(events) != rounds+1 {
		t.Fatalf("%d events", len(events))
	}
	for _, e := range events[1:] {
		if string(history.Member(e.Data, "signalName")) != `"good"` {
			t.Fatalf("%s", e.Data)
		}
	}
	if n := committed.Load(); n != rounds {
		t.Errorf("%d steps heard of their commit", n)
	}
	if n := rolledBack.Load(); n < 3*rounds {
		t.Errorf("%d steps heard of their rollback", n)
	}
}

// A closure that asks for what it did not name is run again with it.
func TestUnnamedRows(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.New(t))
	a, b, absent := create(t, s), create(t, s), newID()
	runs := 0
	err := s.Do(t.Context(), postgres.Touch{}, func(tx *postgres.Tx) error {
		runs++
		for _, id := range []flovyn.ExecutionID{a, b} {
			if err := appendSignal(tx, id, "s"); err != nil {
				return err
			}
			e, err := tx.Execution(org, id)
			if err != nil {
				return err
			}
			state, err := tx.State(e)
			if err != nil {
				return err
			}
			if state.Signals != 1 {
				return fmt.Errorf("%d signals", state.Signals)
			}
		}
		if _, err := tx.Execution(org, absent); !fault.Is(err, fault.NotFound) {
			return err
		}
		if _, ok, err := tx.KeyTarget(flovyn.Key{Org: org, Scope: flovyn.KeyWorkflow, Name: "none"}); err != nil || ok {
			return errors.Join(err, errors.New("a key"))
		}
		if pending, err := tx.TimerPending(flovyn.TimerKey{Owner: a.UUID(), Kind: flovyn.TimerSleep, Name: "none"}); err != nil || pending {
			return errors.Join(err, errors.New("a timer"))
		}
		return nil
	})
	if err != nil || runs < 4 {
		t.Fatalf("%v after %d runs", err, runs)
	}
	for _, id := range []flovyn.ExecutionID{a, b} {
		if n := len(eventsOf(t, s, id)); n != 2 {
			t.Fatalf("%d events", n)
		}
	}
	// One that never has enough gives up.
	err = s.Do(t.Context(), postgres.Touch{}, func(tx *postgres.Tx) error {
		_, err := tx.Execution(org, newID())
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("%v", err)
	}
}

// The same key from two servers at once stands for one execution.
func TestSameKeyFromTwoServers(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	stores := []*postgres.Store{open(t, dsn), open(t, dsn)}
	for round := range 20 {
		key := flovyn.Key{Org: org, Scope: flovyn.KeyWorkflow, Name: fmt.Sprint("key", round)}
		var created atomic.Int64
		var steps sync.WaitGroup
		for i := range 10 {
			steps.Go(func() {
				id := newID()
				made := false
				err := stores[i%2].Do(context.WithoutCancel(t.Context()), postgres.Touch{Keys: []flovyn.Key{key}}, func(tx *postgres.Tx) error {
					target, known, err := tx.KeyTarget(key)
					if made = err == nil && !known; !made {
						if err == nil {
							_, err = tx.Execution(org, flovyn.ExecutionID(target))
						}
						return err
					}
					tx.SetKey(key, flovyn.KeyTarget{ID: id.UUID(), ExpiresAt: tx.Now().Add(time.Hour)})
					return insert(tx, id)
				})
				if err != nil {
					t.Error(err)
				}
				if made {
					created.Add(1)
				}
			})
		}
		steps.Wait()
		if created.Load() != 1 {
			t.Fatalf("round %d: %d executions for one key", round, created.Load())
		}
	}
}

// Two servers that lock the same executions in all orders wait for each other,
// but never deadlock, and neither trusts what it remembers.
func TestTwoServersInAllOrders(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	stores := []*postgres.Store{open(t, dsn), open(t, dsn)}
	var ids []flovyn.ExecutionID
	for range 6 {
		ids = append(ids, create(t, stores[0]))
	}
	const writers, rounds = 8, 30
	var steps sync.WaitGroup
	for w := range writers {
		steps.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(w)))
			for range rounds {
				order := random.Perm(len(ids))[:3]
				touch := postgres.Touch{}
				for _, i := range order {
					touch.Histories = append(touch.Histories, ids[i])
				}
				if random.IntN(3) == 0 {
					touch = postgres.Touch{} // find out on the way
				}
				err := stores[w%2].Do(context.WithoutCancel(t.Context()), touch, func(tx *postgres.Tx) error {
					for _, i := range order {
						e, err := tx.Execution(org, ids[i])
						if err != nil {
							return err
						}
						state, err := tx.State(e)
						if err != nil {
							return err
						}
						out, err := state.Submit([]history.Command{history.SetState{Key: fmt.Sprint(state.LastSeq)}}, history.Suspended)
						if err != nil {
							return err
						}
						tx.Record(e, out.Events...)
						tx.UpdateExecution(e)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	steps.Wait()
	total := 0
	for _, id := range ids {
		a, b := eventsOf(t, stores[0], id), eventsOf(t, stores[1], id)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatal(diff)
		}
		total += len(a) - 1
	}
	if total != writers*rounds*3 {
		t.Fatalf("%d events, not %d", total, writers*rounds*3)
	}
	if n := number(t, dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n != 0 {
		t.Fatalf("%d deadlocks", n)
	}
}

// Two steps that create the same two executions, each the other one first,
// neither hang nor both succeed.
func TestCreationInOppositeOrders(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.New(t))
	for range 50 {
		a, b := newID(), newID()
		var succeeded atomic.Int64
		var steps sync.WaitGroup
		for _, order := range [][]flovyn.ExecutionID{{a, b}, {b, a}} {
			steps.Go(func() {
				err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{}, func(tx *postgres.Tx) error {
					return errors.Join(insert(tx, order[0]), insert(tx, order[1]))
				})
				switch {
				case err == nil:
					succeeded.Add(1)
				case !fault.Is(err, fault.Exists):
					t.Error(err)
				}
			})
		}
		steps.Wait()
		if n := succeeded.Load(); n != 1 {
			t.Fatalf("%d steps succeeded", n)
		}
	}
}

func TestCloseRefuses(t *testing.T) {
	t.Parallel()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	var steps sync.WaitGroup
	for range 50 {
		steps.Go(func() {
			err := s.Do(context.WithoutCancel(t.Context()), postgres.Touch{}, func(tx *postgres.Tx) error { return insert(tx, newID()) })
			if err != nil && !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
		})
	}
	s.Close()
	steps.Wait()
	if err := signal(t.Context(), s, newID(), "s"); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("%v", err)
	}
}

// TestServerKilled kills PostgreSQL again and again under load: every step that
// was acknowledged is there exactly once, and the store recovers by itself.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	dsn := pgtest.NewOn(t, server)
	stores := []*postgres.Store{open(t, dsn), open(t, dsn)}
	const writers = 16
	ids := make([]flovyn.ExecutionID, writers)
	for i := range ids {
		ids[i] = create(t, stores[0])
	}
	var steps sync.WaitGroup
	var stop atomic.Bool
	var total atomic.Int64
	acknowledged := make([][]string, writers)
	for w := range writers {
		steps.Go(func() {
			for n := 0; !stop.Load(); n++ {
				name := fmt.Sprint(w, "/", n)
				err := signal(context.WithoutCancel(t.Context()), stores[w%2], ids[w], name)
				switch {
				case err == nil:
					acknowledged[w] = append(acknowledged[w], `"`+name+`"`)
					total.Add(1)
				case !fault.Is(err, fault.Unavailable):
					t.Error(err)
				}
			}
		})
	}
	progress := func(n int64) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for goal := total.Load() + n; total.Load() < goal; {
			if time.Now().After(deadline) {
				stop.Store(true)
				t.Fatal("the stores did not recover")
			}
			_ = stores[0].Ping(t.Context()) // a round trip, instead of a sleep
		}
	}
	for range 3 {
		progress(300)
		if err := server.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Error(err)
		}
	}
	progress(300)
	stop.Store(true)
	steps.Wait()
	for w, id := range ids {
		count := map[string]int{}
		for _, e := range eventsOf(t, open(t, dsn), id)[1:] {
			count[string(history.Member(e.Data, "signalName"))]++
		}
		for _, name := range acknowledged[w] {
			if count[name] != 1 {
				t.Errorf("%s was acknowledged and is there %d times", name, count[name])
			}
		}
		for name, n := range count {
			if n != 1 {
				t.Errorf("%s is there %d times", name, n)
			}
		}
		if diff := cmp.Diff(eventsOf(t, stores[0], id), eventsOf(t, stores[1], id)); diff != "" {
			t.Error(diff)
		}
	}
}

// Sessions cut in the middle of everything: each step happens once.
func TestSessionsCut(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	s := open(t, dsn)
	id := create(t, s)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var steps sync.WaitGroup
	var left atomic.Int64
	var done atomic.Int64
	left.Store(160)
	for range 8 {
		steps.Go(func() {
			for left.Add(-1) >= 0 {
				if err := signal(context.WithoutCancel(t.Context()), s, id, fmt.Sprint(flovyn.NewUUID())); err == nil {
					done.Add(1)
				} else if !fault.Is(err, fault.Unavailable) {
					t.Error(err)
				}
			}
		})
	}
	for left.Load() > 0 {
		_, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'flovyn-server' AND random() < 0.03`)
		if err != nil {
			t.Fatal(err)
		}
	}
	steps.Wait()
	names := map[string]bool{}
	for _, e := range eventsOf(t, s, id)[1:] {
		name := string(history.Member(e.Data, "signalName"))
		if names[name] {
			t.Errorf("%s happened twice", name)
		}
		names[name] = true
	}
	if int64(len(names)) < done.Load() {
		t.Errorf("%d steps were acknowledged, %d are there", done.Load(), len(names))
	}
}

// A key that was given to something else in the same commit is not taken from it.
func TestDropKeySparesItsNewTarget(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	s := open(t, dsn)
	key := flovyn.Key{Org: org, Scope: flovyn.KeyWorkflow, Name: "k"}
	before, after := newID(), newID()
	touch := postgres.Touch{Keys: []flovyn.Key{key}}
	steps := []func(*postgres.Tx) error{
		func(tx *postgres.Tx) error {
			tx.SetKey(key, flovyn.KeyTarget{ID: after.UUID(), ExpiresAt: tx.Now().Add(time.Hour)})
			tx.DropKey(key, before.UUID())
			return nil
		},
		func(tx *postgres.Tx) error {
			tx.DropKey(key, before.UUID())
			return nil
		},
	}
	for i, step := range steps {
		if err := s.Do(t.Context(), touch, step); err != nil {
			t.Fatal(err)
		}
		if n := number(t, dsn, "SELECT count(*) FROM idempotency_key WHERE target_id = $1", after.UUID()); n != 1 {
			t.Fatalf("after step %d the key does not stand for its new target", i)
		}
	}
	err := s.Do(t.Context(), touch, func(tx *postgres.Tx) error {
		tx.DropKey(key, after.UUID())
		return nil
	})
	if n := number(t, dsn, "SELECT count(*) FROM idempotency_key"); err != nil || n != 0 {
		t.Fatalf("%d keys are left, %v", n, err)
	}
}
