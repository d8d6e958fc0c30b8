// Package statickey authenticates by keys that stand in the configuration.
//
// Only digests of the keys are kept, and a presented key is compared with all
// of them in constant time, so that neither a memory image nor a stopwatch
// gives a key away. A key that matches none is somebody else's: it may be an
// API key that another authenticator of the chain knows.
package statickey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
)

// Name is the authenticator's name in the configuration.
const Name = "static_api_key"

// Key is a configured key and whom it stands for.
type Key struct {
	// Secret is the whole text that a client presents.
	Secret string
	// Caller is whom it stands for.
	Caller caller.Caller
}

// Authenticator recognizes the configured keys.
type Authenticator struct {
	digests [][sha256.Size]byte
	callers []caller.Caller
}

var _ authn.Exact = (*Authenticator)(nil)

// New makes an authenticator. Keys that are empty, could not be sent, or occur
// twice are refused, by position: an error must not hold a key. Without keys it
// recognizes nobody.
func New(keys []Key) (*Authenticator, error) {
	a := &Authenticator{}
	seen := make(map[[sha256.Size]byte]int, len(keys))
	for i, key := range keys {
		if key.Secret == "" {
			return nil, fmt.Errorf("key %d is empty", i)
		}
		if _, err := authn.NewCredential(key.Secret); err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		digest := sha256.Sum256([]byte(key.Secret))
		if first, again := seen[digest]; again {
			return nil, fmt.Errorf("key %d is the same as key %d", i, first)
		}
		seen[digest] = i
		a.digests = append(a.digests, digest)
		a.callers = append(a.callers, key.Caller)
	}
	return a, nil
}

// Name returns "static_api_key".
func (*Authenticator) Name() string { return Name }

// Exact marks the authenticator as one that is asked first.
func (*Authenticator) Exact() {}

// Authenticate compares the credential with every key, always with all of them.
func (a *Authenticator) Authenticate(_ context.Context, credential authn.Credential) authn.Result {
	digest := sha256.Sum256([]byte(credential.Token()))
	match := -1
	for i := range a.digests {
		equal := subtle.ConstantTimeCompare(digest[:], a.digests[i][:])
		match = subtle.ConstantTimeSelect(equal, i, match)
	}
	if match < 0 {
		return authn.Result{Outcome: authn.NotMine}
	}
	return authn.Accept(a.callers[match])
}
