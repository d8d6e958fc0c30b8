package postgres

import (
	"context"
	"time"

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
