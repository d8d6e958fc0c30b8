package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is one server's schedules on a database of the test's own.
type bench struct {
	*testing.T
	*Schedules
	org  flovyn.OrgID
	dsn  string
	conn *pgx.Conn
}

func setUp(t *testing.T) *bench {
	t.Helper()
	b := server(t, pgtest.New(t))
	b.org = flovyn.OrgID(uuid.New())
	b.must(b.store.UpsertOrganizations(t.Context(), []flovyn.Organization{{ID: b.org, Slug: "acme", Name: "Acme", Tier: "FREE"}}))
	conn, err := pgx.Connect(t.Context(), b.dsn)
	b.must(err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	b.conn = conn
	return b
}

func server(t *testing.T, dsn string) *bench {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(engine.Config{Store: store, Logger: log})
	t.Cleanup(func() {
		e.ClosePolls()
		e.Close()
		store.Close()
	})
	return &bench{T: t, Schedules: New(store, e, task.New(store, e, log)), dsn: dsn}
}

// another is a second server on the same database.
func (b *bench) another() *bench {
	b.Helper()
	second := server(b.T, b.dsn)
	second.org, second.conn = b.org, b.conn
	return second
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
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

// hourly is a schedule of a workflow.
func hourly(name string) Request {
	return Request{
		Name: name, Enabled: true, Timing: Timing{Type: flovyn.ScheduleRecurring, Cron: "0 * * * *", Timezone: "Asia/Kolkata"},
		Target: Target{Class: flovyn.ClassWorkflow, Kind: "k", Input: []byte(`{"n": 9007199254740993}`), Metadata: map[string]string{"a": "b"}},
	}
}

func (b *bench) create(req Request) flovyn.Schedule {
	b.Helper()
	s, err := b.Create(b.Context(), b.org, "user:u", req)
	b.must(err)
	return s
}

// due makes a schedule due since some time.
func (b *bench) due(s flovyn.Schedule, since string) {
	b.Helper()
	b.exec("UPDATE schedule SET next_run_at = now() - $2::interval WHERE id = $1", s.ID.UUID(), since)
}

func (b *bench) get(s flovyn.Schedule) flovyn.Schedule {
	b.Helper()
	got, err := b.Get(b.Context(), b.org, s.ID)
	b.must(err)
	return got
}

// runs returns the states of a schedule's runs, the oldest first.
func (b *bench) runs(s flovyn.Schedule) (all []flovyn.ScheduleRun, states string) {
	b.Helper()
	runs, total, err := b.Runs(b.Context(), b.org, s.ID, 100, 0)
	b.must(err)
	if int(total) != len(runs) {
		b.Errorf("%d runs of %d", len(runs), total)
	}
	var texts []string
	for _, r := range slices.Backward(runs) {
		all = append(all, r)
		texts = append(texts, string(r.Status))
	}
	return all, strings.Join(texts, " ")
}

func TestCreate(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	s := b.create(hourly("report"))
	if s.NextRunAt == nil || s.NextRunAt.Minute() != 30 || Local(&s).Minute() != 0 || !s.Enabled || s.CreatedBy != "user:u" ||
		s.Missed != flovyn.MissedSkip || s.Overlap != flovyn.OverlapSkip || s.Target.Queue != "default" {
		t.Errorf("%+v", s)
	}
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	for message, spoil := range map[string]func(*Request){
		"a schedule with this name exists":                                func(*Request) {},
		"name: is required":                                               func(r *Request) { r.Name = " " },
		"schedule_type.cron: minute":                                      func(r *Request) { r.Timing.Cron = "60 * * * *" },
		"schedule_type.cron: is required":                                 func(r *Request) { r.Timing.Cron = "" },
		`schedule_type.timezone: "Mars/Olympus" is not an IANA time zone`: func(r *Request) { r.Timing.Timezone = "Mars/Olympus" },
		"schedule_type.end_at:":                                           func(r *Request) { r.Timing.EndAt = &past },
		"schedule_type.end_at: there is no run before it":                 func(r *Request) { r.Timing.Cron, r.Timing.EndAt = "0 0 29 2 *", &soon },
		"schedule_type.run_at: is for schedules that fire once":           func(r *Request) { r.Timing.RunAt = &soon },
		"schedule_type.run_at: is required":                               func(r *Request) { r.Timing = Timing{Type: flovyn.ScheduleOnce} },
		"is in the past":                                                  func(r *Request) { r.Timing = Timing{Type: flovyn.ScheduleOnce, RunAt: &past} },
		"schedule_type: cron, timezone and end_at are for recurring":      func(r *Request) { r.Timing.Type, r.Timing.RunAt = flovyn.ScheduleOnce, &soon },
		"schedule_type.type: want once or recurring":                      func(r *Request) { r.Timing.Type = "" },
		"target.type: want workflow or task":                              func(r *Request) { r.Target.Class = "agent" },
		"target.workflow_kind":                                            func(r *Request) { r.Target.Kind = "" },
		"target.task_kind":                                                func(r *Request) { r.Target = Target{Class: flovyn.ClassTask} },
		"target.max_retries: is for tasks":                                func(r *Request) { r.Target.MaxRetries = new(int32(1)) },
		"target.max_retries: must be between 0 and 10": func(r *Request) {
			r.Target = Target{Class: flovyn.ClassTask, Kind: "k", MaxRetries: new(int32(11))}
		},
		"target.input": func(r *Request) { r.Target.Input = []byte("{") },
	} {
		req := hourly("report")
		spoil(&req)
		if _, err := b.Create(t.Context(), b.org, "user:u", req); err == nil || !strings.Contains(fault.Message(err), message) ||
			!fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Exists) {
			t.Errorf("%v, want %s", err, message)
		}
	}
	if schedules, total, err := b.List(t.Context(), b.org, 10, 0); err != nil || total != 1 || len(schedules) != 1 {
		t.Error(schedules, total, err)
	}
}

// What falls due is started once, however many servers look.
func TestEveryRunOnce(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	servers := []*bench{b, b.another()}
	const schedules = 230 // more than two batches
	for i := range schedules {
		req := hourly(fmt.Sprintf("s%d", i))
		if i%2 == 0 {
			req.Target = Target{Class: flovyn.ClassTask, Kind: "t", MaxRetries: new(int32(0))}
		}
		b.due(b.create(req), "1 second")
	}
	var looks sync.WaitGroup
	for i := range 6 {
		looks.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
			defer cancel()
			if err := servers[i%2].Fire(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	looks.Wait()
	b.must(b.Fire(t.Context()))
	for sql, want := range map[string]int{
		"SELECT count(DISTINCT schedule_id) FROM schedule_run WHERE status = 'running' AND started_at IS NOT NULL": schedules,
		"SELECT count(*) FROM schedule_run": schedules,
		"SELECT count(*) FROM workflow_execution WHERE kind = 'k' AND metadata = '{\"a\": \"b\"}'": schedules / 2,
		"SELECT count(*) FROM task_execution WHERE kind = 't' AND max_retries = 0":                 schedules / 2,
	} {
		if n := b.count(sql); n != want {
			t.Errorf("%d, want %d: %s", n, want, sql)
		}
	}
	if n := b.count("SELECT count(*) FROM schedule WHERE run_count = 1 AND next_run_at > now() AND last_run_at IS NOT NULL"); n != schedules {
		t.Errorf("%d schedules went on", n)
	}
}

// A server that dies between the decision and the start leaves a run that any
// other one starts, and that is started once.
func TestCrashBetweenDecisionAndStart(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	s := b.create(hourly("report"))
	b.due(s, "1 second")
	ctx := t.Context()
	n, err := b.store.DueSchedules(ctx, batch, func(tx *postgres.ScheduleTx, s *flovyn.Schedule) error { return b.decide(ctx, tx, s) })
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, states := b.runs(s); states != "pending" || b.count("SELECT count(*) FROM workflow_execution") != 0 {
		t.Fatal(states)
	}
	pending, err := b.store.PendingRuns(ctx, batch)
	b.must(err)
	// The next server starts it, and dies before it notes that.
	second := b.another()
	b.must(second.start(ctx, &pending[0].Schedule, *pending[0].Run.Target))
	b.must(b.Fire(ctx))
	b.must(second.Fire(ctx))
	if runs, states := b.runs(s); states != "running" || runs[0].StartedAt == nil {
		t.Error(states)
	}
	if n := b.count("SELECT count(*) FROM workflow_execution WHERE id = $1", *pending[0].Run.Target); n != 1 || b.count("SELECT count(*) FROM workflow_execution") != 1 {
		t.Errorf("%d executions", n)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	at := time.Now().Add(time.Hour)
	req := hourly("once")
	req.Timing = Timing{Type: flovyn.ScheduleOnce, RunAt: &at}
	s := b.create(req)
	b.must(b.Fire(t.Context()))
	if _, states := b.runs(s); states != "" {
		t.Fatal("it ran before its time")
	}
	b.exec("UPDATE schedule SET run_at = now(), next_run_at = now()")
	b.must(b.Fire(t.Context()))
	if _, states := b.runs(s); states != "running" {
		t.Error(states)
	}
	if s = b.get(s); s.Enabled || s.NextRunAt != nil || s.RunCount != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := b.Resume(t.Context(), b.org, s.ID); !fault.Is(err, fault.Precondition) {
		t.Error(err)
	}
	if _, err := b.Update(t.Context(), b.org, s.ID, Change{Timing: &Timing{Type: flovyn.ScheduleRecurring, Cron: "* * * * *"}}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	changed, err := b.Update(t.Context(), b.org, s.ID, Change{Timing: &req.Timing, Enabled: new(true)})
	b.must(err)
	if !changed.Enabled || changed.NextRunAt == nil || !changed.NextRunAt.Equal(at.Truncate(time.Microsecond)) && changed.NextRunAt.Sub(at).Abs() > time.Microsecond {
		t.Errorf("%+v", changed)
	}
}

func TestMissedRuns(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	late := b.create(hourly("late"))
	skipped := b.create(hourly("skipped"))
	req := hourly("made up for")
	req.Missed = flovyn.MissedExecute
	once := b.create(req)
	b.due(late, "4 minutes")
	b.due(skipped, "3 hours")
	b.due(once, "3 hours")
	b.must(b.Fire(t.Context()))
	for _, c := range []struct {
		s    flovyn.Schedule
		want string
	}{{late, "running"}, {skipped, "skipped"}, {once, "running"}} {
		s, want := c.s, c.want
		runs, states := b.runs(s)
		if states != want {
			t.Errorf("%s: %s", s.Name, states)
			continue
		}
		if s = b.get(s); s.NextRunAt == nil || !s.NextRunAt.After(time.Now().Add(-5*time.Minute)) {
			t.Errorf("%s goes on at %v", s.Name, s.NextRunAt)
		}
		if (want == "skipped") != (runs[0].Target == nil) || (want == "skipped") != (runs[0].CompletedAt != nil) || (want == "skipped") != (runs[0].Error != "") {
			t.Errorf("%s: %+v", s.Name, runs[0])
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	for policy, want := range map[flovyn.OverlapPolicy]string{
		flovyn.OverlapSkip: "running skipped", flovyn.OverlapAllow: "running running", flovyn.OverlapCancel: "failed running",
	} {
		for _, class := range []flovyn.Class{flovyn.ClassWorkflow, flovyn.ClassTask} {
			req := hourly(string(policy) + string(class))
			req.Overlap, req.Target = policy, Target{Class: class, Kind: "k"}
			s := b.create(req)
			b.due(s, "2 seconds")
			b.must(b.Fire(ctx))
			b.due(s, "1 second")
			b.must(b.Fire(ctx))
			b.must(b.Settle(ctx))
			if runs, states := b.runs(s); states != want || policy == flovyn.OverlapCancel && runs[0].Error != "cancelled" {
				t.Errorf("%s: %s, want %s", s.Name, states, want)
			}
		}
	}
}

// A run is over when its target is, and the next one may begin.
func TestRunsComplete(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := hourly("task")
	req.Target = Target{Class: flovyn.ClassTask, Kind: "k", MaxRetries: new(int32(0))}
	s := b.create(req)
	b.due(s, "3 seconds")
	b.must(b.Fire(ctx))
	poll := func() flovyn.TaskID {
		a, err := b.tasks.Poll(ctx, wake.Key{Org: b.org, Queue: "default"}, wake.Poller{Worker: "w"}, 10*time.Second)
		b.must(err)
		if a == nil {
			t.Fatal("the schedule's task did not come to the worker")
		}
		if string(a.Input) != "{}" {
			t.Errorf("the input is %s", a.Input)
		}
		return a.Task.ID
	}
	b.must(b.tasks.Complete(ctx, b.org, poll(), []byte("1")))
	b.due(s, "2 seconds")
	b.must(b.Fire(ctx)) // not noted yet, and yet not in the way
	b.must(b.tasks.Fail(ctx, b.org, poll(), "no luck"))
	b.must(b.Settle(ctx))
	if runs, states := b.runs(s); states != "completed failed" || runs[1].Error != "no luck" || runs[0].CompletedAt == nil {
		t.Error(states, runs)
	}
	// What retention deleted before anybody looked is over as well.
	b.due(s, "1 second")
	b.must(b.Fire(ctx))
	b.exec("DELETE FROM task_execution WHERE ended_at IS NULL")
	b.must(b.Settle(ctx))
	if runs, states := b.runs(s); states != "completed failed failed" || runs[2].Error != "what was started is not kept any more" {
		t.Error(states, runs)
	}
	b.exec("UPDATE schedule_run SET scheduled_at = scheduled_at - interval '31 days' WHERE status = 'failed'")
	b.must(b.DeleteOldRuns(ctx))
	if _, states := b.runs(s); states != "completed" {
		t.Error(states)
	}
}

func TestPauseResumeTrigger(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	s := b.create(hourly("report"))
	paused, err := b.Pause(ctx, b.org, s.ID)
	b.must(err)
	if paused.Enabled || paused.NextRunAt != nil {
		t.Errorf("%+v", paused)
	}
	run, err := b.Trigger(ctx, b.org, s.ID)
	b.must(err)
	if run.Status != flovyn.RunRunning || run.Target == nil || run.StartedAt == nil {
		t.Errorf("%+v", run)
	}
	if _, err := b.engine.Events(ctx, b.org, flovyn.ExecutionID(*run.Target)); err != nil {
		t.Error(err)
	}
	// Beside the one that goes on.
	if _, err := b.Trigger(ctx, b.org, s.ID); err != nil {
		t.Error(err)
	}
	resumed, err := b.Resume(ctx, b.org, s.ID)
	b.must(err)
	if !resumed.Enabled || resumed.NextRunAt == nil || resumed.RunCount != 2 {
		t.Errorf("%+v", resumed)
	}
	changed, err := b.Update(ctx, b.org, s.ID, Change{
		Name: new("renamed"), Timing: &Timing{Type: flovyn.ScheduleRecurring, Cron: "15 * * * *"}, Overlap: flovyn.OverlapAllow,
		Target: &Target{Class: flovyn.ClassTask, Kind: "t"},
	})
	b.must(err)
	if changed.Name != "renamed" || changed.NextRunAt.Minute() != 15 || changed.Target.Class != flovyn.ClassTask || changed.Missed != flovyn.MissedSkip {
		t.Errorf("%+v", changed)
	}
	// Nobody else sees any of it.
	stranger := flovyn.OrgID(uuid.New())
	for name, try := range map[string]func() error{
		"get":     func() error { _, err := b.Get(ctx, stranger, s.ID); return err },
		"update":  func() error { _, err := b.Update(ctx, stranger, s.ID, Change{}); return err },
		"pause":   func() error { _, err := b.Pause(ctx, stranger, s.ID); return err },
		"resume":  func() error { _, err := b.Resume(ctx, stranger, s.ID); return err },
		"trigger": func() error { _, err := b.Trigger(ctx, stranger, s.ID); return err },
		"runs":    func() error { _, _, err := b.Runs(ctx, stranger, s.ID, 1, 0); return err },
		"delete":  func() error { return b.Delete(ctx, stranger, s.ID) },
	} {
		if err := try(); !fault.Is(err, fault.NotFound) || fault.Message(err) != "schedule not found" {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.must(b.Delete(ctx, b.org, s.ID))
	if n := b.count("SELECT count(*) FROM schedule_run"); n != 0 {
		t.Errorf("%d runs are left", n)
	}
	if err := b.Delete(ctx, b.org, s.ID); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// Nothing fires after the end of a schedule.
func TestEnd(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	req := hourly("ends")
	req.Timing.EndAt = new(time.Now().Add(90 * time.Minute))
	s := b.create(req)
	b.exec("UPDATE schedule SET end_at = now() + interval '1 second', next_run_at = now() - interval '1 second'")
	b.must(b.Fire(t.Context()))
	if _, states := b.runs(s); states != "running" {
		t.Error(states)
	}
	if s = b.get(s); s.Enabled || s.NextRunAt != nil {
		t.Errorf("%+v", s)
	}
}
