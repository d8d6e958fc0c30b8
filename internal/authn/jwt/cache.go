package jwt

import (
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/lookup"
)

const (
	// rememberedTokens bounds the memory, and rememberFor how long a token is in
	// it.
	rememberedTokens = 10_000
	rememberFor      = 5 * time.Minute
)

// memory remembers what verified tokens say. A token is found by a digest with a
// key of this process: nothing in the memory is of use to somebody who reads it,
// and nobody can look for tokens that share a place. Only good tokens get in, so
// that bad ones cannot push them out.
type memory struct {
	digests *lookup.Digester
	tokens  *lru.Cache[lookup.Digest, remembered]
}

type remembered struct {
	claims claims
	// until is when to verify again; generation is that of the keys by which the
	// token was verified.
	until      time.Time
	generation uint64
}

func newMemory() (*memory, error) {
	tokens, err := lru.New[lookup.Digest, remembered](rememberedTokens)
	if err != nil {
		return nil, fmt.Errorf("making the memory of tokens: %w", err)
	}
	return &memory{digests: lookup.NewDigester(), tokens: tokens}, nil
}

// recall returns what a token says, if it was verified with the keys of this
// generation and not too long ago.
func (m *memory) recall(token string, generation uint64, now time.Time) (claims, bool) {
	key := m.digests.Digest(token)
	entry, ok := m.tokens.Get(key)
	if !ok {
		return claims{}, false
	}
	if entry.generation != generation || !now.Before(entry.until) {
		m.tokens.Remove(key)
		return claims{}, false
	}
	return entry.claims, true
}

// remember keeps what a verified token says.
func (m *memory) remember(token string, c claims, generation uint64, now time.Time) {
	until := now.Add(rememberFor)
	if c.expires.Before(until) {
		until = c.expires
	}
	if now.Before(until) {
		m.tokens.Add(m.digests.Digest(token), remembered{c, until, generation})
	}
}
