package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// latency measures from submission to the moment when an idle worker has the
// work in hand.
func (s *suite) latency(ctx context.Context) error {
	return s.on(ctx, 1, 5, func(st *stage) error {
		return s.repeat(ctx, []measurement{
			{"idle worker, task schedule to start", 300, func(ctx context.Context, n int) (Measured, error) {
				began := time.Now()
				if _, err := st.reported.Seek(0, io.SeekEnd); err != nil {
					return Measured{}, err
				}
				_, err := drive(ctx, n, 1, func(ctx context.Context, _ int) error {
					at := strconv.FormatInt(time.Now().UnixNano(), 10)
					if err := st.submitTask(ctx, []byte(at)); err != nil {
						return err
					}
					return s.machine.none(ctx, `SELECT count(*) FROM task_execution WHERE ended_at IS NULL`)
				})
				if err != nil {
					return Measured{}, err
				}
				took, err := readLatencies(st.reported)
				return Measured{Operations: len(took), Elapsed: time.Since(began), Latencies: took}, err
			}},
			// A workflow that completes at once: start, poll, events, submit.
			{"idle worker, workflow start to result", 300, func(ctx context.Context, n int) (Measured, error) {
				return st.runs(ctx, kindNone, n, 1)
			}},
		})
	})
}

func readLatencies(from io.Reader) (Latencies, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	var took Latencies
	for line := range bytes.Lines(text) {
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Duration(n))
	}
	if len(took) == 0 {
		return nil, errors.New("the worker reported no latency")
	}
	slices.Sort(took)
	return took, nil
}

