package jwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

const (
	// maxKeys bounds a set; real ones have a handful.
	maxKeys = 100
	// A shorter RSA key can be broken, a longer one keeps the server busy.
	minRSABits, maxRSABits = 2048, 8192
)

// keyName is how a key is found: by its id and by the only algorithm it may be
// used with. What a token says of either can at worst find nothing.
type keyName struct{ id, algorithm string }

func (n keyName) String() string { return fmt.Sprintf("%q for %s", n.id, n.algorithm) }

// keySet are the usable keys that a provider published at one time.
type keySet struct {
	keys map[keyName]any
	// fetched is when.
	fetched time.Time
	// digest is that of the document; generation counts the documents that
	// differed from the one before.
	digest     [sha256.Size]byte
	generation uint64
}

// readKeys reads a JSON Web Key Set. Keys that cannot be used, whatever the
// reason, do not spoil those that can; unusable says why they were left out. A
// set without a usable key is an error.
func readKeys(document []byte) (set *keySet, unusable []error, err error) {
	var parsed map[string]json.RawMessage
	if err := json.Unmarshal(document, &parsed); err != nil {
		return nil, nil, fmt.Errorf("reading a set of keys: %w", err)
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(parsed["keys"], &entries); err != nil {
		return nil, nil, errors.New(`reading a set of keys: there is no list "keys"`)
	}
	if len(entries) > maxKeys {
		return nil, nil, fmt.Errorf("reading a set of keys: %d keys are too many", len(entries))
	}
	set = &keySet{keys: map[keyName]any{}, digest: sha256.Sum256(bytes.TrimSpace(document))}
	for i, entry := range entries {
		if err := set.add(entry); err != nil {
			unusable = append(unusable, fmt.Errorf("key %d: %w", i, err))
		}
	}
	if len(set.keys) == 0 {
		return nil, unusable, errors.New("reading a set of keys: none of them can be used")
	}
	return set, unusable, nil
}

// add reads one key and stores it for every algorithm it may be used with. Of
// two with the same id and algorithm the first counts.
func (s *keySet) add(entry json.RawMessage) error {
	key, err := jwk.ParseKey(entry)
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if use, ok := key.KeyUsage(); ok && use != string(jwk.ForSignature) {
		return errors.New("it is not for signatures")
	}
	id, _ := key.KeyID()
	if !isKeyID(id) {
		return errors.New("it has no id (kid) that can be compared")
	}
	var raw any
	if err := jwk.Export(key, &raw); err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	fitting, err := fittingAlgorithms(raw)
	if err != nil {
		return err
	}
	declared, restricted := key.Algorithm()
	stored := false
	for _, algorithm := range fitting {
		if restricted && declared.String() != algorithm {
			continue
		}
		stored = true
		name := keyName{id, algorithm}
		if _, again := s.keys[name]; again {
			return fmt.Errorf("%s is there already", name)
		}
		s.keys[name] = raw
	}
	if !stored {
		return fmt.Errorf("it cannot be used with its algorithm %q", declared)
	}
	return nil
}

// fittingAlgorithms are those that a key can be used with; there is always one
// when there is no error. Secret keys are refused, shared and private ones: a
// set that publishes them is not to be trusted with them.
func fittingAlgorithms(raw any) ([]string, error) {
	switch key := raw.(type) {
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits", bits)
		}
		return []string{"RS256", "PS256"}, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
	}
	return nil, fmt.Errorf("a key of this sort (%T) verifies no algorithm that is accepted", raw)
}
