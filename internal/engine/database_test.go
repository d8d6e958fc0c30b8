package engine_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// The helpers below look at the tables behind the engine's back.

// connect opens the connection on which a test looks, one thing after another.
func (b *bench) connect() {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), b.dsn)
	b.must(err)
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	b.conn = conn
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.conn.Exec(b.Context(), sql, args...)
	b.must(err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.Helper()
	b.must(b.conn.QueryRow(b.Context(), sql, args...).Scan(&n))
	return n
}

// dump returns the content of all tables that a step may write.
func (b *bench) dump() []string {
	b.Helper()
	var all []string
	for _, table := range []string{
		"workflow_execution", "workflow_event", "task_execution", "task_payload", "task_attempt", "task_state", "task_log",
		"ready", "timer", "promise", "idempotency_key",
	} {
		rows, err := b.conn.Query(b.Context(), fmt.Sprintf("SELECT '%s ' || t::text FROM %s AS t", table, table))
		b.must(err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		b.must(err)
		all = append(all, lines...)
	}
	slices.Sort(all)
	return all
}
