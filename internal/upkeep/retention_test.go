package upkeep_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/upkeep"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const day = 24 * time.Hour

// world is an engine on a database of its own, in which time can be made to have
// passed.
type world struct {
	t      *testing.T
	dsn    string
	store  *postgres.Store
	engine *engine.Engine
	tasks  *task.Tasks
	orgs   map[string]flovyn.OrgID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dsn: pgtest.New(t), orgs: map[string]flovyn.OrgID{}}
	var err error
	if w.store, err = postgres.Open(t.Context(), postgres.Config{URL: w.dsn, MaxConnections: 4}); err != nil {
		t.Fatal(err)
	}
	w.engine = engine.New(engine.Config{Store: w.store})
	t.Cleanup(func() {
		w.engine.ClosePolls()
		w.engine.Close()
		w.store.Close()
	})
	w.tasks = task.New(w.store, w.engine, slog.New(slog.DiscardHandler))
	var list []flovyn.Organization
	for _, slug := range []string{"acme", "globex"} {
		w.orgs[slug] = flovyn.OrgID(uuid.New())
		list = append(list, flovyn.Organization{ID: w.orgs[slug], Slug: slug, Name: slug, Tier: "FREE"})
	}
	if err := w.store.UpsertOrganizations(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	return w
}

// keeping makes the upkeep that removes what is older than is to be kept; what it
// removes is counted in the map that it returns.
func (w *world) keeping(keep upkeep.Retention) (*upkeep.Upkeep, map[string]int) {
	removed := map[string]int{}
	keep.Deleted = func(what string, n int) { removed[what] += n }
	return upkeep.New(upkeep.Config{
		Store: w.store, Engine: w.engine, Tasks: w.tasks, Workers: worker.New(worker.Config{Store: w.store}), Retention: &keep,
		Logger: slog.New(slog.DiscardHandler),
	}), removed
}

// start begins a workflow with a task, a timer and a key; finish ends it.
func (w *world) start(slug string, age time.Duration, finish bool) flovyn.ExecutionID {
	w.t.Helper()
	queue := uuid.NewString()
	started, err := w.engine.Start(w.t.Context(), engine.StartRequest{Org: w.orgs[slug], Kind: "k", Queue: queue, IdempotencyKey: queue})
	if err != nil {
		w.t.Fatal(err)
	}
	w.submit(slug, queue, started.ID, []history.Command{
		history.ScheduleTask{ID: flovyn.TaskID(uuid.New()), Kind: "k", Queue: queue, MaxRetries: 3},
	}, history.Suspended)
	if finish {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		assignment, err := w.tasks.Poll(ctx, wake.Key{Org: w.orgs[slug], Queue: queue}, wake.Poller{Worker: "w"}, time.Minute)
		if err != nil || assignment == nil {
			w.t.Fatalf("no task: %v", err)
		}
		if err := w.tasks.Log(ctx, w.orgs[slug], assignment.Task.ID, "info", "a line"); err != nil {
			w.t.Fatal(err)
		}
		if err := w.tasks.Complete(ctx, w.orgs[slug], assignment.Task.ID, nil); err != nil {
			w.t.Fatal(err)
		}
		w.submit(slug, queue, started.ID, []history.Command{history.CompleteWorkflow{}}, history.Completed)
	}
	w.age(started.ID, age)
	return started.ID
}

func (w *world) submit(slug, queue string, id flovyn.ExecutionID, commands []history.Command, status history.Status) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	activation, err := w.engine.Poll(ctx, wake.Key{Org: w.orgs[slug], Queue: queue}, wake.Poller{Worker: "w"}, time.Minute)
	if err != nil || activation == nil {
		w.t.Fatalf("no activation: %v", err)
	}
	if err := w.engine.Submit(ctx, w.orgs[slug], id, commands, status); err != nil {
		w.t.Fatal(err)
	}
}

// age makes an execution older, and moves its history to the month it then began
// in.
func (w *world) age(id flovyn.ExecutionID, age time.Duration) {
	w.t.Helper()
	month := flovyn.HistoryMonth(time.Now().Add(-age))
	ago := fmt.Sprintf("interval '%d seconds'", int(age.Seconds()))
	w.exec(fmt.Sprintf(`CREATE TABLE IF NOT EXISTS workflow_event_m%d PARTITION OF workflow_event FOR VALUES FROM (%d) TO (%d)`, month, month, month+1))
	w.exec(`UPDATE workflow_event SET history_month = $2 WHERE execution_id = $1`, id.UUID(), month)
	w.exec(`UPDATE workflow_execution SET history_month = $2, created_at = created_at - `+ago+`, ended_at = ended_at - `+ago+` WHERE id = $1`,
		id.UUID(), month)
	w.exec(`UPDATE task_execution SET history_month = $2, created_at = created_at - `+ago+`, ended_at = ended_at - `+ago+` WHERE workflow_id = $1`,
		id.UUID(), month)
}