// cost counts what a workflow of one task costs.
func (s *suite) cost(ctx context.Context) error {
	for _, inFlight := range []int{1, 50} {
		err := s.on(ctx, 1, min(inFlight, 50), func(st *stage) error {
			n := s.scaled(map[int]int{1: 1000, 50: 6000}[inFlight])
			if _, err := st.runs(ctx, kindTask, max(inFlight, n/10), inFlight); err != nil {
				return err
			}
			before, err := s.machine.Counts(ctx, st.servers...)
			if err != nil {
				return err
			}
			if err := s.machine.exec(ctx, `CREATE TEMPORARY TABLE calls_before AS SELECT queryid, calls FROM pg_stat_statements`,
				`CREATE TEMPORARY TABLE rows_before AS SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables`); err != nil {
				return err
			}
			if _, err := st.runs(ctx, kindTask, n, inFlight); err != nil {
				return err
			}
			if err := s.statements(ctx, n); err != nil {
				return err
			}
			after, err := s.machine.Counts(ctx, st.servers...)
			if err != nil {
				return err
			}
			if err := s.rowWrites(ctx, n); err != nil {
				return err
			}
			c, per := after.sub(before), float64(n)
			name := fmt.Sprintf("per 1-task workflow, %d in flight: ", inFlight)
			s.report.count(name+"commits, reads included", float64(c.Commits)/per)
			s.report.count(name+"WAL flushes", float64(c.Syncs)/per)
			s.report.count(name+"row writes", float64(c.Rows)/per)
			s.report.count(name+"statements", float64(c.Statements)/per)
			s.report.count(name+"WAL KB", float64(c.WAL)/per/1e3)
			s.report.count(name+"server CPU ms", float64(c.CPU)/per/1e6)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// statements shows which statements n workflows sent.
func (s *suite) statements(ctx context.Context, n int) error {
	rows, err := s.machine.sql.Query(ctx, `
		SELECT (a.calls - coalesce(b.calls, 0))::float8 / $1 AS calls, regexp_replace(left(a.query, 70), '\s+', ' ', 'g')
		FROM pg_stat_statements a LEFT JOIN calls_before b USING (queryid)
		WHERE a.calls - coalesce(b.calls, 0) > $1 / 10 ORDER BY 1 DESC LIMIT 30`, n)
	if err != nil {
		return err
	}
	var calls float64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&calls, &text}, func() error {
		s.progress("%8.2f of %s", calls, text)
		return nil
	})
	return errors.Join(err, s.machine.exec(ctx, `DROP TABLE calls_before`))
}

// rowWrites shows which tables n workflows wrote to.
func (s *suite) rowWrites(ctx context.Context, n int) error {
	rows, err := s.machine.sql.Query(ctx, `
		SELECT relname::text, (a.n_tup_ins - coalesce(b.n_tup_ins, 0))::float8 / $1, (a.n_tup_upd - coalesce(b.n_tup_upd, 0))::float8 / $1,
		       (a.n_tup_del - coalesce(b.n_tup_del, 0))::float8 / $1
		FROM pg_stat_user_tables a LEFT JOIN rows_before b USING (relname)
		WHERE a.n_tup_ins + a.n_tup_upd + a.n_tup_del - coalesce(b.n_tup_ins + b.n_tup_upd + b.n_tup_del, 0) > $1 / 100
		ORDER BY relname`, n)
	if err != nil {
		return err
	}
	var table string
	var inserted, updated, deleted float64
	_, err = pgx.ForEachRow(rows, []any{&table, &inserted, &updated, &deleted}, func() error {
		s.progress("%-24s %5.2f inserted %5.2f updated %5.2f deleted", table, inserted, updated, deleted)
		return nil
	})
	return errors.Join(err, s.machine.exec(ctx, `DROP TABLE rows_before`))
}

// idle measures what pollers cost that find nothing.
func (s *suite) idle(ctx context.Context) error {
	return s.on(ctx, 1, 0, func(st *stage) error {
		server := st.servers[0]
		before, err := server.Memory()
		if err != nil {
			return err
		}
		wire, err := dial(WorkerKey, 1+s.Pollers/200, server.GRPC)
		if err != nil {
			return err
		}
		defer wire.close()
		polling, stop := context.WithCancel(ctx)
		var group sync.WaitGroup
		defer group.Wait()
		defer stop()
		for range s.Pollers {
			group.Go(func() {
				for polling.Err() == nil {
					_ = wire.call(polling, callPollTask, &flovynv1.PollTaskRequest{
						WorkerId: workerName, OrgId: OrgID, Queue: "idle", TimeoutSeconds: pollTimeout,
					}, &flovynv1.PollTaskResponse{})
				}
			})
		}
		if err := pause(ctx, 15*time.Second); err != nil {
			return err
		}
		memory, err := server.Memory()
		if err != nil {
			return err
		}
		first, err := s.machine.read(ctx, st.servers)
		if err != nil {
			return err
		}
		const watched = 30 * time.Second
		if err := pause(ctx, watched); err != nil {
			return err
		}
		second, err := s.machine.read(ctx, st.servers)
		if err != nil {
			return err
		}
		c, name := second.sub(first), fmt.Sprintf("%d idle pollers: ", s.Pollers)
		s.report.count(name+"% of a core", 100*c.CPU.Seconds()/watched.Seconds())
		s.report.count(name+"KB each", float64(memory-before)/float64(s.Pollers)/1e3)
		s.report.count(name+"statements per second", float64(c.Statements)/watched.Seconds())
		return nil
	})
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// replicas compares two servers on one database with one.
func (s *suite) replicas(ctx context.Context) error {
	for range s.Repeats {
		for _, servers := range []int{1, 2} {
			err := s.on(ctx, servers, 50, func(st *stage) error {
				if _, err := st.runs(ctx, kindTask, s.scaled(500), 50); err != nil {
					return err
				}
				m, err := st.runs(ctx, kindTask, s.scaled(3000), 50)
				if err != nil {
					return err
				}
				name := fmt.Sprintf("1 task, 50 in flight, %d server(s)", servers)
				s.report.add(name, m)
				s.progress("%-36s %9.1f/s", name, m.PerSecond())
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// growth measures the one-task case beside more and more other rows.
func (s *suite) growth(ctx context.Context) error {
	steps := []struct {
		name string
		seed func(context.Context) error
	}{
		{"empty database", func(context.Context) error { return nil }},
		{"finished workflows", func(ctx context.Context) error { return s.machine.seedFinished(ctx, s.Rows) }},
		{"pending tasks on another queue", func(ctx context.Context) error { return s.machine.seedPending(ctx, s.Rows, OrgID, "other") }},
		{"pending tasks of another org", func(ctx context.Context) error { return s.machine.seedPending(ctx, s.Rows, otherOrg, "default") }},
	}
	for _, step := range steps {
		if err := step.seed(ctx); err != nil {
			return err
		}
		err := s.on(ctx, 1, 50, func(st *stage) error {
			var cases []measurement
			for _, inFlight := range []int{1, 50} {
				cases = append(cases, measurement{
					fmt.Sprintf("growth, %s, %d in flight", step.name, inFlight), map[int]int{1: 300, 50: 3000}[inFlight],
					func(ctx context.Context, n int) (Measured, error) { return st.runs(ctx, kindTask, n, inFlight) },
				})
			}
			return s.repeat(ctx, cases)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seedHistory makes a finished execution with so many events.
func (m *Machine) seedHistory(ctx context.Context, length int) (string, error) {
	id := flovyn.NewUUID().String()
	err := m.exec(ctx,
		fmt.Sprintf(`INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, history_month, created_at, ended_at, updated_at)
			VALUES ('%s', '%s', 'seeded', 'default', 'COMPLETED', %d, 0, now(), now(), now())`, id, OrgID, length),
		fmt.Sprintf(`INSERT INTO workflow_event (history_month, execution_id, seq, event_type, data, created_at)
			SELECT 0, '%s', n, 'OPERATION_COMPLETED', '{"operationName":"step","result":{"ok":true}}', now() FROM generate_series(1, %d) n`, id, length))
	return id, err
}

// seedFinished makes finished executions of four events and one task.
func (m *Machine) seedFinished(ctx context.Context, n int) error {
	return m.exec(ctx,
		fmt.Sprintf(`CREATE TEMPORARY TABLE seeded AS SELECT gen_random_uuid() AS id, now() - n * interval '1 second' AS at FROM generate_series(1, %d) n`, n),
		fmt.Sprintf(`INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, history_month, created_at, started_at, ended_at, updated_at)
			SELECT id, '%s', 'task', 'default', 'COMPLETED', 4, 0, at, at, at, at FROM seeded`, OrgID),
		`INSERT INTO workflow_event (history_month, execution_id, seq, event_type, data, created_at)
			SELECT 0, id, seq, 'OPERATION_COMPLETED', '{"operationName":"step","result":{"ok":true}}', at FROM seeded, generate_series(1, 4) seq`,
		fmt.Sprintf(`INSERT INTO task_execution (id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, created_at, started_at, ended_at)
			SELECT gen_random_uuid(), '%s', id, 'work', 'default', 'COMPLETED', 1, 3, at, at, at FROM seeded`, OrgID),
		`DROP TABLE seeded`, `ANALYZE`, `CHECKPOINT`)
}

// seedPending makes standalone tasks that wait on a queue where nobody works.
func (m *Machine) seedPending(ctx context.Context, n int, org, queue string) error {
	return m.exec(ctx,
		fmt.Sprintf(`INSERT INTO task_execution (id, org_id, kind, queue, status, max_retries, created_at)
			SELECT gen_random_uuid(), '%s', 'pending', '%s', 'PENDING', 3, now() FROM generate_series(1, %d)`, org, queue, n),
		fmt.Sprintf(`INSERT INTO task_payload (task_id, org_id, input) SELECT id, org_id, '{}' FROM task_execution
			WHERE org_id = '%s' AND queue = '%s' AND kind = 'pending'`, org, queue),
		fmt.Sprintf(`INSERT INTO ready (class, id, org_id, queue, kind, score) SELECT 'task', id, org_id, queue, kind, created_at FROM task_execution
			WHERE org_id = '%s' AND queue = '%s' AND kind = 'pending'`, org, queue),
		`ANALYZE`, `CHECKPOINT`)
}
