package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// verify looks at everything that is left in the database after all processes
// have stopped in order.
func (d *director) verify() {
	d.t.Helper()
	for _, w := range d.workers {
		w.end()
	}
	for _, s := range d.servers {
		s.end()
	}
	for _, p := range append(d.servers, d.workers...) {
		if text := p.output.String(); p.broken {
			d.t.Errorf("%s panicked or raced:\n%s", p.role.Name, text)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	v := &verifier{director: d, conn: conn, ctx: ctx}
	v.nothingLeft()
	v.histories()
	v.effectsOfTasks()
	v.acknowledged()
}

type verifier struct {
	*director
	conn *pgx.Conn
	ctx  context.Context //nolint:containedctx // of one verification
	// seen are all executions by id, with their histories.
	seen map[string]*recorded
}

type recorded struct {
	id, kind, status, parent string
	lastSeq                  int
	events                   []record
}

type record struct {
	seq  int
	kind string
	data map[string]any
}

func (v *verifier) rows(query string, each func(rows pgx.Rows) error) {
	v.t.Helper()
	rows, err := v.conn.Query(v.ctx, query)
	if err != nil {
		v.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			v.t.Fatal(err)
		}
	}
	if rows.Err() != nil {
		v.t.Fatal(rows.Err())
	}
}

// nothingLeft checks that nothing is open, claimed, listed or due.
func (v *verifier) nothingLeft() {
	v.t.Helper()
	for what, query := range map[string]string{
		"executions are open":           "SELECT count(*) FROM workflow_execution WHERE ended_at IS NULL",
		"executions are claimed":        "SELECT count(*) FROM workflow_execution WHERE status = 'RUNNING'",
		"tasks are open":                "SELECT count(*) FROM task_execution WHERE ended_at IS NULL",
		"tasks ended without a result":  "SELECT count(*) FROM task_execution WHERE status <> 'COMPLETED'",
		"rows are in the backlog":       "SELECT count(*) FROM ready",
		"timers are set":                "SELECT count(*) FROM timer",
		"promises are not resolved":     "SELECT count(*) FROM promise WHERE status <> 'RESOLVED'",
		"executions failed":             "SELECT count(*) FROM workflow_execution WHERE status IN ('FAILED', 'CANCELLED')",
		"events belong to no execution": "SELECT count(*) FROM workflow_event e WHERE NOT EXISTS (SELECT FROM workflow_execution w WHERE w.id = e.execution_id)",
	} {
		var n int
		if err := v.conn.QueryRow(v.ctx, query).Scan(&n); err != nil {
			v.t.Fatal(err)
		}
		if n != 0 {
			v.t.Errorf("%d %s", n, what)
		}
	}
}

// histories checks each history by itself and with the tables it speaks of.
func (v *verifier) histories() {
	v.t.Helper()
	v.seen = map[string]*recorded{}
	v.rows("SELECT id::text, kind, status, coalesce(parent_id::text, ''), last_seq FROM workflow_execution", func(rows pgx.Rows) error {
		r := &recorded{}
		err := rows.Scan(&r.id, &r.kind, &r.status, &r.parent, &r.lastSeq)
		v.seen[r.id] = r
		return err
	})
	v.rows("SELECT execution_id::text, seq, event_type, data FROM workflow_event ORDER BY execution_id, seq", func(rows pgx.Rows) error {
		var id string
		var data []byte
		var e record
		if err := rows.Scan(&id, &e.seq, &e.kind, &data); err != nil {
			return err
		}
		if err := json.Unmarshal(data, &e.data); err != nil {
			return err
		}
		if r := v.seen[id]; r != nil { // others are counted above
			r.events = append(r.events, e)
		}
		return nil
	})
	stuck := 0
	for _, r := range v.seen {
		if problems := v.check(r); len(problems) > 0 {
			if stuck++; stuck <= 5 {
				v.t.Errorf("execution %s (%s, %s): %s\n%s", r.id, r.kind, r.status, strings.Join(problems, "; "), r)
			}
		}
	}
	if stuck > 5 {
		v.t.Errorf("and %d more", stuck-5)
	}
	v.t.Logf("%d executions verified", len(v.seen))
	v.rowsOf("task_execution", "workflow_id", "TASK_SCHEDULED", "taskExecutionId")
	v.rowsOf("promise", "execution_id", "PROMISE_CREATED", "promiseId")
	v.rowsOf("workflow_execution", "parent_id", "CHILD_WORKFLOW_INITIATED", "childExecutionId")
}

// beginnings and their ends: each begins once and ends once, in this order.
var pairs = []struct{ begin, end, key string }{
	{"TASK_SCHEDULED", "TASK_COMPLETED", "taskExecutionId"},
	{"TIMER_STARTED", "TIMER_FIRED", "timerId"},
	{"PROMISE_CREATED", "PROMISE_RESOLVED", "promiseId"},
	{"CHILD_WORKFLOW_INITIATED", "CHILD_WORKFLOW_COMPLETED", "childExecutionId"},
}

func (v *verifier) check(r *recorded) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if r.lastSeq != len(r.events) {
		problem("%d events and a last sequence number of %d", len(r.events), r.lastSeq)
	}
	counts := map[string]int{}
	at := map[string]int{}
	for i, e := range r.events {
		if e.seq != i+1 {
			problem("event %d has sequence number %d", i+1, e.seq)
		}
		if counts["WORKFLOW_COMPLETED"] > 0 && e.kind != "SIGNAL_RECEIVED" {
			problem("%s after the end", e.kind)
		}
		counts[e.kind]++
		for _, p := range pairs {
			id, _ := e.data[p.key].(string)
			switch e.kind {
			case p.begin:
				if at[p.begin+id]++; at[p.begin+id] > 1 {
					problem("%s of %s twice", p.begin, id)
				}
			case p.end:
				if at[p.end+id]++; at[p.end+id] > 1 || at[p.begin+id] == 0 {
					problem("%s of %s without its beginning, or twice", p.end, id)
				}
			}
		}
	}
	for _, p := range pairs {
		if counts[p.begin] != counts[p.end] {
			problem("%d times %s and %d times %s", counts[p.begin], p.begin, counts[p.end], p.end)
		}
	}
	if len(r.events) == 0 || r.events[0].kind != "WORKFLOW_STARTED" || counts["WORKFLOW_STARTED"] != 1 || counts["WORKFLOW_COMPLETED"] != 1 {
		problem("it did not start once and complete once")
	}
	if r.kind == "ordeal" && (counts["OPERATION_COMPLETED"] != 1 || counts["STATE_SET"] != 1 || counts["TASK_SCHEDULED"] != 3) {
		problem("its code left other traces than it does")
	}
	return problems
}

