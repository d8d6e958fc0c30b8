package wake_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/wake"
)

// job is what the boards of the tests hand out.
type job struct {
	name, kind, worker string
}

// store is the table that a board claims from.
type store struct {
	mu       sync.Mutex
	backlog  []job
	returned []job
	claims   atomic.Int64
	// before is called ahead of each claim, without the lock.
	before func(ctx context.Context) error
	// after is called when a claim has taken its jobs, without the lock.
	after func()
}

func (s *store) add(jobs ...job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backlog = append(s.backlog, jobs...)
}

func (s *store) claim(ctx context.Context, _ wake.Key, kinds, workers []string) ([]job, error) {
	s.claims.Add(1)
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return nil, err
		}
	}
	taken := s.take(kinds, workers)
	if s.after != nil {
		s.after()
	}
	return taken, nil
}

func (s *store) take(kinds, workers []string) (taken []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backlog = slices.DeleteFunc(s.backlog, func(j job) bool {
		if len(taken) == len(workers) || kinds != nil && !slices.Contains(kinds, j.kind) {
			return false
		}
		j.worker = workers[len(taken)]
		taken = append(taken, j)
		return true
	})
	return taken
}

func (s *store) giveBack(_ context.Context, j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned = append(s.returned, j)
}

func (s *store) namesReturned() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.returned {
		names = append(names, j.name)
	}
	return names
}

func newBoard(t *testing.T, s *store) *wake.Board[job] {
	t.Helper()
	b := wake.NewBoard(wake.Source[job]{
		Claim: s.claim, Return: s.giveBack, Worker: func(j job) string { return j.worker },
	}, slog.New(slog.DiscardHandler))
	t.Cleanup(b.Close)
	return b
}

var key = wake.Key{Queue: "default"}

// poll waits in a goroutine of its own.
type poll struct {
	done chan struct{}
	job  job
	ok   bool
	took time.Duration
}

func begin(ctx context.Context, b *wake.Board[job], worker string, kinds []string, hold time.Duration) *poll {
	p := &poll{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(p.done)
		p.job, p.ok = b.Wait(ctx, key, wake.Poller{Worker: worker, Kinds: kinds}, hold)
		p.took = time.Since(began)
	}()
	return p
}

// inBubble runs a test on a clock of its own, so that holds take no time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

func TestHoldEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBoard(t, &store{})
		p := begin(t.Context(), b, "w", nil, time.Minute)
		none := begin(t.Context(), b, "w", []string{}, time.Minute)
		<-p.done
		<-none.done
		if p.ok || p.took != time.Minute || none.ok || none.took != time.Minute || b.Waiting() != 0 {
			t.Fatalf("%+v %+v", p, none)
		}
	})
}

func TestFirstComeFirstServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		b := newBoard(t, s)
		var polls []*poll
		for i := range 10 {
			polls = append(polls, begin(t.Context(), b, strconv.Itoa(i), nil, time.Hour))
			synctest.Wait()
		}
		for i, p := range polls {
			slot, ok := b.Reserve(key, "k")
			if !ok || slot.Worker != strconv.Itoa(i) {
				t.Fatalf("reserved %q, not %d", slot.Worker, i)
			}
			slot.Deliver(job{name: fmt.Sprint("job", i)})
			<-p.done
			if p.job.name != fmt.Sprint("job", i) {
				t.Fatalf("poller %d received %q", i, p.job.name)
			}
		}
		if _, ok := b.Reserve(key, "k"); ok {
			t.Fatal("nobody waits, somebody was reserved")
		}
		// From the backlog too.
		s.add(job{name: "a"}, job{name: "b"}, job{name: "c"})
		first, second := begin(t.Context(), b, "x", nil, time.Hour), begin(t.Context(), b, "y", nil, time.Hour)
		b.Wake(key)
		<-first.done
		<-second.done
		got := []string{first.job.name, second.job.name}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestKinds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		s.add(job{name: "listed", kind: "other"})
		b := newBoard(t, s)
		red := begin(t.Context(), b, "red", []string{"red"}, time.Hour)
		none := begin(t.Context(), b, "none", []string{}, time.Hour)
		synctest.Wait()
		if _, ok := b.Reserve(key, "blue"); ok {
			t.Fatal("a poller was reserved for a kind it does not take")
		}
		slot, ok := b.Reserve(key, "red")
		if !ok || slot.Worker != "red" {
			t.Fatal("the poller for the kind was not reserved")
		}
		slot.Release()
		s.add(job{name: "listed red", kind: "red"})
		b.Wake(key)
		<-red.done
		if red.job.name != "listed red" {
			t.Fatalf("received %q", red.job.name)
		}
		<-none.done
		if none.ok {
			t.Fatal("a poller for nothing received something")
		}
	})
}

