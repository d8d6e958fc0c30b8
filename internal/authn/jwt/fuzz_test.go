package jwt

import (
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// Whatever is sent: only what the provider has signed is accepted, in the one
// spelling in which it was signed.
func FuzzAuthenticate(f *testing.F) {
	app, _ := newApp(f, standin.Config{})
	a := newAuthenticator(f, app)
	start(f, a)
	good := goodClaims(app, time.Now())
	valid := sign(f, app, good, nil)
	head, rest, _ := strings.Cut(valid, ".")
	body, signature, _ := strings.Cut(rest, ".")
	signed := map[string]bool{valid: true}
	for _, seed := range []string{
		valid, valid + "=", head + "." + body + ".", head + ".." + signature, "." + body + "." + signature, "..", "a.b.c",
		part(`{"alg":"none"}`) + "." + body + ".", part(`{"alg":"HS256","kid":"a"}`) + "." + body + "." + signature,
		part(`{"alg":"EdDSA","alg":"none"}`) + "." + body + "." + signature, part("null") + "." + body + "." + signature,
		head + "." + part(`{"sub":"eve","sub":"alice","exp":1e400}`) + "." + signature, "flovyn_sk_0123456789abcdef",
		part(`{"kid":"\u0000","typ":{},"crit":null}`) + "." + body + "." + signature, head + "." + body + "." + signature + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if parsed, ok := parse(token); ok {
			_, _ = a.judge(parsed.payload, time.Now()) // unsigned claims must not bring it down either
			again := base64url.EncodeToString(parsed.payload)
			if parsed.text != token || !strings.Contains(token, "."+again+".") {
				t.Errorf("%q has another spelling", token)
			}
		}
		credential, err := authn.NewCredential(token)
		if err != nil {
			return
		}
		if got := a.Authenticate(t.Context(), credential); (got.Outcome == authn.Accepted) != signed[token] {
			t.Errorf("%q: %+v", token, got)
		}
	})
}

// Whatever is published: a usable key is one of an accepted algorithm.
func FuzzReadKeys(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"keys":[]}`, `{"keys":[null,7,{"kty":"oct","k":"AAAA","kid":"a","alg":"EdDSA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AA","y":"AA"}]}`, `{"keys":[{"kty":"RSA","kid":"a","n":"AA","e":"AQAB"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		set, _, err := readKeys(document)
		if err != nil {
			return
		}
		for name := range set.keys {
			if _, accepted := algorithms[name.algorithm]; !accepted || !isKeyID(name.id) {
				t.Errorf("a key was kept as %s", name)
			}
		}
	})
}
