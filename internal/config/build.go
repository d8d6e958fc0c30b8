package config

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
	"github.com/flovyn/flovyn-server/internal/authz"
)

// Buildable returns what serving needs besides a configuration that makes sense:
// secrets, which the environment of the server has and not its file, and the
// files that the configuration names. The server must not start without them: to
// leave an authenticator out of a chain is to decide who gets in.
func (c *Config) Buildable() error {
	k := &checker{Config: c}
	k.secrets()
	k.certificate()
	k.policies()
	return errors.Join(k.mistakes...)
}

func (c *checker) secrets() {
	if c.Auth.WorkerToken.Secret != "" || !c.chained(workertoken.Name) || !c.wantsWorkerTokens() {
		return
	}
	c.fail("auth.worker_token.secret", "required where worker tokens are configured and in a chain; set WORKER_TOKEN_SECRET")
}

// wantsWorkerTokens reports whether something was said about worker tokens beyond
// their place in a chain. Where nothing was, as in chains that were copied from a
// guide, a server without a secret serves and refuses them all.
func (c *Config) wantsWorkerTokens() bool {
	return c.Auth.WorkerToken.PreviousSecret != "" || slices.ContainsFunc(slices.Collect(maps.Keys(c.origins)), func(path string) bool {
		return strings.HasPrefix(path, "auth.worker_token.")
	})
}

// certificate checks the files of TLS, and that they belong together.
func (c *checker) certificate() {
	if c.Server.TLSCertFile == "" || c.Server.TLSKeyFile == "" {
		return
	}
	chain, errChain := os.ReadFile(c.Server.TLSCertFile)
	if errChain != nil {
		c.fail("server.tls_cert_file", "%s", errChain)
	}
	key, errKey := os.ReadFile(c.Server.TLSKeyFile)
	if errKey != nil {
		c.fail("server.tls_key_file", "%s", errKey)
	}
	if errChain != nil || errKey != nil {
		return
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		c.fail("server.tls_cert_file", "cannot be used with server.tls_key_file: %s", err)
	}
}

// policies checks the operator's policies, if a door decides by them.
func (c *checker) policies() {
	for _, door := range c.doors() {
		if door.AuthorizerKind() != AuthorizerCedar || c.Auth.Cedar.PolicyPath == "" {
			continue
		}
		_, err := authz.NewCedar(authz.CedarConfig{PolicyPath: c.Auth.Cedar.PolicyPath, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			c.fail("auth.cedar.policy_path", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return // what is wrong with them is wrong at every door
	}
}
