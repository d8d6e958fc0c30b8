package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/audit"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/telemetry"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	acme   = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	globex = flovyn.OrgID(uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8"))
	alice  = caller.Caller{Kind: caller.User, ID: "alice", Org: acme, Role: caller.Admin}
	mallet = caller.Caller{Kind: caller.Worker, ID: "mallet", Org: globex}
)

// scene is a trail on a database, with a clock that stands still.
type scene struct {
	*audit.Trail
	store *postgres.Store
	log   *bytes.Buffer
	mu    sync.Mutex
	now   time.Time
}

func newScene(t *testing.T) *scene {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.New(t), MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return on(t, store)
}

func on(t *testing.T, store *postgres.Store) *scene {
	t.Helper()
	s := &scene{store: store, log: &bytes.Buffer{}, now: time.Now()}
	var err error
	s.Trail, err = audit.New(audit.Config{Store: store, Log: slog.New(slog.NewTextHandler(s.log, nil)), Now: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// records are all of an organization that the filter selects, page by page.
func (s *scene) records(t *testing.T, f flovyn.AuditFilter, limit int) (all []flovyn.AuditRecord) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Limit = limit
	if f.Before.At.IsZero() {
		f.Before.At = s.now.Add(time.Hour)
	}
	for range 1000 {
		page, next, err := s.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if next == nil {
			return all
		}
		f.Before = *next
	}
	t.Fatal("the pages do not end")
	return nil
}

func event(outcome flovyn.AuditOutcome, who *caller.Caller) audit.Event {
	return audit.Event{
		Caller: who, Procedure: "/flovyn.api.v1.ScheduleService/PauseSchedule", Action: "update", ResourceType: "Schedule",
		ResourceID: "7", Outcome: outcome, Reason: "why",
	}
}

// A record says who did what to what, and how it ended, in the log and in the
// table, to those of the organization alone.
func TestRecord(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx := telemetry.WithRequestID(t.Context(), "req-7")
	s.Note(ctx, "192.0.2.7:1234", event(flovyn.AuditDenied, &alice))
	s.Note(ctx, "[2001:db8::1]:443", event(flovyn.AuditAllowed, &mallet))
	s.Note(ctx, "", event(flovyn.AuditDenied, nil))
	got := s.records(t, flovyn.AuditFilter{Org: acme}, 10)
	want := []flovyn.AuditRecord{{
		At: s.now.UTC().Truncate(time.Microsecond), Org: acme, Principal: "user:alice",
		Procedure: "/flovyn.api.v1.ScheduleService/PauseSchedule", Action: "update", ResourceType: "Schedule", ResourceID: "7",
		Outcome: flovyn.AuditDenied, Reason: "why", RequestID: "req-7", RemoteAddress: "192.0.2.7",
	}}
	ignoreID := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "ID" }, cmp.Ignore())
	inUTC := cmp.Transformer("UTC", func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) })
	if diff := cmp.Diff(want, got, ignoreID, inUTC); diff != "" {
		t.Error(diff)
	}
	if got := s.records(t, flovyn.AuditFilter{Org: globex}, 10); len(got) != 1 || got[0].RemoteAddress != "2001:db8::1" {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"msg=audit", "principal=user:alice", "outcome=denied", "remote=192.0.2.7", `principal="" org=""`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, s.log)
		}
	}
}

// Texts that callers choose are bounded, and never a reason to lose a record.
func TestAnyTextIsStored(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	bad := "a\x00b\xff" + strings.Repeat("x", 5000)
	s.Note(telemetry.WithRequestID(t.Context(), bad), bad, audit.Event{
		Caller: &caller.Caller{Kind: caller.User, ID: bad, Org: acme}, Procedure: bad, Action: bad, ResourceType: bad, ResourceID: bad,
		Outcome: flovyn.AuditAllowed, Reason: bad,
	})
	if got := s.records(t, flovyn.AuditFilter{Org: acme}, 10); len(got) != 1 || len(got[0].Reason) > 1024 || !strings.HasPrefix(got[0].Reason, "a\uFFFDb\uFFFD") {
		t.Errorf("%+v", got)
	}
}

// Pages are complete and without doubles, also where records are of one time.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const n = 2500 // more than a batch
	for i := range n {
		if i%700 == 0 {
			s.pass(time.Second)
		}
		e := event([]flovyn.AuditOutcome{flovyn.AuditAllowed, flovyn.AuditFailed}[i%2], &alice)
		e.ResourceID = strconv.Itoa(i)
		s.Note(t.Context(), "", e)
	}
	all := s.records(t, flovyn.AuditFilter{Org: acme}, 97)
	seen := map[string]bool{}
	for i, r := range all {
		seen[r.ResourceID] = true
		if i > 0 && r.At.After(all[i-1].At) {
			t.Fatal("the order is wrong")
		}
	}
	if len(all) != n || len(seen) != n {
		t.Errorf("%d records, %d different, want %d", len(all), len(seen), n)
	}
	if got := s.records(t, flovyn.AuditFilter{Org: acme, Outcome: flovyn.AuditFailed}, 500); len(got) != n/2 {
		t.Errorf("%d failed", len(got))
	}
	if got := s.records(t, flovyn.AuditFilter{Org: acme, Principal: "user:bob"}, 500); len(got) != 0 {
		t.Errorf("%d of nobody", len(got))
	}
	last := s.now
	if got := s.records(t, flovyn.AuditFilter{Org: acme, Since: last.Truncate(time.Microsecond)}, 500); len(got) != n-2100 {
		t.Errorf("%d since %v", len(got), last)
	}
	if got := s.records(t, flovyn.AuditFilter{Org: acme, Before: flovyn.AuditPlace{At: last.Truncate(time.Microsecond)}}, 500); len(got) != 2100 {
		t.Errorf("%d until %v", len(got), last)
	}
	if _, _, err := s.List(t.Context(), flovyn.AuditFilter{Org: acme}); err == nil {
		t.Error("a page of no size")
	}
}

