// Package quota bounds what one organization, or any other key, may take of a
// server: how much at once (Gauge), and how much per second (Rate). Both count
// what this process sees; several servers together allow as many times that much.
package quota

import (
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Gauge bounds how many of a key are there at once. Methods are safe for
// concurrent use.
type Gauge[K comparable] struct {
	limit int
	mu    sync.Mutex
	there map[K]int
}

// NewGauge makes a gauge that lets limit in of each key.
func NewGauge[K comparable](limit int) *Gauge[K] { return &Gauge[K]{limit: limit, there: map[K]int{}} }

// Enter lets one in, until it calls leave once. ok is false when there are as
// many as may be.
func (g *Gauge[K]) Enter(key K) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.there[key] >= g.limit {
		return nil, false
	}
	g.there[key]++
	return func() { g.leave(key) }, true
}

func (g *Gauge[K]) leave(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.there[key]--; g.there[key] == 0 {
		delete(g.there, key)
	}
}

// maxKeys bounds how many buckets are kept. A forgotten one was full, or nearly:
// it has not been used while that many others were.
const maxKeys = 10_000

// Rate bounds how many of a key come per second, by a bucket of tokens for each.
// Methods are safe for concurrent use.
type Rate[K comparable] struct {
	perSecond rate.Limit
	burst     int
	mu        sync.Mutex
	buckets   *lru.Cache[K, *rate.Limiter]
}

// NewRate allows perSecond of each key, and up to burst at once. Both must be
// positive.
func NewRate[K comparable](perSecond, burst int) (*Rate[K], error) {
	buckets, err := lru.New[K, *rate.Limiter](maxKeys)
	if err != nil {
		return nil, fmt.Errorf("keeping rates: %w", err)
	}
	return &Rate[K]{perSecond: rate.Limit(perSecond), burst: burst, buckets: buckets}, nil
}

// Allow takes a token at a time. When there is none it returns how long it takes
// until there is.
func (r *Rate[K]) Allow(key K, now time.Time) (wait time.Duration, ok bool) {
	bucket := r.bucket(key)
	taken := bucket.ReserveN(now, 1)
	if wait = taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
		return wait, false
	}
	return 0, true
}

func (r *Rate[K]) bucket(key K) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket, ok := r.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(r.perSecond, r.burst)
		r.buckets.Add(key, bucket)
	}
	return bucket
}
