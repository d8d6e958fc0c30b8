package oracle_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/oracle"
)

// compare holds everything in the database against everything in the model.
func (r *run) compare() error {
	if err := r.compareHistories(); err != nil {
		return err
	}
	want, got := r.expected(), []string(nil)
	batch := &pgx.Batch{}
	for _, table := range r.tables() {
		batch.Queue(table.query, r.org.UUID()).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				values, err := rows.Values()
				if err != nil {
					return err
				}
				for i, value := range values {
					if id, ok := value.([16]byte); ok {
						values[i] = r.rename(uuid.UUID(id).String())
					}
				}
				got = append(got, table.line(values))
			}
			return rows.Err()
		})
	}
	if err := r.conn.SendBatch(r.ctx, batch).Close(); err != nil {
		return err
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the tables differ (-model +engine):\n%s", diff)
	}
	return nil
}

// table is a query by organization, and how a row of it is written.
type table struct {
	query string
	line  func(values []any) string
}

func sprint(prefix string) func([]any) string {
	return func(values []any) string { return prefix + strings.TrimSuffix(fmt.Sprintln(values...), "\n") }
}

func (r *run) tables() []table {
	return []table{
		{`SELECT id, kind, queue, status, last_seq, news AND status = 'RUNNING', disputed, coalesce(parent_id::text, ''), child_name,
			activations, CASE status WHEN 'RUNNING' THEN worker_id ELSE '' END, (ended_at IS NOT NULL)
			FROM workflow_execution WHERE org_id = $1`, func(values []any) string {
			values[7] = r.rename(values[7].(string))
			return sprint("execution ")(values)
		}},
		{`SELECT id, kind, queue, status, execution_count, max_retries, timeout_ms > 0, coalesce(workflow_id::text, ''),
			CASE status WHEN 'RUNNING' THEN worker_id ELSE '' END, (ended_at IS NOT NULL), error
			FROM task_execution WHERE org_id = $1`, func(values []any) string {
			values[7] = r.rename(values[7].(string))
			return sprint("task ")(values)
		}},
		{`SELECT task_id, convert_from(input, 'UTF8'), coalesce(convert_from(output, 'UTF8'), '') FROM task_payload WHERE org_id = $1`, sprint("payload ")},
		{`SELECT task_id, attempt, error FROM task_attempt WHERE org_id = $1`, sprint("attempt ")},
		{`SELECT id, execution_id, name, status, timeout_at IS NOT NULL FROM promise WHERE org_id = $1`, sprint("promise ")},
		{`SELECT owner_id, kind, name FROM timer WHERE org_id = $1`, func(values []any) string {
			values[2] = r.rename(values[2].(string))
			return sprint("timer ")(values)
		}},
		{`SELECT class, id, queue, kind FROM ready WHERE org_id = $1`, sprint("ready ")},
		{`SELECT scope, key, target_id FROM idempotency_key WHERE org_id = $1 AND expires_at > clock_timestamp()`, sprint("key ")},
	}
}

// expected is the same as the model has it.
func (r *run) expected() (lines []string) {
	add := func(prefix string, values ...any) { lines = append(lines, sprint(prefix)(values)) }
	for name, w := range r.model.Executions {
		ended := w.Status == oracle.Completed || w.Status == oracle.Failed || w.Status == oracle.Cancelled
		worker := ""
		if w.Status == oracle.Running {
			worker = w.Claim
		}
		add("execution ", name, w.Kind, w.Queue, w.Status, len(w.Events), w.News && w.Status == oracle.Running, w.Disputed, w.Parent,
			w.ChildName, w.Activations, worker, ended)
		if w.Status == oracle.Pending {
			add("ready ", "workflow", name, w.Queue, w.Kind)
		}
	}
	for name, t := range r.model.Tasks {
		ended := t.Status == oracle.Completed || t.Status == oracle.Failed || t.Status == oracle.Cancelled
		worker := ""
		if t.Status == oracle.Running {
			worker = t.Claim
		}
		add("task ", name, t.Kind, t.Queue, t.Status, t.Attempt, t.MaxRetries, t.Timeout, t.Workflow, worker, ended, t.Error)
		if t.Workflow == "" {
			add("payload ", name, string(t.Input), string(t.Output))
		}
		if t.Status == oracle.Pending {
			add("ready ", "task", name, t.Queue, t.Kind)
		}
		for _, attempt := range t.Attempts {
			number, text, _ := strings.Cut(attempt, " ")
			add("attempt ", name, number, text)
		}
	}
	for name, p := range r.model.Promises {
		add("promise ", name, p.Workflow, p.Label, p.Status, p.Timeout)
	}
	for timer := range r.model.Timers {
		add("timer ", timer.Owner, timer.Kind, timer.Name)
	}
	for key, name := range r.model.Keys {
		add("key ", key.Scope, key.Name, name)
	}
	slices.Sort(lines)
	return lines
}

