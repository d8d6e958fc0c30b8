package config

import (
	"slices"

	"github.com/flovyn/flovyn-server/internal/authn/jwt"
)

// insecureVariable is the second switch for what no server in production does.
// It is no setting, so that no file can throw both.
const insecureVariable = "FLOVYN_INSECURE_DEV"

// AllowInsecureDev throws the second switch, as the variable FLOVYN_INSECURE_DEV=1
// does: skip_verification is then obeyed.
func (c *Config) AllowInsecureDev() { c.insecureDev = true }

// insecure reports whether an environment has the second switch on.
func insecure(environ []string) bool { return slices.Contains(environ, insecureVariable+"=1") }

// signedTokens checks the authenticators of signed tokens that are in a chain:
// without one of these settings anybody's token might be believed.
func (c *checker) signedTokens() {
	for path, endpoint := range c.doors() {
		if slices.Contains(endpoint.Authenticators, jwt.BetterAuthName) && slices.Contains(endpoint.Authenticators, jwt.Name) {
			c.fail(path+".authenticators", "%s and %s both answer for every signed token: the second one would never be asked",
				jwt.BetterAuthName, jwt.Name)
		}
	}
	if c.chained(jwt.BetterAuthName) {
		c.signedToken("auth.better_auth_jwt", c.Auth.BetterAuthJWT)
	}
	if c.chained(jwt.Name) {
		c.signedToken("auth.jwt", c.Auth.JWT)
	}
}

func (c *checker) signedToken(table string, settings JWT) {
	c.required(table+".issuer", settings.Issuer)
	c.required(table+".audience", settings.Audience)
	if settings.SkipVerification {
		if !c.insecureDev {
			c.fail(table+".skip_verification", "whoever writes a token would be believed; to have that, set %s=1 in the environment as well",
				insecureVariable)
		}
		if c.Auth.OrgResolver.AutoCreate {
			c.fail(table+".skip_verification", "excludes auth.org_resolver.auto_create, which needs tokens that can be believed")
		}
		return
	}
	c.required(table+".jwks_uri", settings.JWKSURI)
	if err := jwt.CheckJWKSURI(settings.JWKSURI); err != nil && isHTTP(settings.JWKSURI) {
		c.fail(table+".jwks_uri", "%s", err)
	}
}

// Asks reports whether an authenticator is asked at an open door.
func (c *Config) Asks(authenticator string) bool { return c.chained(authenticator) }

// chained reports whether an authenticator is in the chain of an open door.
func (c *Config) chained(name string) bool {
	for _, endpoint := range c.doors() {
		if slices.Contains(endpoint.Authenticators, name) {
			return true
		}
	}
	return false
}

// required is for a setting that an authenticator in a chain needs.
func (c *checker) required(path, value string) {
	if value == "" {
		c.fail(path, "required: an authenticator in a chain needs it")
	}
}
