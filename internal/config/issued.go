package config

import (
	"fmt"

	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
)

// apiKeys checks the authenticator of API keys, if it is in a chain. Its timeout
// bounds how long a client waits for an identity provider that is down.
func (c *checker) apiKeys() {
	c.between("auth.better_auth.timeout_secs", int(c.Auth.BetterAuth.Timeout.Seconds()), 1, 60)
	if !c.chained(apikey.Name) {
		return
	}
	url := c.Auth.BetterAuth.ValidationURL
	c.required("auth.better_auth.validation_url", url)
	if err := apikey.CheckURL(url); err != nil && isHTTP(url) {
		c.fail("auth.better_auth.validation_url", "%s", err)
	}
}

// developmentSecret is the one of the development set-up, which everybody knows.
const developmentSecret = "dev-secret-key-for-testing-only"

// secretWarnings are about the secret of worker tokens.
func (c *Config) secretWarnings() (warnings []string) {
	secret := c.Auth.WorkerToken.Secret
	switch {
	case !c.chained(workertoken.Name):
		return nil
	case secret == "":
		return []string{"worker_token is in a chain and there is no auth.worker_token.secret: every worker token is refused; " +
			"set WORKER_TOKEN_SECRET, or take it out of the chain"}
	case c.isPrivate():
		return nil
	}
	if len(secret) < shortKey {
		warnings = append(warnings, fmt.Sprintf("auth.worker_token.secret is shorter than %d characters and can be guessed", shortKey))
	}
	if secret == developmentSecret {
		warnings = append(warnings, "auth.worker_token.secret is the one of the development set-up, which everybody knows")
	}
	return warnings
}
