package postgres

import (
	"context"
	stdsql "database/sql"
	"time"

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
