package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/loop"
)

const (
	// refreshEvery, and up to refreshJitter more, is how often keys are fetched
	// when nothing happens.
	refreshEvery  = 55 * time.Minute
	refreshJitter = 10 * time.Minute
	// cooldown is the least time between two fetches, whatever tokens claim:
	// whoever makes up the ids of keys must not make the server attack its
	// provider.
	cooldown = 30 * time.Second
	// maxAge is how long keys are used that could not be fetched again.
	maxAge = 24 * time.Hour
	// patience is how long a token waits for a fetch.
	patience = fetchTimeout + time.Second
)

// errNotFetched is why a token cannot be judged.
var errNotFetched = errors.New("the identity provider's keys are not at hand")

// store has the keys of a provider.
//
// One loop fetches them: when it starts, then about every hour, and 30 seconds
// after a failure. A token with an unknown key nudges it, because providers
// change their keys without notice; that too at most every 30 seconds, and all
// tokens that come meanwhile wait for the same fetch. What was fetched last is
// used for up to a day if nothing better can be had.
type store struct {
	*loop.Loop
	source *source
	log    *slog.Logger
	now    func() time.Time

	set atomic.Pointer[keySet]

	mu sync.Mutex
	// attempted is when the last fetch ended, and failed how.
	attempted time.Time
	failed    error
	// fetching is set while a fetch is under way or asked for; done is closed when
	// the next one ends.
	fetching bool
	done     chan struct{}
	running  bool
}

// newStore makes a store that fetches nothing before it is started.
func newStore(name, url string, log *slog.Logger) (*store, error) {
	source, err := newSource(url)
	if err != nil {
		return nil, err
	}
	s := &store{source: source, log: log, now: time.Now, done: make(chan struct{})}
	s.Loop = loop.New(name, refreshEvery, refreshJitter, s.refresh, log)
	return s, nil
}

// Start begins to fetch, and does not wait for it: a server starts also when its
// provider is down.
func (s *store) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Loop.Start(ctx); err != nil {
		return err
	}
	s.running, s.fetching = true, s.attempted.IsZero() // who comes early waits for the first
	return nil
}

// Stop ends a fetch that is under way. The keys stay.
func (s *store) Stop() {
	s.Loop.Stop()
	s.source.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.fetching = false, false
	s.release()
}

// current returns the keys, or nil when there are none that can be trusted.
func (s *store) current(now time.Time) *keySet {
	set := s.set.Load()
	if set == nil || now.Sub(set.fetched) > maxAge {
		return nil
	}
	return set
}

// find returns a key, and the generation of its set. When it is unknown, the
// keys are fetched again if that may be, and the call waits. A failure of kind
// fault.Unavailable says that the provider could not be asked.
func (s *store) find(ctx context.Context, name keyName, now time.Time) (key any, generation uint64, err error) {
	if key, generation, ok := s.lookup(name, now); ok {
		return key, generation, nil
	}
	if err := s.awaitFetch(ctx, now); err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "the identity provider cannot be asked")
	}
	if key, generation, ok := s.lookup(name, now); ok {
		return key, generation, nil
	}
	if err := s.lastFailure(); err != nil {
		return nil, 0, fault.Wrap(fault.Unavailable, err, "the identity provider cannot be asked")
	}
	return nil, 0, fmt.Errorf("the provider publishes no key %s", name)
}

func (s *store) lookup(name keyName, now time.Time) (key any, generation uint64, ok bool) {
	set := s.current(now)
	if set == nil {
		return nil, 0, false
	}
	key, ok = set.keys[name]
	return key, set.generation, ok
}

// awaitFetch returns when a fetch has ended that began or was asked for now, at
// once when there was one just before.
func (s *store) awaitFetch(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return errNotFetched
	}
	if !s.fetching && now.Sub(s.attempted) < cooldown {
		s.mu.Unlock()
		return nil
	}
	if !s.fetching {
		s.fetching = true
		s.Nudge()
	}
	done := s.done
	s.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNotFetched
	}
}

// lastFailure says why it cannot be known whether a key exists: nil when the
// keys at hand are the latest.
func (s *store) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return s.failed
	case s.set.Load() == nil:
		return errNotFetched
	default:
		return nil
	}
}

// refresh is what the loop does. It returns no error: when to try again is its
// own business, not the loop's.
func (s *store) refresh(ctx context.Context) error {
	if !s.begin() {
		return nil
	}
	set, unusable, err := s.fetch(ctx)
	now := s.now()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.log.WarnContext(ctx, "the identity provider's keys cannot be fetched", "error", err,
			"without_keys", s.current(now) == nil, "retry_in", cooldown)
		s.RunAt(now.Add(cooldown))
	} else {
		s.replace(ctx, set, unusable, now)
	}
	s.attempted, s.failed = now, err
	s.release()
	return nil
}

// begin reports whether the keys are to be fetched now. They are not right after
// a fetch: a nudge may have come when that was about to begin, and a store may
// be stopped and started.
func (s *store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	early := !s.attempted.IsZero() && s.now().Sub(s.attempted) < cooldown
	if !early {
		s.fetching = true
		return true
	}
	if s.failed != nil {
		s.RunAt(s.attempted.Add(cooldown))
	}
	s.release()
	return false
}

func (s *store) fetch(ctx context.Context) (*keySet, []error, error) {
	document, err := s.source.fetch(ctx)
	if err != nil {
		return nil, nil, err
	}
	return readKeys(document)
}

// replace makes a set the current one. Called with the lock held.
func (s *store) replace(ctx context.Context, set *keySet, unusable []error, now time.Time) {
	set.fetched = now
	previous := s.set.Load()
	if previous != nil {
		set.generation = previous.generation
	}
	if previous == nil || previous.digest != set.digest {
		set.generation++
		s.log.InfoContext(ctx, "the identity provider published keys", "usable", len(set.keys))
		for _, err := range unusable {
			s.log.WarnContext(ctx, "a key of the identity provider cannot be used", "error", err)
		}
	}
	s.set.Store(set)
}

// release lets go who waits for a fetch. Called with the lock held.
func (s *store) release() {
	s.fetching = false
	close(s.done)
	s.done = make(chan struct{})
}
