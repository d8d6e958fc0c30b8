package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

const (
	// lanes is how many group commits may be under way at once: while one waits
	// for the disk, another loads and decides.
	lanes = 2
	// maxBatch bounds the members of a group commit.
	maxBatch = 256
	// maxRounds bounds how often a step may ask for more than it has named.
	maxRounds = 32
	// maxTries bounds how often a step is run again after the database refused.
	maxTries = 5
	// stepTimeout bounds one group commit.
	stepTimeout = 30 * time.Second
)

// step is one closure on its way through a group commit.
type step struct {
	touch  Touch
	decide func(*Tx) error
	done   chan error
	rounds int
}

var errStopping = fault.New(fault.Unavailable, "the server is stopping")

// Do runs decide on the rows that touch names and commits what it changed,
// together with other steps. It returns after that commit. An error of decide
// is returned as it is and leaves no trace; decide may run several times.
//
// When ctx ends first Do returns its error, and the step may or may not commit.
func (s *Store) Do(ctx context.Context, touch Touch, decide func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st := &step{touch: touch, decide: decide, done: make(chan error, 1)}
	select {
	case s.queue <- st:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return errStopping
	}
	select {
	case err := <-st.done:
		return err
	case <-s.drained:
		select { // answered just before the last lane ended
		case err := <-st.done:
			return err
		default:
			return errStopping
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lane commits one batch after another until the store closes, and then what
// is still queued.
func (s *Store) lane(ctx context.Context) {
	for {
		select {
		case first := <-s.queue:
			s.commit(context.WithoutCancel(ctx), s.gather(first))
		case <-ctx.Done():
			for {
				select {
				case first := <-s.queue:
					s.commit(context.WithoutCancel(ctx), s.gather(first))
				default:
					return
				}
			}
		}
	}
}

// gather takes whatever else is waiting.
func (s *Store) gather(first *step) []*step {
	batch := []*step{first}
	for len(batch) < maxBatch {
		select {
		case next := <-s.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// commit answers every member of the batch.
func (s *Store) commit(ctx context.Context, batch []*step) {
	for len(batch) > 0 {
		again, err := s.try(ctx, batch)
		if err == nil {
			batch = again
			continue
		}
		if errors.Is(err, errUnknown) {
			for _, st := range batch {
				st.done <- translateStep(err)
			}
			return
		}
		if len(batch) == 1 {
			s.commitAlone(ctx, batch[0], err)
			return
		}
		for _, st := range batch {
			s.commitAlone(ctx, st, nil)
		}
		return
	}
}

// commitAlone runs one step until it is answered. err is the failure of a
// first try, if there was one.
func (s *Store) commitAlone(ctx context.Context, st *step, err error) {
	for tries := 0; ; tries++ {
		if err != nil && (tries >= maxTries || !mayRetry(err)) {
			st.done <- translateStep(err)
			return
		}
		if err != nil {
			s.pause(tries)
		}
		var again []*step
		again, err = s.try(ctx, []*step{st})
		for err == nil && len(again) > 0 {
			again, err = s.try(ctx, again)
		}
		if err == nil {
			return
		}
	}
}

// pause backs off between tries: 10 ms, 40 ms, 160 ms ...
func (s *Store) pause(tries int) {
	timer := time.NewTimer(10 * time.Millisecond << (2 * min(tries, 4)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.closed:
	}
}

// try runs one group commit. It answers the members whose outcome is known and
// returns those that must run again because they need more rows. On an error
// no member was answered and nothing was committed.
func (s *Store) try(ctx context.Context, batch []*step) (again []*step, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release() // a connection inside a transaction is closed by the pool

	begin := time.Now() //nolint:forbidigo // measures
	w := newWork(s, union(batch))
	defer w.release()
	if err := w.load(ctx, conn.Conn()); err != nil {
		s.rollback(ctx, conn)
		return nil, fmt.Errorf("loading a step: %w", err)
	}
	answers, again := w.decideAll(batch)
	err = s.finish(ctx, conn, w)
	if !w.out.empty() || err != nil {
		s.told(len(answers), time.Since(begin), err)
	}
	if err != nil {
		w.undo()
		return nil, err
	}
	w.publish()
	for st, answer := range answers {
		st.done <- answer
	}
	return again, nil
}

// finish writes and commits, or finds out what became of a commit that the
// database did not answer.
func (s *Store) finish(ctx context.Context, conn *pgxpool.Conn, w *work) error {
	if w.out.empty() {
		s.rollback(ctx, conn)
		return nil
	}
	err := pipeline(ctx, conn.Conn(), append(w.out.statements(w), plain("COMMIT")))
	if err == nil {
		return nil
	}
	if !serverGone(err) {
		s.rollback(ctx, conn)
		return fmt.Errorf("writing a step: %w", err)
	}
	conn.Release() // it is of no use any more, and the pool may need its place
	committed, lookErr := s.committed(ctx, w)
	switch {
	case lookErr != nil:
		return fault.Wrap(fault.Unavailable, errors.Join(errUnknown, err, lookErr),
			"the database did not answer, and whether it made the change is unknown")
	case committed:
		return nil
	default:
		return fmt.Errorf("writing a step: %w", err)
	}
}

// errUnknown marks a step that may have been committed, so that running it
// again might do it twice.
var errUnknown = errors.New("the outcome of a commit is unknown")

// committed finds out, on another connection, what became of the work's
// transaction. One that is still in progress is waited for: its session is about
// to notice that its client has gone.
//
// A crashed server may give the number of a transaction that never reached the
// disk to another one. So "committed" is believed only when what it wrote is there.
func (s *Store) committed(ctx context.Context, w *work) (bool, error) {
	for tries := 0; ; tries++ {
		status, err := s.q.XactStatus(ctx, s.pool, w.xid)
		switch {
		case ctx.Err() != nil:
			return false, fmt.Errorf("looking up transaction %s: %w", w.xid, ctx.Err())
		case err == nil && status == "committed":
			return s.recorded(ctx, w)
		case err == nil && status == "aborted", neverAssigned(err):
			return false, nil
		case err != nil && !serverGone(err):
			return false, err
		}
		s.pause(min(tries, 3))
	}
}

// recorded reports whether what the work has written is there: its first event,
// or rows in the version that its transaction wrote. Where there is neither, it
// only took things off lists, which may be done again.
func (s *Store) recorded(ctx context.Context, w *work) (found bool, err error) {
	for tries := 0; ; tries++ {
		if found, err = s.look(ctx, w); err == nil || ctx.Err() != nil || !serverGone(err) {
			return found, err
		}
		s.pause(min(tries, 3))
	}
}

func (s *Store) look(ctx context.Context, w *work) (found bool, err error) {
	if len(w.out.events) > 0 {
		row := w.out.events[0]
		err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM workflow_event
			WHERE execution_id = $1 AND seq = $2 AND history_month = $3 AND created_at = $4)`,
			row.execution.UUID(), int32(row.event.Seq), row.month, w.now).Scan(&found)
		return found, err
	}
	tasks := append(uuids(w.out.tasks), uuids(w.out.newTasks)...)
	executions := append(uuids(w.out.executions), uuids(w.out.newExecutions)...)
	if len(tasks)+len(executions) == 0 {
		return true, nil
	}
	xid, err := strconv.ParseUint(w.xid, 10, 64)
	if err != nil {
		return false, fault.Bug("transaction number %q", w.xid)
	}
	xmin := strconv.FormatUint(xid&math.MaxUint32, 10) // rows have the number without its epoch
	found, err = s.q.XactWrote(ctx, s.pool, tasks, xmin, executions)
	if err == nil && !found {
		return false, errors.New("others have written its rows since, or a crash gave its number to another transaction")
	}
	return found, err
}

func (s *Store) rollback(ctx context.Context, conn *pgxpool.Conn) {
	if conn.Conn().PgConn().TxStatus() == 'I' || conn.Conn().IsClosed() {
		return
	}
	if _, err := conn.Exec(context.WithoutCancel(ctx), "ROLLBACK"); err != nil {
		_ = conn.Conn().Close(context.WithoutCancel(ctx)) // the pool replaces it
	}
}

// load locks and reads everything that is touched, and the histories that are
// needed and not known.
func (w *work) load(ctx context.Context, conn batchSender) error {
	if err := pipeline(ctx, conn, w.loadStatements()); err != nil {
		return err
	}
	return w.loadHistories(ctx, conn)
}

func (w *work) loadStatements() []statement {
	q, t := w.store.q, w.touched
	statements := []statement{plain("BEGIN")}
	keys := members(t.keys)
	orgs, scopes, names := keyColumns(keys)
	if len(keys) > 0 {
		statements = append(statements,
			func(ctx context.Context, db pgq.DBTX) error { return q.KeysLock(ctx, db, orgs, scopes, names) },
			func(ctx context.Context, db pgq.DBTX) error {
				rows, err := q.KeysGet(ctx, db, orgs, scopes, names)
				w.addKeys(rows)
				return err
			})
	}
	if len(t.executions)+len(t.tasks)+len(t.promises)+len(keys) > 0 {
		statements = append(statements, w.lockExecutions(keys))
	}
	if len(t.tasks) > 0 {
		ids := uuids(t.tasks)
		statements = append(statements, func(ctx context.Context, db pgq.DBTX) error {
			rows, err := q.TasksLock(ctx, db, ids)
			w.addTasks(rows)
			return err
		})
	}
	if len(t.promises) > 0 {
		ids := uuids(t.promises)
		statements = append(statements, func(ctx context.Context, db pgq.DBTX) error {
			rows, err := q.PromisesLock(ctx, db, ids)
			w.addPromises(rows)
			return err
		})
	}
	if len(t.timers) > 0 {
		owners, kinds, names := timerColumns(members(t.timers))
		statements = append(statements, func(ctx context.Context, db pgq.DBTX) error {
			rows, err := q.TimersGet(ctx, db, owners, kinds, names)
			w.addTimers(rows)
			return err
		})
	}
	return append(statements, func(ctx context.Context, db pgq.DBTX) error {
		begin, err := q.StepBegin(ctx, db)
		if err == nil {
			w.now, w.xid = begin.Now, begin.Xid
		}
		return err
	})
}

func (w *work) lockExecutions(keys []flovyn.Key) statement {
	params := &pgq.ExecutionsLockParams{
		Ids: uuids(w.touched.executions), TaskIds: uuids(w.touched.tasks), PromiseIds: uuids(w.touched.promises),
		WithParents: uuids(w.touched.parents),
	}
	for _, k := range keys {
		if k.Scope == flovyn.KeyWorkflow {
			params.KeyOrgIds = append(params.KeyOrgIds, k.Org.UUID())
			params.KeyNames = append(params.KeyNames, k.Name)
		}
	}
	return func(ctx context.Context, db pgq.DBTX) error {
		rows, err := w.store.q.ExecutionsLock(ctx, db, params)
		w.addExecutions(rows)
		return err
	}
}

// guard turns a panic of one step into that step's own failure.
func (s *Store) guard(tx *Tx, decide func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a step panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a step panicked: %v", p)
		}
	}()
	return decide(tx)
}
