package authn

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// MaxHeaderBytes bounds the Authorization header. A signed token with a few
// claims has about one KiB.
const MaxHeaderBytes = 8 << 10

// The reasons for which a request has no usable credential.
var (
	errNoHeader    = errors.New("no Authorization header")
	errManyHeaders = errors.New("more than one Authorization header")
	errTooLong     = errors.New("the Authorization header is too long")
	errScheme      = errors.New("the Authorization header is not of the Bearer scheme")
	errToken       = errors.New("the bearer token is empty or has characters that no token has")
)

// Credential is what a caller presents. Printed or logged it shows nothing.
type Credential struct{ token string }

// NewCredential makes a credential of a token, or fails when a header could not
// carry it.
func NewCredential(token string) (Credential, error) {
	if len(token) > MaxHeaderBytes-len("Bearer ") {
		return Credential{}, errTooLong
	}
	if !isToken(token) {
		return Credential{}, errToken
	}
	return Credential{token}, nil
}

// FromHeader extracts the bearer token: from exactly one Authorization header,
// the scheme in any case, nothing around the token.
func FromHeader(header http.Header) (Credential, error) {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return Credential{}, errNoHeader
	case len(values) > 1:
		return Credential{}, errManyHeaders
	case len(values[0]) > MaxHeaderBytes:
		return Credential{}, errTooLong
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Credential{}, errScheme
	}
	token = strings.TrimLeft(token, " ")
	if !isToken(token) {
		return Credential{}, errToken
	}
	return Credential{token}, nil
}

// isToken allows visible ASCII. A comma is what proxies join repeated headers
// with, so a token has none.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// Token returns the secret text, for comparing and for nothing else.
func (c Credential) Token() string { return c.token }

// String hides the token.
func (Credential) String() string { return "[credential]" }

// GoString hides the token.
func (Credential) GoString() string { return "[credential]" }

// LogValue hides the token.
func (Credential) LogValue() slog.Value { return slog.StringValue("[credential]") }