// A flood of refusals from one address fills no table and hides no other
// address's refusals; changes are never held back; time heals.
func TestFloods(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for i := range 5000 {
		s.Note(t.Context(), fmt.Sprintf("192.0.2.1:%d", i), event(flovyn.AuditDenied, &alice))
	}
	s.Note(t.Context(), "192.0.2.2:1", event(flovyn.AuditDenied, &alice))
	for range 3000 {
		s.Note(t.Context(), "192.0.2.1:1", event(flovyn.AuditAllowed, &alice))
	}
	count := func(outcome flovyn.AuditOutcome) (of map[string]int) {
		of = map[string]int{}
		for _, r := range s.records(t, flovyn.AuditFilter{Org: acme, Outcome: outcome}, 1000) {
			of[r.RemoteAddress]++
		}
		return of
	}
	if diff := cmp.Diff(map[string]int{"192.0.2.1": 50, "192.0.2.2": 1}, count(flovyn.AuditDenied)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"192.0.2.1": 3000}, count(flovyn.AuditAllowed)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(s.log.String(), "records=4950") || strings.Count(s.log.String(), "msg=audit ") != 8001 {
		t.Error("the log does not have them all, or does not say how many are in it alone")
	}
	s.pass(10 * time.Second)
	for i := range 10_000 { // as many addresses
		s.Note(t.Context(), fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), event(flovyn.AuditDenied, &alice))
	}
	if of := count(flovyn.AuditDenied); len(of) < 900 || len(of) > 1100 {
		t.Errorf("refusals of %d addresses", len(of))
	}
}

// While the database is down nothing waits and nothing is lost up to a bound;
// at the end everything is written.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t)
	store, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.NewOn(t, srv), MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s := on(t, store)
	if err := srv.StopImmediate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const room = 20_000
	for range room + 5 {
		s.Note(t.Context(), "", event(flovyn.AuditAllowed, &alice))
	}
	if err := s.Close(t.Context()); err == nil || !strings.Contains(err.Error(), strconv.Itoa(room)+" audit records are in the log alone") {
		t.Errorf("%v", err)
	}
	if fault.Is(s.Flush(t.Context()), fault.Canceled) || !strings.Contains(s.log.String(), "records=5") {
		t.Error("it does not say that 5 records are in the log alone")
	}
}

// The part writes by itself, and Close what is left.
func TestWritesInTheBackground(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	part := s.Parts()[0]
	if err := part.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.Note(t.Context(), "", event(flovyn.AuditAllowed, &alice))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	before := flovyn.AuditFilter{Org: acme, Before: flovyn.AuditPlace{At: s.now.Add(time.Hour)}, Limit: 10}
	for {
		got, _, err := s.List(ctx, before)
		if err != nil {
			t.Fatalf("the record is not written in time: %v", err)
		}
		if len(got) == 1 {
			break
		}
	}
	part.Stop()
	s.Note(t.Context(), "", event(flovyn.AuditAllowed, &alice))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.List(ctx, before); err != nil || len(got) != 2 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

// What is older than the retention goes, in bounded batches, and a batch that is
// sent twice is stored once.
func TestRetention(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var old []flovyn.AuditRecord
	for range 25 {
		old = append(old, flovyn.AuditRecord{
			ID: flovyn.AuditID(flovyn.NewUUID()), At: s.now.Add(-100 * 24 * time.Hour), Org: acme, Outcome: flovyn.AuditAllowed,
		})
	}
	for range 2 {
		if err := s.store.WriteAudit(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
	s.Note(t.Context(), "", event(flovyn.AuditAllowed, &alice))
	if got := s.records(t, flovyn.AuditFilter{Org: acme}, 100); len(got) != 26 {
		t.Fatalf("%d records", len(got))
	}
	var batches []int
	for range 4 {
		n, err := s.store.DeleteAuditRecords(t.Context(), 90*24*time.Hour, 10)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, n)
	}
	if diff := cmp.Diff([]int{10, 10, 5, 0}, batches); diff != "" {
		t.Error(diff)
	}
	if got := s.records(t, flovyn.AuditFilter{Org: acme}, 100); len(got) != 1 {
		t.Errorf("%d records are left", len(got))
	}
}
