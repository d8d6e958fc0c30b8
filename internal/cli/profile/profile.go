// Package profile keeps who the user of the CLI is, on which server.
//
// Two files stand in ~/.flovyn, a folder that nobody else can open:
//
//   - credentials holds what the server wants to see: for each profile the token,
//     what sort it is, and the server that it is for. People read it, write it by
//     hand and copy it to build machines. Its shape is published and is kept to
//     the byte: five keys, in the tables [default] and [profiles.NAME].
//   - sessions holds what renews a token that lives for minutes: the session at
//     the Flovyn App. It opens more than a token does and is of no use on another
//     machine, so it has no place in a file that gets copied.
//
// Both are changed in place: comments, keys and tables that this program does not
// know stay as they are. A change replaces the whole file at once, under a lock,
// so that two commands that renew their tokens at the same time lose nothing.
//
// What applies is decided in Resolve: a flag wins over the environment, and the
// environment over the profile. A token never leaves for a server that it is not
// for.
package profile

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// Default is the profile that applies when none is named.
const Default = "default"

// The sorts of token.
const (
	// JWT lives for minutes and is renewed from a session.
	JWT = "jwt"
	// APIKey is good until it is revoked.
	APIKey = "api_key"
)

// A Profile is who the user is on one server.
type Profile struct {
	Name string
	// Type is JWT or APIKey.
	Type  string
	Token string
	// ExpiresAt is when a JWT ends.
	ExpiresAt time.Time
	OrgSlug   string
	ServerURL string
}

// A Session renews the token of a profile.
type Session struct {
	Token     string
	ExpiresAt time.Time
	// AppURL is the Flovyn App whose session it is, and the only place that gets
	// to see it.
	AppURL string
}

// validName keeps names to what needs no quotes in TOML and on a command line.
var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckName refuses names that a table could not have without quotes.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fault.InvalidField("--profile", "%q is no name of a profile: use letters, digits, hyphens and underscores", name)
	}
	return nil
}

// CheckToken refuses what cannot be sent in a header, such as a key with the line
// break of the file that it came from. It never shows the token.
func CheckToken(where, token string) error {
	for i, c := range []byte(token) {
		switch {
		case c == '\n' || c == '\r':
			return fault.InvalidField(where, "the key has a line break at character %d; give the key alone, on one line", i+1)
		case c <= ' ' || c >= 0x7f:
			return fault.InvalidField(where, "the key has a character at place %d that no key has (a space, a control character or "+
				"one beyond ASCII); copy it again", i+1)
		}
	}
	if token == "" {
		return fault.InvalidField(where, "the key is empty")
	}
	return nil
}

func fromValues(name string, values map[string]any) (p Profile, err error) {
	p = Profile{Name: name}
	if p.Type, err = text(values, "type"); err != nil {
		return p, err
	}
	if p.Token, err = text(values, "token"); err != nil {
		return p, err
	}
	if p.OrgSlug, err = text(values, "org_slug"); err != nil {
		return p, err
	}
	if p.ServerURL, err = text(values, "server_url"); err != nil {
		return p, err
	}
	if p.ExpiresAt, err = moment(values, "expires_at"); err != nil {
		return p, err
	}
	switch {
	case p.Type != "" && p.Type != JWT && p.Type != APIKey:
		return p, fmt.Errorf("type: want %q or %q, not %q", JWT, APIKey, p.Type)
	case p.Token != "" && p.ServerURL == "":
		return p, errors.New("server_url is missing: the token is for one server only, and it does not say which")
	}
	return p, nil
}

func (p Profile) pairs() []pair {
	pairs := []pair{{"type", p.Type}, {"token", p.Token}}
	if !p.ExpiresAt.IsZero() {
		pairs = append(pairs, pair{"expires_at", p.ExpiresAt.UTC().Format(time.RFC3339)})
	}
	return append(pairs, pair{"org_slug", p.OrgSlug}, pair{"server_url", p.ServerURL})
}

func sessionFromValues(values map[string]any) (s Session, err error) {
	if s.Token, err = text(values, "session_token"); err != nil {
		return s, err
	}
	if s.AppURL, err = text(values, "app_url"); err != nil {
		return s, err
	}
	s.ExpiresAt, err = moment(values, "session_expires_at")
	return s, err
}

func (s Session) pairs() []pair {
	if s.Token == "" {
		return nil
	}
	pairs := []pair{{"session_token", s.Token}}
	if !s.ExpiresAt.IsZero() {
		pairs = append(pairs, pair{"session_expires_at", s.ExpiresAt.UTC().Format(time.RFC3339)})
	}
	return append(pairs, pair{"app_url", s.AppURL})
}

// The keys of the two files, in the order in which they are written.
var (
	credentialKeys = []string{"type", "token", "expires_at", "org_slug", "server_url"}
	sessionKeys    = []string{"session_token", "session_expires_at", "app_url"}
)

func text(values map[string]any, key string) (string, error) {
	switch v := values[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	default:
		return "", fmt.Errorf("%s: want a text in quotes", key)
	}
}

func moment(values map[string]any, key string) (time.Time, error) {
	switch v := values[key].(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		return v, nil
	case string:
		if v == "" {
			return time.Time{}, nil
		}
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return t, fmt.Errorf("%s: want a time such as %q", key, "2025-12-29T12:00:00Z")
		}
		return t, nil
	default:
		return time.Time{}, fmt.Errorf("%s: want a time such as %q", key, "2025-12-29T12:00:00Z")
	}
}