// What is listed is older than what becomes runnable now.
func TestBacklogComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		gate := make(chan struct{})
		s.before = func(context.Context) error { <-gate; return nil }
		b := newBoard(t, s)
		s.add(job{name: "old"})
		p := begin(t.Context(), b, "w", nil, time.Hour)
		synctest.Wait() // the claim is under way
		if _, ok := b.Reserve(key, "k"); ok {
			t.Fatal("a poller was reserved while its claim is under way")
		}
		close(gate)
		<-p.done
		if p.job.name != "old" {
			t.Fatalf("received %q", p.job.name)
		}
		// A claim that was full says nothing about the rest of the backlog.
		s.before = func(context.Context) error { return errors.New("the database is away") }
		begin(t.Context(), b, "w2", nil, time.Hour)
		synctest.Wait()
		if _, ok := b.Reserve(key, "k"); ok {
			t.Fatal("a poller was reserved although older work may be listed")
		}
		s.before = nil
	})
}

// A wake-up during a claim, or while the only poller is reserved, is not lost.
func TestWakeIsNotLost(t *testing.T) {
	t.Run("during a claim", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			var b *wake.Board[job]
			s.after = func() {
				s.after = nil
				s.add(job{name: "just missed"})
				b.Wake(key)
			}
			b = newBoard(t, s)
			p := begin(t.Context(), b, "w", nil, time.Minute)
			<-p.done
			if p.job.name != "just missed" || p.took != 0 {
				t.Fatalf("%+v", p)
			}
		})
	})
	t.Run("while reserved", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			b := newBoard(t, s)
			p := begin(t.Context(), b, "w", nil, time.Minute)
			synctest.Wait()
			slot, ok := b.Reserve(key, "k")
			if !ok {
				t.Fatal("not reserved")
			}
			s.add(job{name: "listed meanwhile"})
			b.Wake(key)
			slot.Release() // what it was reserved for came to nothing
			<-p.done
			if p.job.name != "listed meanwhile" || p.took != 0 {
				t.Fatalf("%+v", p)
			}
		})
	})
	t.Run("after a failed claim", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			s.add(job{name: "there all the time"})
			s.before = func(context.Context) error {
				s.before = nil
				return errors.New("the database is away")
			}
			b := newBoard(t, s)
			p := begin(t.Context(), b, "w", nil, time.Minute)
			<-p.done
			if p.job.name != "there all the time" || p.took != time.Second {
				t.Fatalf("%+v", p)
			}
		})
	})
}

// A poll is never held longer than it asked, whatever its poller is reserved for.
func TestReservedBeyondTheHold(t *testing.T) {
	t.Run("released", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBoard(t, &store{})
			p := begin(t.Context(), b, "w", nil, time.Second)
			synctest.Wait()
			slot, _ := b.Reserve(key, "k")
			<-time.After(2 * time.Second)
			slot.Release()
			<-p.done
			if p.ok || p.took != 2*time.Second || b.Waiting() != 0 {
				t.Fatalf("%+v", p)
			}
		})
	})
	t.Run("delivered", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBoard(t, &store{})
			p := begin(t.Context(), b, "w", nil, time.Second)
			synctest.Wait()
			slot, _ := b.Reserve(key, "k")
			<-time.After(2 * time.Second)
			slot.Deliver(job{name: "late"})
			<-p.done
			if !p.ok || p.job.name != "late" {
				t.Fatalf("%+v", p)
			}
		})
	})
	t.Run("by a claim that brings nothing", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			s.after = func() { <-time.After(3 * time.Second) }
			b := newBoard(t, s)
			p := begin(t.Context(), b, "w", nil, 75*time.Millisecond)
			<-p.done
			if p.ok || p.took != 3*time.Second || b.Waiting() != 0 {
				t.Fatalf("%+v", p)
			}
		})
	})
}

