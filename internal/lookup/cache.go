// Package lookup remembers answers that are expensive to get: who stands behind
// a credential, which organization has a name.
//
// Three pieces, to be used together: a Cache bounds how many answers are
// remembered and for how long, Flights let everybody who asks the same question
// at the same time share one answer, and a Digester makes keys of secrets, so
// that a cache never holds a credential.
//
// # Forgetting
//
// An answer that is on its way while something is forgotten may be older than
// what made it wrong. Each act of forgetting therefore begins a new generation,
// and an answer is only remembered in the generation in which it was asked for:
//
//	generation := cache.Generation()
//	answer := ask()
//	cache.Put(generation, key, answer, until)
package lookup

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Cache is a bounded set of answers that are believed for a while. The one that
// was not used for longest goes first. Methods are safe for concurrent use.
type Cache[K comparable, V any] struct {
	mu         sync.Mutex
	entries    *simplelru.LRU[K, entry[V]]
	generation uint64
}

type entry[V any] struct {
	value V
	until time.Time
}

// NewCache makes a cache of at most size answers; of one, if size is less.
func NewCache[K comparable, V any](size int) *Cache[K, V] {
	entries, _ := simplelru.NewLRU[K, entry[V]](max(size, 1), nil) // fails only for a size below one
	return &Cache[K, V]{entries: entries}
}

// Get returns the answer for a key, if there is one that is still believed.
func (c *Cache[K, V]) Get(key K, now time.Time) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.Get(key)
	if ok && now.Before(e.until) {
		return e.value, true
	}
	if ok {
		c.entries.Remove(key)
	}
	var zero V
	return zero, false
}

// Generation names the time since something was last forgotten. Take it before
// asking.
func (c *Cache[K, V]) Generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// Put remembers an answer until a time, unless something was forgotten since the
// generation in which it was asked for.
func (c *Cache[K, V]) Put(generation uint64, key K, value V, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation == c.generation {
		c.entries.Add(key, entry[V]{value, until})
	}
}

// Forget drops the answers that match.
func (c *Cache[K, V]) Forget(match func(V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for _, key := range c.entries.Keys() {
		if e, ok := c.entries.Peek(key); ok && match(e.value) {
			c.entries.Remove(key)
		}
	}
}

// ForgetAll drops every answer.
func (c *Cache[K, V]) ForgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.entries.Purge()
}

// Len returns how many answers are held, whether they are believed or not.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries.Len()
}
