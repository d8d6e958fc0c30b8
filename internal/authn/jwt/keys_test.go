package jwt

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func number(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

func rsaKey(t *testing.T, bits int) map[string]any {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kty": "RSA", "n": number(key.N), "e": "AQAB"}
}

func ecKey(t *testing.T, curve elliptic.Curve) map[string]any {
	t.Helper()
	_, jwk := newECKey(t, curve)
	return jwk
}

// A key is usable for what it was made for, and for nothing else; one that is
// not usable leaves the others alone.
func TestReadKeys(t *testing.T) {
	t.Parallel()
	x := base64.RawURLEncoding.EncodeToString(make([]byte, 31)) + "A" // 32 bytes, more or less
	okp := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))}
	rsa2048 := rsaKey(t, 2048)
	named := func(key map[string]any, by map[string]any) map[string]any {
		key = maps.Clone(key)
		maps.Copy(key, by)
		return key
	}
	for name, test := range map[string]struct {
		key  any
		want []string
	}{
		"Ed25519":                  {named(okp, map[string]any{"alg": "EdDSA"}), []string{"EdDSA"}},
		"Ed25519 without alg":      {okp, []string{"EdDSA"}},
		"RSA":                      {named(rsa2048, map[string]any{"alg": "RS256"}), []string{"RS256"}},
		"RSA for PSS":              {named(rsa2048, map[string]any{"alg": "PS256"}), []string{"PS256"}},
		"RSA without alg":          {rsa2048, []string{"PS256", "RS256"}},
		"P-256":                    {ecKey(t, elliptic.P256()), []string{"ES256"}},
		"P-521":                    {ecKey(t, elliptic.P521()), []string{"ES512"}},
		"for signatures":           {named(okp, map[string]any{"use": "sig"}), []string{"EdDSA"}},
		"for encryption":           {named(okp, map[string]any{"use": "enc"}), nil},
		"another algorithm":        {named(rsa2048, map[string]any{"alg": "RS512"}), nil},
		"an algorithm of others":   {named(okp, map[string]any{"alg": "RS256"}), nil},
		"a secret's algorithm":     {named(rsa2048, map[string]any{"alg": "HS256"}), nil},
		"shared secret":            {map[string]any{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U", "alg": "HS256"}, nil},
		"shared secret, disguised": {map[string]any{"kty": "oct", "k": "c2VjcmV0", "alg": "EdDSA"}, nil},
		"P-384":                    {ecKey(t, elliptic.P384()), nil},
		"X25519":                   {named(okp, map[string]any{"crv": "X25519"}), nil},
		"Ed448":                    {named(okp, map[string]any{"crv": "Ed448"}), nil},
		"private":                  {named(okp, map[string]any{"d": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("d", 32)))}), nil},
		"off the curve":            {map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": x}, nil},
		"unknown sort":             {map[string]any{"kty": "PQC", "pub": "x"}, nil},
		"no sort":                  {map[string]any{}, nil},
		"no id":                    {named(okp, map[string]any{"kid": ""}), nil},
		"an id to be logged":       {named(okp, map[string]any{"kid": "a\nb"}), nil},
		"a number":                 {7, nil},
		"null":                     {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := test.key
			if object, ok := key.(map[string]any); ok {
				if _, has := object["kid"]; !has {
					key = named(object, map[string]any{"kid": "tested"})
				}
			}
			document, err := json.Marshal(map[string]any{"keys": []any{named(okp, map[string]any{"kid": "neighbour"}), key}})
			if err != nil {
				t.Fatal(err)
			}
			set, unusable, err := readKeys(document)
			if err != nil {
				t.Fatal(err)
			}
			if _, there := set.keys[keyName{"neighbour", "EdDSA"}]; !there {
				t.Error("the key beside it was lost")
			}
			var got []string
			for name := range set.keys {
				if name.id != "neighbour" {
					got = append(got, name.algorithm)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s\n%v", diff, unusable)
			}
			if (len(unusable) > 0) != (test.want == nil) {
				t.Errorf("unusable: %v", unusable)
			}
		})
	}
}

func TestShortRSAKeys(t *testing.T) {
	t.Parallel()
	for bits, good := range map[int]bool{1024: false, 2047: false, 2048: true, 8192: true, 8193: false} {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		if _, err := fittingAlgorithms(&rsa.PublicKey{N: n, E: 65537}); (err == nil) != good {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func TestBadSets(t *testing.T) {
	t.Parallel()
	many := `{"keys":[` + strings.Repeat(`{"kty":"OKP"},`, maxKeys) + `{"kty":"OKP"}]}`
	for name, document := range map[string]string{
		"nothing": "", "not JSON": "<!doctype html>", "a list": "[]", "no keys": `{}`, "keys, no list": `{"keys":{}}`,
		"empty": `{"keys":[]}`, "keys in capitals": `{"KEYS":[]}`, "none usable": `{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`, "many": many,
	} {
		if set, _, err := readKeys([]byte(document)); err == nil {
			t.Errorf("%s: %+v", name, set)
		}
	}
}

// Of two keys with one id the first counts, whatever the second is.
func TestSameID(t *testing.T) {
	t.Parallel()
	first := `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"` + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("1", 32))) + `"}`
	second := strings.Replace(first, "MTEx", "MjIy", 1)
	set, unusable, err := readKeys([]byte(`{"keys":[` + first + `,` + second + `]}`))
	if err != nil || len(unusable) != 1 || len(set.keys) != 1 {
		t.Fatalf("%v, %v", unusable, err)
	}
	alone, _, err := readKeys([]byte(`{"keys":[` + first + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(alone.keys, set.keys); diff != "" {
		t.Error(diff)
	}
}
