package worker_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// process registers and polls as a process would.
type process struct{ host, id, address, kind string }

// What a worker can execute is what its processes registered that are believed
// to live. Each case is two processes, the second of which registers some time
// after the first.
func TestProcesses(t *testing.T) {
	t.Parallel()
	first := process{"host", "1", "10.0.0.1:1", "old"}
	for name, test := range map[string]struct {
		second process
		age    time.Duration
		polls  bool
		want   []string
	}{
		"started together":         {process{"host", "2", "10.0.0.1:2", "new"}, time.Minute, false, []string{"new", "old"}},
		"replaced on its host":     {process{"host", "2", "10.0.0.1:2", "new"}, 6 * time.Minute, false, []string{"new"}},
		"polling on its host":      {process{"host", "2", "10.0.0.1:2", "new"}, 25 * time.Hour, true, []string{"new", "old"}},
		"on another host":          {process{"host-2", "1", "10.0.0.2:1", "new"}, 23 * time.Hour, false, []string{"new", "old"}},
		"on another host, long":    {process{"host-2", "1", "10.0.0.2:1", "new"}, 25 * time.Hour, false, []string{"new"}},
		"on another host, polling": {process{"host-2", "1", "10.0.0.2:1", "new"}, 25 * time.Hour, true, []string{"new", "old"}},
		"the same process":         {process{"host", "1", "10.0.0.1:3", "new"}, time.Second, true, []string{"new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, dsn := open(t)
			org := flovyn.OrgID(uuid.New())
			registerProcess(t, r, org, first)
			if test.polls {
				poll(t, r, worker.PollRequest{Org: org, Worker: "w", Peer: first.address, Class: flovyn.ClassTask})
			}
			execute(t, dsn, "UPDATE worker_capability SET registered_at = registered_at - $1::interval", test.age)
			registerProcess(t, r, org, test.second)
			got := poll(t, r, worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassTask}).Poller.Kinds
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Hosts that say no name are not one host.
func TestProcessesWithoutHost(t *testing.T) {
	t.Parallel()
	r, dsn := open(t)
	org := flovyn.OrgID(uuid.New())
	registerProcess(t, r, org, process{id: "1", kind: "a"})
	execute(t, dsn, "UPDATE worker_capability SET registered_at = registered_at - interval '1 hour'")
	registerProcess(t, r, org, process{id: "2", kind: "b"})
	got := poll(t, r, worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassTask}).Poller.Kinds
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

// A sign of life that could not be written is written the next time.
func TestFlushAfterAFailure(t *testing.T) {
	t.Parallel()
	r, dsn := open(t)
	org := flovyn.OrgID(uuid.New())
	registerProcess(t, r, org, process{kind: "k"})
	poll(t, r, worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassTask})
	execute(t, dsn, "UPDATE worker SET last_seen_at = now() - interval '1 hour'")
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := r.Flush(gone); err == nil {
		t.Fatal("nothing failed")
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	other := worker.New(worker.Config{Store: elsewhere})
	if silence, err := other.SilentSince(t.Context(), org, "w"); err != nil || silence > time.Minute {
		t.Errorf("silent for %s, %v", silence, err)
	}
}

// Servers that write the same signs of life at the same time never block each
// other for good, in whatever order they list them.
func TestServersFlushAtTheSameTime(t *testing.T) {
	t.Parallel()
	r, dsn := open(t)
	org := flovyn.OrgID(uuid.New())
	var ids []flovyn.WorkerID
	for i := range 100 {
		id, err := r.Register(t.Context(), &flovyn.Registration{Org: org, Name: strconv.Itoa(i)}, "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	s, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	var servers sync.WaitGroup
	for range 4 {
		servers.Go(func() {
			for range 50 {
				seen := map[flovyn.WorkerID]time.Duration{}
				for _, id := range ids {
					seen[id] = 0
				}
				if err := s.WorkersSeen(t.Context(), seen); err != nil {
					t.Error(err)
				}
			}
		})
	}
	servers.Wait()
	if silence, err := s.WorkerSilence(t.Context(), org, "7"); err != nil || silence > time.Since(begin) {
		t.Errorf("silent for %s, %v", silence, err)
	}
}

// Signs of life are told as ages and kept by the database's clock: a server whose
// own clock is wrong takes no living worker for a silent one.
func TestSignsOfLifeKnowNoServersClock(t *testing.T) {
	t.Parallel()
	r, dsn := open(t)
	org := flovyn.OrgID(uuid.New())
	id, err := r.Register(t.Context(), &flovyn.Registration{Org: org, Name: "w"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	execute(t, dsn, "UPDATE worker SET last_seen_at = clock_timestamp() - interval '5 hours'")
	for _, seen := range []struct{ age, atLeast, atMost time.Duration }{
		{3 * time.Hour, 3 * time.Hour, 4 * time.Hour},
		{time.Hour, time.Hour, 2 * time.Hour},
		{6 * time.Hour, time.Hour, 2 * time.Hour}, // older than what is known
	} {
		if err := s.WorkersSeen(t.Context(), map[flovyn.WorkerID]time.Duration{id: seen.age}); err != nil {
			t.Fatal(err)
		}
		silence, err := s.WorkerSilence(t.Context(), org, "w")
		if err != nil || silence < seen.atLeast || silence > seen.atMost {
			t.Errorf("seen %v ago, silent for %v, %v", seen.age, silence, err)
		}
	}
}

func open(t *testing.T) (r *worker.Registry, dsn string) {
	t.Helper()
	dsn = pgtest.New(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return worker.New(worker.Config{Store: s}), dsn
}

func registerProcess(t *testing.T, r *worker.Registry, org flovyn.OrgID, p process) {
	t.Helper()
	_, err := r.Register(t.Context(), &flovyn.Registration{
		Org: org, Name: "w", HostName: p.host, ProcessID: p.id,
		Capabilities: []flovyn.Capability{{Class: flovyn.ClassTask, Kind: p.kind}},
	}, p.address)
	if err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, dsn, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