// compareHistories compares the events that were written since the last time.
// Nothing ever changes a written event; the end of the run checks that too.
func (r *run) compareHistories() error {
	var ids []uuid.UUID
	var known []int32
	for _, name := range slices.Sorted(maps.Keys(r.model.Executions)) {
		if id, ok := r.ids[name]; ok {
			ids, known = append(ids, id), append(known, int32(r.seen[name]))
		}
	}
	rows, err := r.conn.Query(r.ctx, `SELECT e.execution_id, e.seq, e.event_type, e.data FROM unnest($1::uuid[], $2::integer[]) AS u (id, seq)
		JOIN workflow_event e ON e.execution_id = u.id AND e.seq > u.seq ORDER BY 1, 2`, ids, known)
	if err != nil {
		return err
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[eventRow])
	if err != nil {
		return err
	}
	for _, e := range events {
		name := r.names[e.Execution]
		if err := r.compareEvent(name, e); err != nil {
			return fmt.Errorf("event %d of %s: %w", e.Seq, name, err)
		}
		r.seen[name]++
	}
	for name, w := range r.model.Executions {
		if r.seen[name] != len(w.Events) {
			return fmt.Errorf("%s has %d events, should have %d; the next is %v", name, r.seen[name], len(w.Events), w.Events[r.seen[name]])
		}
	}
	return nil
}

type eventRow struct {
	Execution uuid.UUID
	Seq       int32
	Type      string
	Data      []byte
}

func (r *run) compareEvent(name string, e eventRow) error {
	w := r.model.Executions[name]
	if int(e.Seq) != r.seen[name]+1 {
		return fmt.Errorf("it follows event %d", r.seen[name])
	}
	if int(e.Seq) > len(w.Events) {
		return fmt.Errorf("nobody expects %s %s", e.Type, e.Data)
	}
	want := w.Events[e.Seq-1]
	if want.Type != e.Type {
		return fmt.Errorf("%s %s instead of %s %v", e.Type, e.Data, want.Type, want.Data)
	}
	if want.Type == string(history.PromiseCreated) { // here the engine says what it calls it
		promise, _ := want.Data["promiseId"].(string)
		id, err := uuid.Parse(strings.Trim(string(history.Member(e.Data, "promiseId")), `"`))
		if err != nil || r.names[id] != "" || r.ids[promise] != uuid.Nil {
			return fmt.Errorf("the new promise %s is called %s", promise, e.Data)
		}
		r.bind(promise, id)
	}
	got, err := r.normal(e.Data)
	if err != nil {
		return err
	}
	expected, err := dataOf(want)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(expected, got) {
		return fmt.Errorf("%s differs (-model +engine):\n%s", e.Type, cmp.Diff(expected, got))
	}
	return nil
}

// dataOf is an event's data as JSON decodes it.
func dataOf(e oracle.Event) (any, error) {
	data := map[string]any{}
	for key, value := range e.Data {
		switch value := value.(type) {
		case oracle.Raw:
			decoder := json.NewDecoder(strings.NewReader(string(value)))
			decoder.UseNumber()
			var member any
			if err := decoder.Decode(&member); err != nil {
				return nil, err
			}
			data[key] = member
		case oracle.Number:
			data[key] = json.Number(fmt.Sprint(value))
		default:
			data[key] = value
		}
	}
	return data, nil
}

// compareReaders checks that both servers answer with what is in the database,
// from whatever they remember, and that no written event has changed.
func (r *run) compareReaders() error {
	for name := range r.model.Executions {
		r.seen[name] = 0
		id := r.id(name)
		for i, e := range r.engines {
			events, err := e.Events(r.ctx, r.org, [16]byte(id))
			if err != nil {
				return err
			}
			if _, err := history.Fold([16]byte(id), events); err != nil {
				return err
			}
			r.seen[name] = 0
			for _, event := range events {
				row := eventRow{id, int32(event.Seq), string(event.Type), event.Data}
				if row.Type == string(history.PromiseCreated) {
					r.unbind(name, row)
				}
				if err := r.compareEvent(name, row); err != nil {
					return fmt.Errorf("server %d, event %d of %s: %w", i, event.Seq, name, err)
				}
				r.seen[name]++
			}
			if len(events) != len(r.model.Executions[name].Events) {
				return fmt.Errorf("server %d knows %d events of %s", i, len(events), name)
			}
		}
	}
	return nil
}

// unbind forgets what the engine calls a promise, which is to be read again.
func (r *run) unbind(name string, e eventRow) {
	if int(e.Seq) <= len(r.model.Executions[name].Events) {
		promise, _ := r.model.Executions[name].Events[e.Seq-1].Data["promiseId"].(string)
		delete(r.names, r.ids[promise])
		delete(r.ids, promise)
	}
}