func (w *world) connect() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	conn := w.connect()
	defer conn.Close(w.t.Context())
	if _, err := conn.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// rows counts what is in the tables that hold something.
func (w *world) rows() map[string]int {
	w.t.Helper()
	conn := w.connect()
	defer conn.Close(w.t.Context())
	counts := map[string]int{}
	for _, table := range []string{
		"workflow_execution", "workflow_event", "task_execution", "task_payload", "task_attempt", "task_log", "task_state",
		"timer", "promise", "ready", "idempotency_key",
	} {
		var n int
		if err := conn.QueryRow(w.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		if n > 0 {
			counts[table] = n
		}
	}
	return counts
}

func (w *world) retain(u *upkeep.Upkeep) {
	w.t.Helper()
	if err := u.Retain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// What is finished goes with all that belongs to it when its time is over, its
// month with it; what is younger, or open, stays complete.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start("acme", 200*day, true)
	w.start("acme", 400*day, true)
	open := w.start("acme", 800*day, false)
	young := w.start("acme", 5*day, true)
	u, removed := w.keeping(upkeep.Retention{Default: 30 * day})
	for range 2 { // the second time there is nothing to do
		w.retain(u)
	}
	if diff := cmp.Diff(map[string]int{"executions": 2, "tasks": 2, "partitions": 2}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	want := map[string]int{
		"workflow_execution": 2, "workflow_event": 6, "task_execution": 2, "task_log": 1, "ready": 1, "idempotency_key": 2,
	}
	if diff := cmp.Diff(want, w.rows()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	for _, id := range []flovyn.ExecutionID{open, young} {
		if events, err := w.store.Events(t.Context(), w.orgs["acme"], id); err != nil || len(events) < 2 {
			t.Errorf("%s: %d events, %v", id, len(events), err)
		}
	}
}

// An old execution that is open, or of an organization that keeps longer, keeps
// its month; the events of the others there go all the same.
func TestRetentionOfASharedMonth(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]upkeep.Retention{
		"open":         {Default: 30 * day},
		"kept":         {Default: 30 * day, ByOrg: map[string]time.Duration{"globex": 0}},
		"kept longer":  {ByOrg: map[string]time.Duration{"acme": day, "globex": 3000 * day}},
		"kept by rule": {ByOrg: map[string]time.Duration{"acme": day}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start("acme", 400*day, true)
			kept := w.start("globex", 400*day, name != "open")
			u, removed := w.keeping(keep)
			w.retain(u)
			if removed["executions"] != 1 || removed["partitions"] != 0 {
				t.Errorf("removed %v", removed)
			}
			events, err := w.store.Events(t.Context(), w.orgs["globex"], kept)
			if err != nil || len(events) == 0 {
				t.Errorf("%d events, %v", len(events), err)
			}
			// What is to be kept for 3000 days gives the month that long.
			if got := w.rows()["workflow_event"]; name != "kept longer" && got != len(events) {
				t.Errorf("%d events are left, %d of them are of an execution", got, len(events))
			}
		})
	}
}

// A finished child of an open parent, and a finished parent of an open child, are
// tied to what is open.
func TestRetentionOfRelatives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent, child := w.start("acme", 400*day, false), w.start("acme", 400*day, true)
	other, orphan := w.start("acme", 400*day, true), w.start("acme", 400*day, false)
	for c, p := range map[flovyn.ExecutionID]flovyn.ExecutionID{child: parent, orphan: other} {
		w.exec("UPDATE workflow_execution SET parent_id = $2 WHERE id = $1", c.UUID(), p.UUID())
	}
	u, removed := w.keeping(upkeep.Retention{Default: day})
	w.retain(u)
	if removed["executions"] != 0 {
		t.Errorf("removed %v", removed)
	}
}

// Finished standalone tasks go too, with input and output; open ones stay.
func TestRetentionOfTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []flovyn.TaskID
	for i := range 3 {
		submitted, err := w.tasks.Submit(t.Context(), task.SubmitRequest{Org: w.orgs["acme"], Kind: "k", IdempotencyKey: strconv.Itoa(i), Timeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, submitted.ID)
	}
	for _, id := range ids[:2] {
		if err := w.tasks.Cancel(t.Context(), w.orgs["acme"], id, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.exec("UPDATE task_execution SET created_at = created_at - interval '90 days', ended_at = ended_at - interval '90 days' WHERE id <> $1", ids[1].UUID())
	u, removed := w.keeping(upkeep.Retention{Default: day})
	w.retain(u)
	if removed["tasks"] != 1 {
		t.Errorf("removed %v", removed)
	}
	want := map[string]int{"task_execution": 2, "task_payload": 2, "timer": 1, "ready": 1, "idempotency_key": 2}
	if diff := cmp.Diff(want, w.rows()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Without a setting nothing is ever removed.
func TestNoRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if u, _ := w.keeping(upkeep.Retention{ByOrg: map[string]time.Duration{"acme": 0}}); u.Retains() {
		t.Error("something is removed")
	}
}
