package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"testing"
)

// Every accepted algorithm verifies what the standard library has signed, and
// nothing that was changed, or signed with a neighbouring algorithm.
func TestEveryAlgorithm(t *testing.T) {
	t.Parallel()
	rsaPrivate, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, p256JWK := newECKey(t, elliptic.P256())
	p521, p521JWK := newECKey(t, elliptic.P521())
	rsaJWK := map[string]any{"kty": "RSA", "n": number(rsaPrivate.N), "e": "AQAB"}
	sum := func(message []byte) []byte { hash := sha256.Sum256(message); return hash[:] }
	tests := map[string]struct {
		jwk  map[string]any
		sign func(message []byte) ([]byte, error)
	}{
		"EdDSA": {
			map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(edPublic)},
			func(m []byte) ([]byte, error) { return ed25519.Sign(edPrivate, m), nil },
		},
		"RS256": {rsaJWK, func(m []byte) ([]byte, error) { return rsa.SignPKCS1v15(nil, rsaPrivate, crypto.SHA256, sum(m)) }},
		"PS256": {rsaJWK, func(m []byte) ([]byte, error) {
			return rsa.SignPSS(rand.Reader, rsaPrivate, crypto.SHA256, sum(m), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}},
		"ES256": {p256JWK, func(m []byte) ([]byte, error) { return signEC(p256, sum(m), 32) }},
		"ES512": {p521JWK, func(m []byte) ([]byte, error) { hash := sha512.Sum512(m); return signEC(p521, hash[:], 66) }},
	}
	if len(tests) != len(algorithms) {
		t.Errorf("%d algorithms are tested, %d accepted", len(tests), len(algorithms))
	}
	for algorithm, test := range tests {
		test.jwk["kid"] = "k"
		document, err := json.Marshal(map[string]any{"keys": []any{test.jwk}})
		if err != nil {
			t.Fatal(err)
		}
		set, _, err := readKeys(document)
		if err != nil {
			t.Fatal(err)
		}
		for signer, other := range tests {
			token := forge(map[string]any{"alg": algorithm, "kid": "k"}, map[string]any{"sub": "a"}, func(message []byte) []byte {
				signature, err := other.sign(message)
				if err != nil {
					t.Fatal(err)
				}
				return signature
			})
			parsed, ok := parse(token)
			if !ok {
				t.Fatalf("%s: %q is no token", algorithm, token)
			}
			payload, err := parsed.verify(set.keys[parsed.header.keyName])
			if good := signer == algorithm; (err == nil) != good || (good && string(payload) != `{"sub":"a"}`) {
				t.Errorf("%s, signed as %s: %s, %v", algorithm, signer, payload, err)
			}
		}
	}
}

func newECKey(t *testing.T, curve elliptic.Curve) (*ecdsa.PrivateKey, map[string]any) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := (len(point) - 1) / 2
	return key, map[string]any{
		"kty": "EC", "crv": curve.Params().Name,
		"x": base64.RawURLEncoding.EncodeToString(point[1 : 1+half]), "y": base64.RawURLEncoding.EncodeToString(point[1+half:]),
	}
}

// signEC writes both numbers with a fixed size, as tokens have them.
func signEC(key *ecdsa.PrivateKey, hash []byte, size int) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, hash)
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}
