package loop_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// diary notes when the function of a loop ran, counted from the diary's making.
type diary struct {
	mu    sync.Mutex
	begin time.Time
	at    []time.Duration
}

func newDiary() *diary { return &diary{begin: time.Now()} }

func (d *diary) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Since(d.begin))
}

func (d *diary) want(t *testing.T, want ...time.Duration) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.at); diff != "" {
		t.Errorf("the function ran at other times (-want +got):\n%s", diff)
	}
}

// pass lets time go by on the fake clock of a bubble.
func pass(d time.Duration) { <-time.After(d) }

func start(t *testing.T, p loop.Part) {
	t.Helper()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRunsAtOnceAndEveryInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		start(t, l)
		pass(150 * time.Second)
		l.Stop()
		pass(time.Hour)
		d.want(t, 0, time.Minute, 2*time.Minute)
	})
}

func TestIntervalIsCountedFromTheEndOfARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error {
			d.note()
			pass(90 * time.Second)
			return nil
		}, quiet)
		start(t, l)
		pass(3 * time.Minute)
		l.Stop()
		d.want(t, 0, 150*time.Second)
	})
}

func TestJitterOnlyAdds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 10*time.Second, func(context.Context) error { d.note(); return nil }, quiet)
		start(t, l)
		pass(time.Hour)
		l.Stop()
		var distinct int
		for i := 1; i < len(d.at); i++ {
			gap := d.at[i] - d.at[i-1]
			if gap < time.Minute || gap >= 70*time.Second {
				t.Errorf("a gap of %v", gap)
			}
			if gap != time.Minute {
				distinct++
			}
		}
		if distinct == 0 || d.at[0] != 0 {
			t.Errorf("no jitter, or on the first run: %v", d.at)
		}
	})
}

func TestNudge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); pass(time.Second); return nil }, quiet)
		start(t, l)
		pass(10 * time.Second)
		for range 100 {
			l.Nudge()
		}
		pass(500 * time.Millisecond) // the function is running
		l.Nudge()
		l.Nudge()
		pass(69 * time.Second)
		l.Stop()
		// The nudges at 10s are one run, those during it are one more, and the
		// interval goes on from there.
		d.want(t, 0, 10*time.Second, 11*time.Second, 72*time.Second)
	})
}

func TestNudgeBeforeStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		l.Nudge()
		start(t, l)
		pass(time.Second)
		l.Stop()
		d.want(t, 0) // the first run serves it
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		var l *loop.Loop
		l = loop.New("test", time.Minute, 0, func(context.Context) error {
			d.note()
			switch len(d.at) {
			case 1:
				l.RunAt(time.Now().Add(20 * time.Second))
				l.RunAt(time.Now().Add(5 * time.Second))
				l.RunAt(time.Now().Add(30 * time.Second)) // later than what is known
				l.RunAt(time.Time{})
			case 2:
				l.RunAt(time.Now().Add(2 * time.Minute)) // later than the interval
			case 3:
				l.RunAt(time.Now().Add(-time.Second))
			}
			return nil
		}, quiet)
		start(t, l)
		pass(70 * time.Second)
		l.Stop()
		d.want(t, 0, 5*time.Second, 65*time.Second, 65*time.Second)
	})
}

func TestDeadlineFromOutsideOutlivesARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		start(t, l)
		pass(10 * time.Second)
		l.RunAt(d.begin.Add(70 * time.Second))
		pass(65 * time.Second)
		l.Stop()
		d.want(t, 0, 60*time.Second, 70*time.Second)
	})
}

func TestFailuresAreLoggedAndRetriedWithRisingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		var log bytes.Buffer
		var l *loop.Loop
		l = loop.New("reaper", time.Second, 0, func(context.Context) error {
			d.note()
			l.Nudge() // must not make a failing loop spin
			switch len(d.at) {
			case 3:
				panic("boom")
			case 7, 8:
				return nil
			}
			return errors.New("database is down")
		}, slog.New(slog.NewTextHandler(&log, nil)))
		start(t, l)
		pass(3650 * time.Millisecond)
		l.Stop()
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		d.want(t, 0, ms(100), ms(300), ms(700), ms(1500), ms(2500), ms(3500), ms(3500), ms(3500), ms(3600))
		for _, want := range []string{"loop=reaper", "database is down", "panic: boom", "loop_test.go", "failures=6"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

func TestStopCancelsAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		returned := false
		l := loop.New("test", time.Minute, 0, func(ctx context.Context) error {
			<-ctx.Done()
			pass(5 * time.Second) // finishing what it was doing
			returned = true
			return ctx.Err()
		}, slog.New(slog.NewTextHandler(&log, nil)))
		l.Stop() // not running
		start(t, l)
		<-l.Started()
		l.Stop()
		if !returned {
			t.Error("Stop came back before the function")
		}
		l.Stop()
		if log.Len() > 0 {
			t.Errorf("being stopped was logged as a failure: %s", log.String())
		}
	})
}

func TestStopEndsAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := loop.New("test", time.Hour, 0, func(context.Context) error { return errors.New("failing") }, quiet)
		start(t, l)
		pass(30 * time.Minute)
		before := time.Now()
		l.Stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("Stop took %v", d)
		}
	})
}

func TestStartTwiceAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		start(t, l)
		if err := l.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "loop test") {
			t.Errorf("a second start gives %v", err)
		}
		synctest.Wait()
		l.Stop()
		select {
		case <-l.Started():
			t.Error("Started is closed after Stop")
		default:
		}
		pass(time.Second)
		start(t, l)
		synctest.Wait()
		l.Stop()
		d.want(t, 0, time.Second)
	})
}

func TestIntervalHasToBePositive(t *testing.T) {
	t.Parallel()
	l := loop.New("test", 0, 0, func(context.Context) error { return nil }, quiet)
	if err := l.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "not positive") {
		t.Errorf("got %v", err)
	}
	l.Stop()
}

func TestEndOfContextStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		l := loop.New("test", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		if err := l.Start(ctx); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		cancel()
		pass(time.Hour)
		l.Stop()
		d.want(t, 0)
	})
}

// TestStress starts, stops and nudges one loop from all sides: there must never be
// two runs at once, nor a run after the last Stop.
func TestStress(t *testing.T) {
	t.Parallel()
	var running, runs atomic.Int32
	l := loop.New("test", time.Microsecond, time.Microsecond, func(context.Context) error {
		if running.Add(1) != 1 {
			t.Error("two runs at once")
		}
		runs.Add(1)
		running.Add(-1)
		return nil
	}, quiet)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if l.Start(t.Context()) == nil {
					<-l.Started()
				}
				l.Nudge()
				l.RunAt(time.Now().Add(time.Microsecond))
				l.Stop()
			}
		})
	}
	wg.Wait()
	l.Stop()
	after := runs.Load()
	if after == 0 {
		t.Error("it never ran")
	}
	l.Nudge()
	if runs.Load() != after {
		t.Error("it ran after Stop")
	}
}
