package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/authn/jwt"
	"github.com/flovyn/flovyn-server/internal/authn/statickey"
	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
	"github.com/flovyn/flovyn-server/internal/caller"
)

// The names of authorizers.
const (
	// AuthorizerCedar decides by policies.
	AuthorizerCedar = "cedar"
	// AuthorizerOrgScope permits everything within the caller's organization.
	AuthorizerOrgScope = "org_scope"
	// AuthorizerNoop permits everything.
	AuthorizerNoop = "noop"
)

// authorizers are the names an operator may write, with those they stand for.
var authorizers = map[string]string{
	AuthorizerCedar:    AuthorizerCedar,
	AuthorizerOrgScope: AuthorizerOrgScope,
	"tenant_scope":     AuthorizerOrgScope,
	AuthorizerNoop:     AuthorizerNoop,
	"none":             AuthorizerNoop,
}

// authenticators are all the names. A name that is not here is a mistake too.
// Some are names of old documents that are not going to be built: for those, it
// says what to do instead.
var authenticators = map[string]struct{ refused string }{
	statickey.Name:     {},
	jwt.BetterAuthName: {},
	jwt.Name:           {},
	apikey.Name:        {},
	workertoken.Name:   {},

	"session":          {"the server keeps no sessions; use better_auth_jwt"},
	"noop":             {"to run without authentication, set auth.enabled to false"},
	"anonymous":        {"to run without authentication, set auth.enabled to false"},
	"deny_all":         {"to close a door, set its enabled to false"},
	"external_api_key": {"use better_auth_api_key"},
	"database":         {"use worker_token"},
	"oauth2":           {"use jwt"},
}

// knownAuthenticators are the names that may be in a chain.
func knownAuthenticators() string {
	known := maps.Clone(authenticators)
	for name, entry := range known {
		if entry.refused != "" {
			delete(known, name)
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

// endpoint checks a door, also while authentication is off: a name that nobody
// knows is a mistake then too.
func (c *checker) endpoint(path string, e Endpoint) {
	if c.Auth.Enabled && e.Enabled && len(e.Authenticators) == 0 {
		c.fail(path+".authenticators", "required: a door without authenticators would be open to everybody; known: %s",
			knownAuthenticators())
	}
	for i, name := range e.Authenticators {
		at := fmt.Sprintf("%s.authenticators[%d]", path, i)
		entry, known := authenticators[name]
		switch {
		case !known:
			c.fail(at, "unknown authenticator %q; known: %s", name, knownAuthenticators())
		case entry.refused != "":
			c.fail(at, "authenticator %q is not offered: %s", name, entry.refused)
		case slices.Contains(e.Authenticators[:i], name):
			c.fail(at, "authenticator %q is listed twice", name)
		}
	}
	if _, known := authorizers[e.Authorizer]; !known {
		c.fail(path+".authorizer", "unknown authorizer %q; known: %s", e.Authorizer,
			strings.Join(slices.Sorted(maps.Keys(authorizers)), ", "))
	}
	for i, pattern := range e.ExcludePaths {
		if _, err := authn.NewExcludes(pattern); err != nil {
			c.fail(fmt.Sprintf("%s.exclude_paths[%d]", path, i), "%s", err)
		}
	}
}

// AuthorizerKind returns which authorizer the door wants: one of the three
// names above, whichever of their spellings was used.
func (e Endpoint) AuthorizerKind() string { return authorizers[e.Authorizer] }

// doors are the endpoints that will be served with authentication, by path.
func (c *Config) doors() map[string]Endpoint {
	doors := map[string]Endpoint{}
	if !c.Auth.Enabled {
		return doors
	}
	if c.Auth.Endpoints.HTTP.Enabled {
		doors["auth.endpoints.http"] = c.Auth.Endpoints.HTTP
	}
	if c.Auth.Endpoints.GRPC.Enabled {
		doors["auth.endpoints.grpc"] = c.Auth.Endpoints.GRPC
	}
	return doors
}

// shortKey is a length below which a key can be guessed.
const shortKey = 16

// Warnings returns what is allowed and dangerous, or allowed and useless. The
// server logs it at every start.
func (c *Config) Warnings() (warnings []string) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if !c.Auth.Enabled {
		warn("auth.enabled is false: everybody may do everything in every organization")
	}
	doors := c.doors()
	for _, path := range slices.Sorted(maps.Keys(doors)) {
		door := doors[path]
		if door.AuthorizerKind() == AuthorizerNoop {
			warn("%s.authorizer is %s: whoever is authenticated may do everything", path, door.Authorizer)
		}
		if slices.Contains(door.Authenticators, statickey.Name) && len(c.Auth.StaticAPIKey.Keys) == 0 {
			warn("%s.authenticators lists static_api_key, and there are no keys", path)
		}
	}
	if c.Auth.BetterAuthJWT.SkipVerification {
		warn("auth.better_auth_jwt.skip_verification is true: whoever writes a token is believed")
	}
	if c.Auth.JWT.SkipVerification {
		warn("auth.jwt.skip_verification is true: whoever writes a token is believed")
	}
	return slices.Concat(warnings, c.keyWarnings(), c.secretWarnings())
}

// isPrivate reports whether only this machine can reach the server: who can guess
// a secret is on it already.
func (c *Config) isPrivate() bool {
	ip := net.ParseIP(c.Server.Host)
	return ip != nil && ip.IsLoopback()
}

func (c *Config) keyWarnings() (warnings []string) {
	for i, key := range c.Auth.StaticAPIKey.Keys {
		if len(key.Key) < shortKey && !c.isPrivate() {
			warnings = append(warnings, fmt.Sprintf(
				"auth.static_api_key.keys[%d] is shorter than %d characters and can be guessed", i, shortKey))
		}
		if key.PrincipalType == caller.User && key.Role == caller.NoRole {
			warnings = append(warnings, fmt.Sprintf(
				"auth.static_api_key.keys[%d] is a User without a role, who may do nothing", i))
		}
	}
	return warnings
}
