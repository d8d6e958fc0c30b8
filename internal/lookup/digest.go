package lookup

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
)

// Digest stands for a secret in a cache.
type Digest [sha256.Size]byte

// Digester makes digests under a key that exists only in this process, so that
// a digest says nothing to anybody who gets to see it.
type Digester struct{ key [sha256.Size]byte }

// NewDigester makes a digester with a key of its own.
func NewDigester() *Digester {
	d := &Digester{}
	_, _ = rand.Read(d.key[:]) // never fails: it ends the program instead
	return d
}

// Digest returns the digest of a whole secret.
func (d *Digester) Digest(secret string) (digest Digest) {
	mac := hmac.New(sha256.New, d.key[:])
	mac.Write([]byte(secret))
	mac.Sum(digest[:0])
	return digest
}
