package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// maxTokenBytes bounds a token before anything of it is decoded.
const maxTokenBytes = 8 << 10

// maxKeyIDBytes bounds the id of a key, which is compared and logged.
const maxKeyIDBytes = 128

// algorithms are the only ones. All are asymmetric: a public key can never be
// taken for a shared secret.
var algorithms = map[string]jwa.SignatureAlgorithm{
	"EdDSA": jwa.EdDSA(),
	"ES256": jwa.ES256(),
	"ES512": jwa.ES512(),
	"PS256": jwa.PS256(),
	"RS256": jwa.RS256(),
}

// foreignKeys are the headers by which a token brings its own key. No honest
// token of ours does.
var foreignKeys = []string{"jku", "jwk", "x5u", "x5c"}

// tokenTypes are the kinds of token that are meant for a server such as this. A
// provider signs others with the same keys, for logging out for example.
var tokenTypes = []string{"jwt", "at+jwt"}

// base64url is strict, so that a token has exactly one spelling.
var base64url = base64.RawURLEncoding.Strict()

// A token is taken apart, and not verified.
type token struct {
	text    string
	header  header
	payload []byte
}

// A header is what a token says about its signature.
type header struct {
	keyName
	fields map[string]json.RawMessage
}

// parse takes a credential apart. It is not ok when the credential is not shaped
// like a signed token, and so somebody else's.
func parse(text string) (*token, bool) {
	// The decoder skips line ends, and a token has exactly one spelling.
	if len(text) > maxTokenBytes || strings.Count(text, ".") != 2 || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	head, rest, _ := strings.Cut(text, ".")
	body, signature, _ := strings.Cut(rest, ".")
	t := &token{text: text}
	raw, err := base64url.DecodeString(head)
	if err != nil {
		return nil, false
	}
	// A map, because matching the fields of a struct ignores their case.
	if json.Unmarshal(raw, &t.header.fields) != nil || t.header.fields == nil {
		return nil, false
	}
	if t.payload, err = base64url.DecodeString(body); err != nil {
		return nil, false
	}
	if _, err := base64url.DecodeString(signature); err != nil {
		return nil, false
	}
	t.header.algorithm, _ = t.header.text("alg")
	t.header.id, _ = t.header.text("kid")
	return t, true
}

// text returns a field that is a text; ok is false when it is something else.
// An absent field is an empty text.
func (h header) text(name string) (value string, ok bool) {
	raw, present := h.fields[name]
	if !present {
		return "", true
	}
	return value, raw[0] == '"' && json.Unmarshal(raw, &value) == nil
}

// check refuses a header that asks for anything but a plain verification with a
// published key.
func (h header) check() error {
	if _, known := algorithms[h.algorithm]; !known {
		return errors.New("the token's algorithm is not accepted")
	}
	for _, name := range foreignKeys {
		if _, present := h.fields[name]; present {
			return fmt.Errorf("the token brings its own key (%s)", name)
		}
	}
	for _, name := range []string{"crit", "b64"} {
		if _, present := h.fields[name]; present {
			return fmt.Errorf("the token demands an extension (%s)", name)
		}
	}
	kind, ok := h.text("typ")
	kind = strings.TrimPrefix(strings.ToLower(kind), "application/")
	if !ok || (kind != "" && !slices.Contains(tokenTypes, kind)) {
		return errors.New("the token is of another kind (typ)")
	}
	if !isKeyID(h.id) {
		return errors.New("the token names no key (kid), or not in a way that can be compared")
	}
	return nil
}

// isKeyID allows visible ASCII of a bounded length: an id goes into the log.
func isKeyID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxKeyIDBytes
}

// verify checks the signature and returns what was signed.
func (t *token) verify(key any) ([]byte, error) {
	payload, err := jws.VerifyCompactFast(key, []byte(t.text), algorithms[t.header.algorithm])
	if err != nil {
		return nil, fmt.Errorf("verifying the token's signature with the key %s: %w", t.header.keyName, err)
	}
	return payload, nil
}
