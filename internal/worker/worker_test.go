package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/worker"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func setUp(t *testing.T) (*worker.Registry, flovyn.OrgID) {
	t.Helper()
	t.Parallel()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return worker.New(worker.Config{Store: s}), flovyn.OrgID(uuid.New())
}

func register(t *testing.T, r *worker.Registry, org flovyn.OrgID, kinds ...string) flovyn.WorkerID {
	t.Helper()
	reg := &flovyn.Registration{Org: org, Name: "w", ProcessID: "1"}
	for _, k := range kinds {
		reg.Capabilities = append(reg.Capabilities, flovyn.Capability{Class: flovyn.ClassWorkflow, Kind: k})
	}
	id, err := r.Register(context.WithoutCancel(t.Context()), reg, "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func poll(t *testing.T, r *worker.Registry, req worker.PollRequest) worker.Poll {
	t.Helper()
	p, end, err := r.BeginPoll(context.WithoutCancel(t.Context()), req)
	if err != nil {
		t.Error(err)
		return p
	}
	end()
	return p
}

func TestRouting(t *testing.T) {
	r, org := setUp(t)
	req := worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassWorkflow}
	if p := poll(t, r, req); p.Poller.Kinds != nil {
		t.Fatalf("an unknown worker is restricted to %v", p.Poller.Kinds)
	}
	id := register(t, r, org, "a", "b")
	if again := register(t, r, org, "a", "b"); again != id || id.UUID() == uuid.Nil {
		t.Fatalf("ids %s and %s", id, again)
	}
	for _, name := range []string{"w", id.String()} {
		req.Worker = name
		if diff := cmp.Diff([]string{"a", "b"}, poll(t, r, req).Poller.Kinds); diff != "" {
			t.Fatal(diff)
		}
	}
	tasks := req
	tasks.Class = flovyn.ClassTask
	if kinds := poll(t, r, tasks).Poller.Kinds; kinds == nil || len(kinds) != 0 {
		t.Fatalf("a worker without tasks takes %v", kinds)
	}
	own := req
	own.Kinds = []string{"c"}
	if diff := cmp.Diff([]string{"c"}, poll(t, r, own).Poller.Kinds); diff != "" {
		t.Fatal(diff)
	}
	foreign := req
	foreign.Org = flovyn.OrgID(uuid.New())
	if p := poll(t, r, foreign); p.Poller.Kinds != nil {
		t.Fatalf("%v of another organization", p.Poller.Kinds)
	}
	if err := r.Heartbeat(t.Context(), org, id); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		r.Heartbeat(t.Context(), org, flovyn.WorkerID(uuid.New())), r.Heartbeat(t.Context(), foreign.Org, id),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Fatalf("%v", err)
		}
	}
}

// A poll that reads a worker while it registers does not make the old kinds last.
func TestRegistrationIsNotForgotten(t *testing.T) {
	r, org := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	var pollers sync.WaitGroup
	for range 6 {
		pollers.Go(func() {
			for ctx.Err() == nil {
				poll(t, r, worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassWorkflow})
			}
		})
	}
	for i := range 40 {
		kind := fmt.Sprint("kind", i)
		register(t, r, org, kind)
		for range 10 {
			if diff := cmp.Diff([]string{kind}, poll(t, r, worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassWorkflow}).Poller.Kinds); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	cancel()
	pollers.Wait()
}

func TestHolds(t *testing.T) {
	r, org := setUp(t)
	hold := func(peer string, timeout time.Duration) time.Duration {
		return poll(t, r, worker.PollRequest{Org: org, Worker: "w", Peer: peer, Class: flovyn.ClassTask, Timeout: timeout}).Hold
	}
	for timeout, want := range map[time.Duration]time.Duration{
		0: 75 * time.Millisecond, 30 * time.Second: 75 * time.Millisecond, time.Minute: time.Minute, time.Hour: time.Minute,
		-time.Second: 75 * time.Millisecond,
	} {
		if got := hold("one at a time", timeout); got != want {
			t.Errorf("a poll for %s is held %s", timeout, got)
		}
	}
	// A connection with two polls at once has threads to spare.
	_, end, err := r.BeginPoll(t.Context(), worker.PollRequest{Org: org, Worker: "w", Peer: "p", Class: flovyn.ClassWorkflow, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if got := hold("p", 30*time.Second); got != 5*time.Second {
		t.Errorf("an overlapping poll is held %s", got)
	}
	end()
	if got := hold("p", time.Second); got != time.Second {
		t.Errorf("the next poll of the connection is held %s", got)
	}
	if got := hold("another", 30*time.Second); got != 75*time.Millisecond {
		t.Errorf("a poll of another connection is held %s", got)
	}
}

// Through a proxy one connection may carry the polls of several processes.
func TestHoldsThroughAProxy(t *testing.T) {
	r, org := setUp(t)
	req := worker.PollRequest{Org: org, Worker: "w", Class: flovyn.ClassTask, Timeout: 30 * time.Second}
	for range 3 {
		p, end, err := r.BeginPoll(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		if p.Hold != 75*time.Millisecond {
			t.Errorf("a poll of an unknown connection is held %s", p.Hold)
		}
	}
}

func TestSilence(t *testing.T) {
	r, org := setUp(t)
	if d, err := r.SilentSince(t.Context(), org, "never seen"); err != nil || d < time.Hour {
		t.Fatalf("%s, %v", d, err)
	}
	poll(t, r, worker.PollRequest{Org: org, Worker: "unregistered"})
	if d, err := r.SilentSince(t.Context(), org, "unregistered"); err != nil || d > time.Minute {
		t.Fatalf("%s, %v", d, err)
	}
	register(t, r, org, "k")
	poll(t, r, worker.PollRequest{Org: org, Worker: "w"})
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := r.SilentSince(t.Context(), org, "w"); err != nil || d > time.Minute {
		t.Fatalf("%s, %v", d, err)
	}
}
