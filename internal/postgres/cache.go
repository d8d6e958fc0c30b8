package postgres

import (
	"slices"
	"sync"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// maxCachedHistories bounds the number of histories beside their bytes.
const maxCachedHistories = 100_000

// cachedHistory is a history as far as it is known here. The execution's row
// says how far it really goes.
type cachedHistory struct {
	// held is locked by the commit that decides on the execution, from its
	// first look at the state until its outcome is known.
	held sync.Mutex
	// state is the fold of all events including those of the commit under way;
	// nil when unknown. Guarded by held.
	state *history.State

	mu sync.Mutex
	// events are committed and contiguous from 1. Guarded by mu; the elements
	// never change, so that readers may keep the slice.
	events []history.Event
	bytes  int64
	// evicted histories may still be in use but are no longer counted.
	evicted bool
}

// snapshot returns the committed events that are known.
func (c *cachedHistory) snapshot() []history.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.events)
}

// extend appends those events that come right after the known ones, and
// returns by how many bytes the history grew.
func (c *cachedHistory) extend(events []history.Event) (grown int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		if int(e.Seq) == len(c.events)+1 {
			c.events = append(c.events, e)
			grown += int64(len(e.Data)) + 96
		}
	}
	if c.evicted {
		return 0
	}
	c.bytes += grown
	return grown
}

// historyCache keeps recently used histories, bounded by count and by bytes.
type historyCache struct {
	entries  *lru.Cache[flovyn.ExecutionID, *cachedHistory]
	bytes    atomic.Int64
	maxBytes int64
	// hits and misses count how often a history was complete when it was needed.
	hits, misses atomic.Int64
}

func newHistoryCache(maxBytes int64) (*historyCache, error) {
	c := &historyCache{maxBytes: maxBytes}
	entries, err := lru.NewWithEvict(maxCachedHistories, func(_ flovyn.ExecutionID, h *cachedHistory) {
		h.mu.Lock()
		defer h.mu.Unlock()
		c.bytes.Add(-h.bytes)
		h.bytes, h.evicted = 0, true
	})
	if err != nil {
		return nil, fault.Bug("a cache of %d histories: %v", maxCachedHistories, err)
	}
	c.entries = entries
	return c, nil
}

// entry returns the cached history of an execution, made when absent.
func (c *historyCache) entry(id flovyn.ExecutionID) *cachedHistory {
	if h, ok := c.entries.Get(id); ok {
		return h
	}
	return c.adopt(id, &cachedHistory{})
}

// adopt makes a history known to all and returns it, or the one that is.
func (c *historyCache) adopt(id flovyn.ExecutionID, h *cachedHistory) *cachedHistory {
	if known, ok, _ := c.entries.PeekOrAdd(id, h); ok {
		return known
	}
	return h
}

// extend adds events to a cached history and evicts others when that is too much.
func (c *historyCache) extend(h *cachedHistory, events []history.Event) {
	total := c.bytes.Add(h.extend(events))
	for total > c.maxBytes {
		if _, _, ok := c.entries.RemoveOldest(); !ok {
			return
		}
		total = c.bytes.Load()
	}
}

// used counts a look at a history.
func (c *historyCache) used(complete bool) {
	if complete {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
}

// forget drops what is known of an execution.
func (c *historyCache) forget(id flovyn.ExecutionID) { c.entries.Remove(id) }
