package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/org"
)

// skew is by how much the clocks of a provider and a server may differ.
const skew = time.Minute

// maxSubjectBytes bounds the name of a principal, which goes into records.
const maxSubjectBytes = 255

// claims are what a token says, and what the server has use for.
type claims struct {
	subject string
	// email is an address, for people; empty when the token has none that can be
	// shown.
	email   string
	org     org.TokenOrg
	role    caller.Role
	expires time.Time
}

// judge reads a payload and checks whether it is meant for this server, now.
func (a *Authenticator) judge(payload []byte, now time.Time) (claims, error) {
	read := jwt.New()
	if err := json.Unmarshal(payload, read); err != nil {
		return claims{}, fmt.Errorf("reading the token's claims: %w", err)
	}
	err := jwt.Validate(
		read,
		jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })), jwt.WithAcceptableSkew(skew),
		jwt.WithRequiredClaim(jwt.ExpirationKey),
		jwt.WithIssuer(a.cfg.Issuer), jwt.WithAudience(a.cfg.Audience),
	)
	if err != nil {
		return claims{}, fmt.Errorf("the token is not for this server, or not now: %w", err)
	}
	c := claims{}
	c.subject, _ = read.Subject()
	if !isSubject(c.subject) {
		return claims{}, errors.New("the token names no subject (sub), or not in a way that can be recorded")
	}
	c.expires, _ = read.Expiration()
	if err := read.Get("email", &c.email); err != nil || !isSubject(c.email) {
		c.email = ""
	}
	c.org, c.role = a.readOrg(read)
	return c, nil
}

// isSubject allows what can be kept in a record and read in a log.
func isSubject(s string) bool {
	return s != "" && len(s) <= maxSubjectBytes && strings.TrimSpace(s) == s &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// readOrg returns the organization and role that a token is about: nothing when
// the claim is absent or not of the expected form.
func (a *Authenticator) readOrg(read jwt.Token) (org.TokenOrg, caller.Role) {
	var claim map[string]any
	if err := read.Get("org", &claim); err != nil {
		return org.TokenOrg{}, caller.NoRole
	}
	text := func(name string) string {
		value, _ := claim[name].(string)
		return value
	}
	found := org.TokenOrg{Issuer: a.cfg.Issuer, ExternalID: text("id"), Slug: text("slug"), Name: text("name")}
	return found, caller.HighestRole(text("role"))
}
