package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// A checker collects what is wrong with a configuration.
type checker struct {
	*Config
	mistakes []error
}

// Mistake is an error about a setting, with the place where it was made, for
// those who find out later than Check.
func (c *Config) Mistake(path, format string, args ...any) error {
	return &mistake{c.originOf(path), path, fmt.Sprintf(format, args...)}
}

// fail notes a mistake at a path. An index at its end finds the line of a
// list's element, and is not shown.
func (c *checker) fail(path, format string, args ...any) {
	key := path
	if strings.HasSuffix(path, "]") && !strings.HasPrefix(path, "orgs") && !strings.Contains(path, ".keys[") {
		key = path[:strings.LastIndex(path, "[")]
	}
	c.mistakes = append(c.mistakes, &mistake{c.originOf(path), key, fmt.Sprintf(format, args...)})
}

// Check returns everything about the configuration that makes no sense, with
// the places.
func (c *Config) Check() error {
	k := &checker{Config: c}
	k.database()
	k.server()
	k.orgs()
	k.engine()
	k.retention()
	k.between("audit.retention_days", c.Audit.RetentionDays, 1, 3650)
	k.lasts("auth.stream_max_age_secs", c.Auth.StreamMaxAge)
	k.collaborators()
	k.identities()
	k.staticKeys()
	k.endpoint("auth.endpoints.http", c.Auth.Endpoints.HTTP)
	k.endpoint("auth.endpoints.grpc", c.Auth.Endpoints.GRPC)
	k.signedTokens()
	k.apiKeys()
	if !c.Auth.Endpoints.HTTP.Enabled && !c.Auth.Endpoints.GRPC.Enabled {
		k.fail("auth.endpoints", "both doors are closed, so there is nothing to serve")
	}
	return errors.Join(k.mistakes...)
}

func (c *checker) database() {
	switch text := string(c.Database.URL); {
	case text == "":
		c.fail("database.url", "required; set it in the file or as DATABASE_URL")
	case strings.Contains(text, "://") && !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://"):
		c.fail("database.url", "want postgres://user:password@host:port/database")
	default:
		if err := postgres.CheckURL(text); err != nil {
			c.fail("database.url", "%s", err)
		}
	}
	c.between("database.max_connections", c.Database.MaxConnections, 2, 10_000)
}

func (c *checker) server() {
	c.port("server.http_port", c.Server.HTTPPort)
	c.port("server.grpc_port", c.Server.GRPCPort)
	if (c.Server.TLSCertFile == "") != (c.Server.TLSKeyFile == "") {
		c.fail("server.tls_cert_file", "a certificate needs server.tls_key_file, and the other way round")
	}
	for i, value := range c.Server.CORSOrigins {
		if !isOrigin(value) {
			c.fail(fmt.Sprintf("server.cors_origins[%d]", i), `want "*" or an origin such as https://app.example.com, without a path`)
		}
	}
	c.lasts("server.shutdown_timeout_secs", c.Server.ShutdownTimeout)
	if d := c.Server.Drain; d < 0 || d > 0 && d >= c.Server.ShutdownTimeout {
		c.fail("server.drain_secs", "want less than server.shutdown_timeout_secs, of which it is a part")
	}
	c.between("server.max_message_bytes", c.Server.MaxMessageBytes, 64<<10, 1<<30)
}

// isOrigin accepts a web origin, one with a star for its port, and the star that
// is all origins.
func isOrigin(value string) bool {
	exact := strings.TrimSuffix(value, ":*")
	u, err := url.Parse(exact)
	return value == "*" ||
		(err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https") && u.Scheme+"://"+u.Host == exact &&
			(exact == value || u.Port() == ""))
}

func (c *checker) orgs() {
	ids, slugs := map[flovyn.OrgID]int{}, map[string]int{}
	for i, org := range c.Orgs {
		path := fmt.Sprintf("orgs[%d]", i)
		if first, again := ids[org.ID]; again && !org.ID.IsZero() {
			c.fail(path+".id", "is the id of orgs[%d]", first)
		}
		if first, again := slugs[org.Slug]; again && org.Slug != "" {
			c.fail(path+".slug", "is the slug of orgs[%d]", first)
		}
		ids[org.ID], slugs[org.Slug] = i, i
		if org.ID.IsZero() {
			c.fail(path+".id", "required: a UUID that is not all zero")
		}
		if strings.TrimSpace(org.Name) == "" {
			c.fail(path+".name", "required")
		}
		if err := flovyn.CheckSlug(org.Slug); err != nil {
			c.fail(path+".slug", "%s", err)
		}
		c.oneOf(path+".tier", org.Tier, "FREE", "PRO", "ENTERPRISE")
	}
}

func (c *checker) engine() {
	e := c.Engine
	c.lasts("engine.workflow_activation_timeout_secs", e.WorkflowActivationTimeout)
	c.lasts("engine.task_liveness_timeout_secs", e.TaskLivenessTimeout)
	c.lasts("engine.task_abandon_timeout_secs", e.TaskAbandonTimeout)
	c.lasts("engine.poll_max_hold_secs", e.PollMaxHold)
	c.between("engine.max_payload_bytes", e.MaxPayloadBytes, 1<<10, c.Server.MaxMessageBytes)
	c.between("engine.max_commands", e.MaxCommands, 1, 1_000_000)
	c.between("engine.max_history_events", e.MaxHistoryEvents, 100, 1_000_000)
	c.between("engine.max_history_bytes", e.MaxHistoryBytes, 1<<16, 1<<30)
	c.between("engine.max_pending", e.MaxPending, 1, 1_000_000)
	c.between("engine.max_pollers_per_org", e.MaxPollersPerOrg, 1, 1_000_000)
	c.between("engine.max_requests_per_org", e.MaxRequestsPerOrg, 0, 10_000_000)
	c.between("engine.workflow_park_after", e.WorkflowParkAfter, 0, 1_000_000)
	c.between("engine.task_park_after", e.TaskParkAfter, 0, 1_000_000)
}

