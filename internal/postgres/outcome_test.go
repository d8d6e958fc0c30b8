package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Where the answer to a commit was lost, the transaction's number tells what
// became of it, and the events tell whether it is still the same transaction.
func TestOutcomeOfACommit(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	s := open(t, dsn)
	ctx := context.WithoutCancel(t.Context())
	id := newID()
	var xid string
	var at time.Time
	err := s.Do(ctx, postgres.Touch{}, func(tx *postgres.Tx) error {
		xid, at = tx.Xid(), tx.Now()
		return insert(tx, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, xid string, first flovyn.ExecutionID, at time.Time, want bool) {
		t.Helper()
		if got, err := s.Committed(ctx, xid, first, at); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	check("a commit", xid, id, at, true)
	check("a commit without events", xid, flovyn.ExecutionID{}, at, true)
	check("a number that another transaction has", xid, newID(), at, false)
	check("a number of another commit on the execution", xid, id, at.Add(time.Microsecond), false)

	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var aborted, future string
	if err := tx.QueryRow(ctx, "SELECT pg_current_xact_id()::text, (pg_current_xact_id()::text::bigint + 1000000)::text").Scan(&aborted, &future); err != nil {
		t.Fatal(err)
	}
	answer := make(chan bool)
	go func() { // waits for the transaction in progress
		got, err := s.Committed(ctx, aborted, flovyn.ExecutionID{}, at)
		answer <- got || err != nil
	}()
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if <-answer {
		t.Error("a transaction that was rolled back counts as committed")
	}
	check("a rollback", aborted, flovyn.ExecutionID{}, at, false)
	check("a number never assigned", future, id, at, false)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Committed(gone, xid, id, at); err == nil {
		t.Error("an unknown outcome is no error")
	}
}
