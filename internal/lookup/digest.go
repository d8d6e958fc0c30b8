package lookup

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"sync"
)

// Digest stands for a secret in a cache.
type Digest [sha256.Size]byte

// Digester makes digests under a key that exists only in this process, so that
// a digest says nothing to anybody who gets to see it.
type Digester struct {
	key [sha256.Size]byte
	// idle are hashes that have the key in them.
	idle sync.Pool
}

// NewDigester makes a digester with a key of its own.
func NewDigester() *Digester {
	d := &Digester{}
	_, _ = rand.Read(d.key[:]) // never fails: it ends the program instead
	d.idle.New = func() any { return hmac.New(sha256.New, d.key[:]) }
	return d
}

// Digest returns the digest of a whole secret.
func (d *Digester) Digest(secret string) (digest Digest) {
	mac, _ := d.idle.Get().(hash.Hash) // it holds nothing else
	mac.Reset()
	mac.Write([]byte(secret))
	mac.Sum(digest[:0])
	mac.Reset() // the secret stays in no idle hash
	d.idle.Put(mac)
	return digest
}
