package standin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
)

// The algorithms of a stand-in.
const (
	EdDSA = "EdDSA"
	RS256 = "RS256"
	ES256 = "ES256"
)

// A signer is a key pair and what its algorithm does with it.
type signer struct {
	id     string
	public map[string]any // the JWK
	sign   func(message []byte) ([]byte, error)
}

var encoding = base64.RawURLEncoding

// Rotate makes a new key and signs with it from now on. The older ones stay
// published until Retire. The algorithm may change.
func (a *App) Rotate(algorithm string) error {
	s, err := newSigner(algorithm)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signers = append(a.signers, s)
	return nil
}

// Retire publishes only the key that signs now.
func (a *App) Retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signers = a.signers[len(a.signers)-1:]
}

func newSigner(algorithm string) (*signer, error) {
	s := &signer{id: newID()}
	var err error
	switch algorithm {
	case EdDSA:
		err = s.useEd25519()
	case RS256:
		err = s.useRSA()
	case ES256:
		err = s.useP256()
	default:
		err = fmt.Errorf("no algorithm %q", algorithm)
	}
	if err != nil {
		return nil, err
	}
	s.public["alg"], s.public["kid"] = algorithm, s.id
	return s, nil
}

func (s *signer) useEd25519() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	s.public = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encoding.EncodeToString(public)}
	s.sign = func(message []byte) ([]byte, error) { return ed25519.Sign(private, message), nil }
	return nil
}

func (s *signer) useRSA() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	exponent := big.NewInt(int64(private.E)).Bytes()
	s.public = map[string]any{
		"kty": "RSA", "n": encoding.EncodeToString(private.N.Bytes()), "e": encoding.EncodeToString(exponent),
	}
	s.sign = func(message []byte) ([]byte, error) {
		hash := sha256.Sum256(message)
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, hash[:])
	}
	return nil
}

func (s *signer) useP256() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return err
	}
	s.public = map[string]any{
		"kty": "EC", "crv": "P-256", "x": encoding.EncodeToString(point[1:33]), "y": encoding.EncodeToString(point[33:]),
	}
	s.sign = func(message []byte) ([]byte, error) {
		hash := sha256.Sum256(message)
		r, v, err := ecdsa.Sign(rand.Reader, private, hash[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...), nil
	}
	return nil
}

// Sign makes a token of any claims with the present key. The header is what
// Better Auth writes (alg and kid); what is in extra is added to it, or replaces
// it.
func (a *App) Sign(claims, extra map[string]any) (string, error) {
	a.mu.Lock()
	s := a.signers[len(a.signers)-1]
	a.mu.Unlock()
	header := map[string]any{"alg": s.public["alg"], "kid": s.id}
	maps.Copy(header, extra)
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("writing a token's header: %w", err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing a token's claims: %w", err)
	}
	message := encoding.EncodeToString(head) + "." + encoding.EncodeToString(body)
	signature, err := s.sign([]byte(message))
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return message + "." + encoding.EncodeToString(signature), nil
}

// Keys returns the published keys, as JWKs.
func (a *App) Keys() []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := make([]map[string]any, len(a.signers))
	for i, s := range a.signers {
		keys[i] = maps.Clone(s.public)
	}
	return keys
}

func (a *App) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"keys": a.Keys()})
}