func (r *recorded) String() string {
	var text strings.Builder
	for _, e := range r.events {
		fmt.Fprintf(&text, "  %3d %s %v\n", e.seq, e.kind, e.data)
	}
	return text.String()
}

// rowsOf checks that a table has exactly the rows that histories speak of.
func (v *verifier) rowsOf(table, owner, event, key string) {
	v.t.Helper()
	told := map[string]string{}
	for _, r := range v.seen {
		for _, e := range r.events {
			if e.kind == event {
				id, _ := e.data[key].(string)
				told[id] = r.id
			}
		}
	}
	n := 0
	v.rows(fmt.Sprintf("SELECT id::text, %s::text FROM %s WHERE %s IS NOT NULL", owner, table, owner), func(rows pgx.Rows) error {
		var id, of string
		if err := rows.Scan(&id, &of); err != nil {
			return err
		}
		if n++; told[id] != of {
			v.t.Errorf("%s %s belongs to %s, and no %s says so", table, id, of, event)
		}
		return nil
	})
	if n != len(told) {
		v.t.Errorf("%d rows of %s, %d times %s", n, table, len(told), event)
	}
}

// effectsOfTasks checks that every task that completed has had its effect.
func (v *verifier) effectsOfTasks() {
	v.t.Helper()
	files, err := filepath.Glob(filepath.Join(v.effects, "*.effects"))
	if err != nil {
		v.t.Fatal(err)
	}
	effects, err := effectsIn(files)
	if err != nil {
		v.t.Fatal(err)
	}
	tasks, again := 0, 0
	for _, r := range v.seen {
		for _, e := range r.events {
			if e.kind != "TASK_COMPLETED" {
				continue
			}
			id, _ := e.data["taskExecutionId"].(string)
			if tasks++; effects[id] == 0 {
				v.t.Errorf("task %s of %s completed without effect", id, r.id)
			}
			again += effects[id] - 1
			delete(effects, id)
		}
	}
	if len(effects) > 0 {
		v.t.Errorf("%d tasks had an effect and did not complete", len(effects))
	}
	v.t.Logf("%d tasks completed once each; %d had their effect again after a fault", tasks, again)
}

// acknowledged checks that what clients were told is there, and nothing twice that
// was asked for under one key.
func (v *verifier) acknowledged() {
	v.t.Helper()
	known := map[string]bool{}
	for n, p := range v.ordeals {
		r := v.seen[p.id]
		if r == nil {
			v.t.Errorf("ordeal %d was acknowledged as %q, and there is none", n, p.id)
			continue
		}
		known[p.id] = true
		signals := 0
		for _, e := range r.events {
			if e.kind == "SIGNAL_RECEIVED" {
				signals++
			}
		}
		if signals < p.acknowledged || signals > p.sent {
			v.t.Errorf("ordeal %d has %d signals, where %d were sent and %d acknowledged", n, signals, p.sent, p.acknowledged)
		}
		if !p.ended {
			v.t.Errorf("ordeal %d (%s) has no result; its history:\n%s", n, p.id, r)
		}
	}
	for _, r := range v.seen {
		if r.kind == "ordeal" && !known[r.id] {
			v.t.Errorf("execution %s was started for nobody", r.id)
		}
	}
}
