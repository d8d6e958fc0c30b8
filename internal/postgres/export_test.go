package postgres

import (
	"context"
	stdsql "database/sql"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Xid returns the number of the step's transaction.
func (tx *Tx) Xid() string { return tx.w.xid }

// Committed asks what became of a transaction that recorded the first event of an
// execution, or no event when that is zero.
func (s *Store) Committed(ctx context.Context, xid string, first flovyn.ExecutionID, at time.Time) (bool, error) {
	w := newWork(s, union(nil))
	w.xid, w.now = xid, at
	if !first.IsZero() {
		w.out.events = []eventRow{{month: flovyn.HistoryMonth(at), execution: first, event: history.Event{Seq: 1}}}
	}
	return s.committed(ctx, w)
}

// ExplainSearch returns the plans of a search's page and count, as the
// connections of searches make them.
func (s *Store) ExplainSearch(ctx context.Context, q *Search) (page, count string, err error) {
	st, err := compile(q)
	if err != nil {
		return "", "", err
	}
	sql, args := st.page(q)
	if page, err = s.explain(ctx, sql, args); err != nil {
		return "", "", err
	}
	count, err = s.explain(ctx, st.count(), st.args)
	return page, count, err
}

func (s *Store) explain(ctx context.Context, sql string, args []any) (string, error) {
	rows, err := s.reads.Query(ctx, "EXPLAIN "+sql, args...)
	if err != nil {
		return "", err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n"), err
}

// MigrateTo brings the schema to an earlier version.
func MigrateTo(ctx context.Context, url string, version int64) error {
	db, err := stdsql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(database.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}