// maxDays is a hundred years.
const maxDays = 36_500

func (c *checker) retention() {
	c.between("retention.days", c.Retention.Days, 0, maxDays)
	first := map[string]int{}
	for i, org := range c.Retention.Orgs {
		path := fmt.Sprintf("retention.orgs[%d]", i)
		if err := flovyn.CheckSlug(org.Slug); err != nil {
			c.fail(path+".slug", "%s", err)
		}
		if other, again := first[org.Slug]; again {
			c.fail(path+".slug", "is the slug of orgs[%d]", other)
		}
		first[org.Slug] = i
		c.between(path+".days", org.Days, 0, maxDays)
	}
}

// collaborators checks what the server talks to.
func (c *checker) collaborators() {
	c.port("metrics.port", c.Metrics.Port)
	if port := c.Metrics.Port; c.Metrics.Enabled && port != 0 && (port == c.Server.HTTPPort || port == c.Server.GRPCPort) {
		c.fail("metrics.port", "is the port of a door")
	}
	if c.NATS.Enabled && c.NATS.URL == "" {
		c.fail("nats.url", "required")
	}
	if c.OTel.Enabled && c.OTel.Endpoint == "" {
		c.fail("otel.otlp_endpoint", "required")
	}
	c.httpURL("otel.otlp_endpoint", c.OTel.Endpoint)
}

// maxTokenPrefix bounds what worker tokens begin with.
const maxTokenPrefix = 32

// identities checks the settings of the authenticators that ask others.
func (c *checker) identities() {
	a := c.Auth
	c.httpURL("auth.better_auth_jwt.jwks_uri", a.BetterAuthJWT.JWKSURI)
	c.httpURL("auth.jwt.jwks_uri", a.JWT.JWKSURI)
	c.httpURL("auth.better_auth.validation_url", a.BetterAuth.ValidationURL)
	c.role("auth.better_auth.default_user_role", a.BetterAuth.DefaultUserRole)
	if _, err := authn.NewCredential(a.WorkerToken.Prefix); err != nil || len(a.WorkerToken.Prefix) > maxTokenPrefix {
		c.fail("auth.worker_token.prefix", "want visible characters that a header can carry, at most %d", maxTokenPrefix)
	}
	if a.AttrResolver.Type != "noop" {
		c.fail("auth.attr_resolver.resolver_type", "%q is not offered; known: noop", a.AttrResolver.Type)
	}
}

func (c *checker) staticKeys() {
	first := map[Secret]int{}
	for i, key := range c.Auth.StaticAPIKey.Keys {
		path := fmt.Sprintf("auth.static_api_key.keys[%d]", i)
		if other, again := first[key.Key]; again && key.Key != "" {
			c.fail(path+".key", "is the same key as keys[%d]", other)
		} else {
			first[key.Key] = i
		}
		if _, err := authn.NewCredential(string(key.Key)); err != nil {
			c.fail(path+".key", "required: visible characters that a header can carry, no space and no comma")
		}
		c.staticPrincipal(path, key)
	}
}

// staticPrincipal checks whom a key stands for.
func (c *checker) staticPrincipal(path string, key StaticKey) {
	c.oneOf(path+".principal_type", string(key.PrincipalType), string(caller.User), string(caller.Worker), string(caller.Service))
	if key.PrincipalID == "" {
		c.fail(path+".principal_id", "required")
	}
	if key.PrincipalType == caller.User {
		c.role(path+".role", key.Role)
	} else if key.Role != caller.NoRole {
		c.fail(path+".role", "only a User has a role")
	}
	configured := slices.ContainsFunc(c.Orgs, func(o Org) bool { return o.ID == key.OrgID })
	switch {
	case key.OrgID.IsZero() && key.PrincipalType == caller.Service:
	case key.OrgID.IsZero():
		c.fail(path+".org_id", "required")
	case !configured:
		c.fail(path+".org_id", "names no organization of [[orgs]]")
	}
}

func (c *checker) oneOf(path, value string, known ...string) {
	if !slices.Contains(known, value) {
		c.fail(path, "unknown value %q; known: %s", value, strings.Join(known, ", "))
	}
}

// role checks the role of a user, which may be absent.
func (c *checker) role(path string, role caller.Role) {
	if role != caller.NoRole {
		c.oneOf(path, string(role), string(caller.Owner), string(caller.Admin), string(caller.Member))
	}
}

func (c *checker) port(path string, port int) { c.between(path, port, 0, 65535) }

func (c *checker) between(path string, n, least, most int) {
	if n < least || n > most {
		c.fail(path, "want a number from %d to %d", least, most)
	}
}

func (c *checker) lasts(path string, d time.Duration) {
	if d < time.Second {
		c.fail(path, "want at least one second")
	}
}

// httpURL checks an address that may be absent. The address is not quoted: it
// may hold a password.
func (c *checker) httpURL(path, value string) {
	if value != "" && !isHTTP(value) {
		c.fail(path, "want a URL that begins with https:// or http://")
	}
}

func isHTTP(value string) bool {
	u, err := url.Parse(value)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
