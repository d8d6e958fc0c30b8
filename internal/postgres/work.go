package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// work is what a group commit has loaded and what it will write. Its members
// see each other's changes in their order.
type work struct {
	store   *Store
	touched *touched
	now     time.Time
	xid     string

	executions map[flovyn.ExecutionID]*flovyn.WorkflowExecution
	tasks      map[flovyn.TaskID]*flovyn.TaskExecution
	promises   map[flovyn.PromiseID]*flovyn.Promise
	timers     set[flovyn.TimerKey]
	keys       map[flovyn.Key]flovyn.KeyTarget
	histories  map[flovyn.ExecutionID]*cachedHistory // locked
	begun      set[flovyn.ExecutionID]               // histories that this commit begins

	out                  *writes
	onCommit, onRollback []func()
}

func newWork(s *Store, t *touched) *work {
	return &work{
		store: s, touched: t,
		executions: map[flovyn.ExecutionID]*flovyn.WorkflowExecution{},
		tasks:      map[flovyn.TaskID]*flovyn.TaskExecution{},
		promises:   map[flovyn.PromiseID]*flovyn.Promise{},
		timers:     set[flovyn.TimerKey]{},
		keys:       map[flovyn.Key]flovyn.KeyTarget{},
		histories:  map[flovyn.ExecutionID]*cachedHistory{},
		begun:      set[flovyn.ExecutionID]{},
		out:        newWrites(),
	}
}

func (w *work) addExecutions(rows []*pgq.WorkflowExecution) {
	for _, r := range rows {
		w.executions[flovyn.ExecutionID(r.ID)] = executionOf(r)
		w.touched.executions.add(flovyn.ExecutionID(r.ID)) // owners, parents, targets of keys
	}
}

func (w *work) addTasks(rows []*pgq.TaskExecution) {
	for _, r := range rows {
		w.tasks[flovyn.TaskID(r.ID)] = taskOf(r)
	}
}

func (w *work) addPromises(rows []*pgq.Promise) {
	for _, r := range rows {
		w.promises[flovyn.PromiseID(r.ID)] = promiseOf(r)
	}
}

func (w *work) addTimers(rows []*pgq.Timer) {
	for _, r := range rows {
		w.timers.add(timerOf(r).TimerKey)
	}
}

func (w *work) addKeys(rows []*pgq.IdempotencyKey) {
	for _, r := range rows {
		key := flovyn.Key{Org: flovyn.OrgID(r.OrgID), Scope: flovyn.KeyScope(r.Scope), Name: r.Key}
		w.keys[key] = flovyn.KeyTarget{ID: r.TargetID, ExpiresAt: r.ExpiresAt}
	}
}

// loadHistories locks the cached histories that are needed, reads what they
// lack, and folds it into their states.
func (w *work) loadHistories(ctx context.Context, conn batchSender) error {
	var ids []uuid.UUID
	var months, seqs []int32
	for id := range w.touched.histories {
		row, ok := w.executions[id]
		if !ok {
			continue
		}
		h := w.hold(id)
		if h.state != nil && h.state.LastSeq == row.LastSeq {
			w.store.cache.used(true)
			continue
		}
		h.state = nil
		known := h.snapshot()
		w.store.cache.used(len(known) >= int(row.LastSeq))
		if len(known) < int(row.LastSeq) {
			ids, months, seqs = append(ids, id.UUID()), append(months, row.HistoryMonth), append(seqs, int32(len(known)))
		}
	}
	if len(ids) > 0 {
		if err := w.readEvents(ctx, conn, ids, months, seqs); err != nil {
			return err
		}
	}
	for id, h := range w.histories {
		if h.state != nil {
			continue
		}
		state, err := history.Fold(id, h.snapshot())
		if err != nil {
			w.store.cache.forget(id)
			return err
		}
		h.state = state
	}
	return nil
}

func (w *work) readEvents(ctx context.Context, conn batchSender, ids []uuid.UUID, months, seqs []int32) error {
	return pipeline(ctx, conn, []statement{func(ctx context.Context, db pgq.DBTX) error {
		rows, err := w.store.q.EventsAfter(ctx, db, ids, months, seqs)
		for _, r := range rows {
			w.store.cache.extend(w.histories[flovyn.ExecutionID(r.ExecutionID)], []history.Event{eventOf(r)})
		}
		return err
	}})
}

// hold locks a history's state until the outcome of the commit is known. The
// execution's row is locked already, so that nobody here waits for two.
func (w *work) hold(id flovyn.ExecutionID) *cachedHistory {
	h, ok := w.histories[id]
	if !ok {
		h = w.store.cache.entry(id)
		h.held.Lock()
		w.histories[id] = h
	}
	return h
}

// history returns the history that an event is to be appended to. One that this
// commit begins is shared with nobody before: there is no row yet whose lock
// would keep two commits from waiting for each other's histories.
func (w *work) history(e *flovyn.WorkflowExecution) *cachedHistory {
	if e.LastSeq > 0 {
		return w.hold(e.ID)
	}
	h := &cachedHistory{state: history.NewState(e.ID)}
	h.held.Lock()
	w.histories[e.ID] = h
	w.begun.add(e.ID)
	return h
}

func (w *work) release() {
	for _, h := range w.histories {
		h.held.Unlock()
	}
	clear(w.histories)
}

// decideAll runs the members in order. It returns what to answer each when the
// commit succeeds, and those that need another round.
func (w *work) decideAll(batch []*step) (answers map[*step]error, again []*step) {
	answers = make(map[*step]error, len(batch))
	for _, st := range batch {
		tx := newTx(w)
		err := w.store.guard(tx, st.decide)
		switch {
		case tx.missing != nil && st.rounds < maxRounds:
			tx.discard()
			st.rounds++
			st.touch.merge(*tx.missing)
			again = append(again, st)
		case err != nil:
			tx.discard()
			answers[st] = err
		default:
			tx.accept()
			answers[st] = nil
		}
	}
	return answers, again
}

// publish makes known what was committed: first to the cached histories, then
// to whoever waits for it.
func (w *work) publish() {
	byExecution := w.out.eventsByExecution()
	for id, events := range byExecution {
		h := w.histories[id]
		if h == nil {
			continue
		}
		if w.begun.has(id) {
			if known := w.store.cache.adopt(id, h); known != h {
				w.store.cache.extend(known, events) // somebody was faster to look
				continue
			}
		}
		if h.state != nil && h.state.LastSeq < events[len(events)-1].Seq {
			h.state = nil
		}
		w.store.cache.extend(h, events)
	}
	w.release()
	for _, fn := range w.onCommit {
		fn()
	}
	w.store.saw(w.changes(byExecution))
}

// undo takes back what the closures did in memory.
func (w *work) undo() {
	for id, h := range w.histories {
		h.state = nil
		w.store.cache.forget(id)
	}
	for _, fn := range w.onRollback {
		fn()
	}
}