// What is on its way to a poller that went away is given back exactly once.
func TestPollerGoesAway(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBoard(t, &store{})
			ctx, cancel := context.WithCancel(t.Context())
			p := begin(ctx, b, "w", nil, time.Hour)
			synctest.Wait()
			cancel()
			<-p.done
			if _, ok := b.Reserve(key, "k"); ok || p.ok || b.Waiting() != 0 {
				t.Fatal("a poller that went away was reserved")
			}
		})
	})
	t.Run("before the delivery", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			b := newBoard(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			p := begin(ctx, b, "w", nil, time.Hour)
			synctest.Wait()
			slot, _ := b.Reserve(key, "k")
			cancel()
			<-p.done
			slot.Deliver(job{name: "j"})
			b.Drain()
			if diff := cmp.Diff([]string{"j"}, s.namesReturned()); diff != "" || p.ok {
				t.Fatal(diff, p.ok)
			}
		})
	})
	t.Run("before the release", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			b := newBoard(t, &store{})
			ctx, cancel := context.WithCancel(t.Context())
			p := begin(ctx, b, "w", nil, time.Hour)
			synctest.Wait()
			slot, _ := b.Reserve(key, "k")
			cancel()
			<-p.done
			slot.Release()
			if b.Waiting() != 0 {
				t.Fatal("a poller that went away waits")
			}
		})
	})
	t.Run("during a claim", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := &store{}
			s.add(job{name: "j"}, job{name: "k"})
			ctx, cancel := context.WithCancel(t.Context())
			gate := make(chan struct{})
			s.after = func() { <-gate }
			b := newBoard(t, s)
			p := begin(ctx, b, "w", nil, time.Hour)
			synctest.Wait()
			cancel()
			<-p.done
			close(gate)
			b.Drain()
			if diff := cmp.Diff([]string{"j"}, s.namesReturned()); diff != "" || p.ok {
				t.Fatal(diff, p.ok)
			}
		})
	})
}

// Items reach the workers they were claimed for, also when some could not be had.
func TestItemsMatchWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		claimed := func(context.Context, wake.Key, []string, []string) ([]job, error) {
			return []job{{name: "for c", worker: "c"}, {name: "for b", worker: "b"}}, nil
		}
		calls := 0
		b := wake.NewBoard(wake.Source[job]{
			Claim: func(ctx context.Context, key wake.Key, kinds, workers []string) ([]job, error) {
				if calls++; len(workers) == 3 {
					return claimed(ctx, key, kinds, workers)
				}
				return nil, nil
			},
			Return: (&store{}).giveBack, Worker: func(j job) string { return j.worker },
		}, slog.New(slog.DiscardHandler))
		defer b.Close()
		var polls []*poll
		for _, w := range []string{"a", "b", "c"} {
			polls = append(polls, begin(t.Context(), b, w, nil, time.Minute))
			synctest.Wait()
		}
		b.Wake(key)
		for i, want := range []string{"", "for b", "for c"} {
			if <-polls[i].done; polls[i].job.name != want {
				t.Errorf("poller %d received %q, not %q", i, polls[i].job.name, want)
			}
		}
	})
}

func TestCloseSendsAllAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		b := newBoard(t, s)
		var polls []*poll
		for range 20 {
			polls = append(polls, begin(t.Context(), b, "w", nil, time.Hour))
		}
		nothing := begin(t.Context(), b, "w", []string{}, time.Hour)
		synctest.Wait()
		released, _ := b.Reserve(key, "k")
		delivered, _ := b.Reserve(key, "k")
		b.Close()
		released.Release()
		delivered.Deliver(job{name: "j"})
		served := 0
		for _, p := range append(polls, nothing) {
			if <-p.done; p.ok {
				served++
			}
			if p.took != 0 {
				t.Fatalf("held for %s", p.took)
			}
		}
		if served != 1 {
			t.Fatalf("%d polls were served", served)
		}
		if _, ok := b.Wait(t.Context(), key, wake.Poller{}, time.Hour); ok || b.Waiting() != 0 {
			t.Fatal("a closed board serves")
		}
		if _, ok := b.Reserve(key, "k"); ok {
			t.Fatal("a closed board reserves")
		}
		b.Wake(key)
		b.WakeAll()
	})
}

// A claim that has taken something is not interrupted: its items are handed over.
func TestCloseDuringAClaim(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		s.add(job{name: "j"})
		s.before = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
				return nil
			}
		}
		b := newBoard(t, s)
		p := begin(t.Context(), b, "w", nil, time.Hour)
		synctest.Wait()
		b.Close()
		<-p.done
		if p.job.name != "j" || len(s.namesReturned()) != 0 {
			t.Fatalf("received %q, returned %v", p.job.name, s.namesReturned())
		}
	})
}

// Pollers that come back again and again to a drained queue cost no claims.
func TestIdlePollersClaimNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &store{}
		b := newBoard(t, s)
		var pollers sync.WaitGroup
		for i := range 1000 {
			pollers.Go(func() {
				for range 50 {
					b.Wait(t.Context(), key, wake.Poller{Worker: strconv.Itoa(i)}, 75*time.Millisecond)
				}
			})
		}
		pollers.Wait()
		// Those that come during the first claim may need one each batch.
		if n := s.claims.Load(); n > 20 {
			t.Fatalf("%d claims for 50,000 polls of an empty queue", n)
		}
		before := s.claims.Load()
		begin(t.Context(), b, "w", nil, time.Second)
		synctest.Wait()
		b.Wake(key)
		synctest.Wait()
		if n := s.claims.Load() - before; n != 1 {
			t.Fatalf("%d claims after one wake-up", n)
		}
	})
}

// TestStress has producers, impatient pollers and failing commits at once: every
// job is received or given back, exactly once.
func TestStress(t *testing.T) {
	t.Parallel()
	const jobs, pollers = 4000, 40
	s := &store{}
	b := newBoard(t, s)
	var mu sync.Mutex
	seen := map[string]int{}
	count := func(j job) {
		mu.Lock()
		defer mu.Unlock()
		seen[j.name]++
	}
	received := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var polling, producing sync.WaitGroup
	for i := range pollers {
		polling.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			kinds := [][]string{nil, {"a"}, {"b"}, {"a", "b"}}[i%4]
			for ctx.Err() == nil {
				patience, stop := context.WithTimeout(ctx, time.Duration(random.IntN(3000))*time.Microsecond)
				j, ok := b.Wait(patience, key, wake.Poller{Worker: strconv.Itoa(i), Kinds: kinds}, time.Duration(random.IntN(2000))*time.Microsecond)
				stop()
				if ok {
					count(j)
				}
			}
		})
	}
	for p := range 4 {
		producing.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(p)))
			for i := range jobs / 4 {
				j := job{name: fmt.Sprint(p, "/", i), kind: []string{"a", "b"}[random.IntN(2)]}
				slot, ok := b.Reserve(key, j.kind)
				switch {
				case ok && random.IntN(3) > 0:
					slot.Deliver(j)
				case ok:
					slot.Release()
					fallthrough
				default:
					s.add(j)
					b.Wake(key)
				}
			}
		})
	}
	producing.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for received() < jobs && time.Now().Before(deadline) {
		b.Drain()
		s.mu.Lock()
		back := s.returned
		s.returned = nil
		s.mu.Unlock()
		for _, j := range back { // as the engine does: runnable again
			s.add(j)
			b.Wake(key)
		}
	}
	cancel()
	polling.Wait()
	for name, n := range seen {
		if n != 1 {
			t.Errorf("job %s was received %d times", name, n)
		}
	}
	if len(seen) != jobs {
		t.Errorf("%d of %d jobs were received", len(seen), jobs)
	}
}
