// Package loop is the one skeleton of everything that runs in the background.
//
// A Loop calls a function at once when it starts, and then again and again: after
// its interval, or earlier when it is nudged or when a deadline comes that the
// function itself found.
//
//	l := loop.New("schedules", time.Minute, 5*time.Second, func(ctx context.Context) error {
//		next, err := fireDueSchedules(ctx)
//		l.RunAt(next)
//		return err
//	}, logger)
//
// The interval is what makes a loop correct: the truth is in the database, other
// replicas change it, and a nudge that was lost costs one interval and nothing
// else. Nudges and deadlines only make it quick. The jitter, a random addition to
// each interval, keeps replicas that started together from running together.
//
// A loop survives its function. An error is logged and the function runs again
// after a pause, which doubles with every further failure up to the interval;
// nudges wait for the end of that pause, so that a database that is down is not
// asked a thousand times a second. A panic is an error with a stack.
//
// Stop cancels the function's context and returns when the function has. A Group
// starts parts in order and stops them in reverse.
package loop

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// firstPause is how long a loop waits after a first failure, unless its interval
// is shorter.
const firstPause = 100 * time.Millisecond

// Loop runs a function in the background. Its methods may be called from
// anywhere at any time, except that the function must not stop its own loop.
type Loop struct {
	name             string
	interval, jitter time.Duration
	runOnce          func(context.Context) error
	logger           *slog.Logger

	// wake is sent to, without waiting, when due has become earlier.
	wake chan struct{}

	dueMu sync.Mutex
	// due is when to run again at the latest; zero means after the interval.
	due time.Time

	runMu  sync.Mutex // guards the fields of the present run
	cancel context.CancelFunc
	// started is closed by the run, and made anew when the run ends.
	started, done chan struct{}
}

// New makes a loop that calls runOnce every interval, and up to jitter later. The
// name is what the log calls it.
func New(name string, interval, jitter time.Duration, runOnce func(ctx context.Context) error, logger *slog.Logger) *Loop {
	return &Loop{
		name: name, interval: interval, jitter: max(jitter, 0), runOnce: runOnce,
		logger: logger.With("loop", name),
		wake:   make(chan struct{}, 1), started: make(chan struct{}),
	}
}

// Name returns the name given to New.
func (l *Loop) Name() string { return l.name }

// Start begins to run the function, until ctx ends or Stop is called. It fails if
// the interval is not positive, or if the loop was started before; after Stop it
// may be started again.
func (l *Loop) Start(ctx context.Context) error {
	if l.interval <= 0 {
		return fmt.Errorf("loop %s: the interval %v is not positive", l.name, l.interval)
	}
	l.runMu.Lock()
	defer l.runMu.Unlock()
	if l.cancel != nil {
		return fmt.Errorf("loop %s is running already", l.name)
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.done = make(chan struct{})
	go l.run(ctx, l.started, l.done)
	return nil
}

// Started returns a channel that is closed as soon as the loop runs.
func (l *Loop) Started() <-chan struct{} {
	l.runMu.Lock()
	defer l.runMu.Unlock()
	return l.started
}

// Stop cancels the function and returns when it has returned. Stopping a loop
// that does not run does nothing.
func (l *Loop) Stop() {
	l.runMu.Lock()
	cancel, done := l.cancel, l.done
	l.runMu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	<-done
	l.runMu.Lock()
	defer l.runMu.Unlock()
	// Of several stops the first one back clears up; by the time the others look,
	// the next run may have begun.
	if l.done == done {
		l.cancel, l.done, l.started = nil, nil, make(chan struct{})
	}
}

// Nudge makes the function run now, or once more if it is running. Many nudges
// before that are one.
func (l *Loop) Nudge() { l.RunAt(time.Now()) }

// RunAt makes the function run at the given time at the latest. An earlier time
// given before stays; the zero time means nothing. The function says by it when
// it has work again.
func (l *Loop) RunAt(t time.Time) {
	if t.IsZero() {
		return
	}
	l.dueMu.Lock()
	defer l.dueMu.Unlock()
	if !l.due.IsZero() && !t.Before(l.due) {
		return
	}
	l.due = t
	select {
	case l.wake <- struct{}{}:
	default: // the loop has not yet looked at the previous change
	}
}

func (l *Loop) run(ctx context.Context, started, done chan struct{}) {
	defer close(done)
	close(started)
	failures := 0
	for ctx.Err() == nil {
		l.takeDue(time.Now())
		err := l.guarded(ctx)
		switch {
		case err == nil:
			failures = 0
			l.await(ctx, time.Now().Add(l.interval+random(l.jitter)))
		case ctx.Err() != nil: // the error is that of being stopped
		default:
			failures++
			pause := l.pause(failures)
			l.logger.ErrorContext(ctx, "background work failed", "error", err, "failures", failures, "retry_in", pause)
			sleep(ctx, pause)
		}
	}
}

// guarded calls the function and makes an error of a panic.
func (l *Loop) guarded(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return l.runOnce(ctx)
}

// pause is the time to wait after so many failures in a row.
func (l *Loop) pause(failures int) time.Duration {
	p := firstPause
	for i := 1; i < failures && p < l.interval; i++ {
		p *= 2
	}
	return min(p, l.interval) + random(min(p, l.jitter))
}

// takeDue forgets a due time that the run about to begin will serve. One that
// lies ahead stays: whoever set it does not know of this run.
func (l *Loop) takeDue(now time.Time) {
	l.dueMu.Lock()
	defer l.dueMu.Unlock()
	if !l.due.After(now) {
		l.due = time.Time{}
	}
}

// await returns when ctx ends, at the given time, or earlier when work is due.
func (l *Loop) await(ctx context.Context, end time.Time) {
	for ctx.Err() == nil {
		next := end
		l.dueMu.Lock()
		if !l.due.IsZero() && l.due.Before(end) {
			next = l.due
		}
		l.dueMu.Unlock()
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			return
		case <-l.wake: // look again at what is due
			timer.Stop()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// random returns a duration from zero up to limit.
func random(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}
