// Package config reads what an operator decides.
//
// There is one Config, a plain struct with a comment and a default for every
// field, and one place where files and the environment are read: Load. Nothing
// else in the server looks at either.
//
// A setting is named by its path, such as auth.endpoints.http.authenticators.
// It can be made in a TOML file, in the environment, or not at all; the
// environment wins over the file, and the file over the default. In the
// environment a path is written in capitals with two underscores between its
// parts (AUTH__ENDPOINTS__HTTP__AUTHENTICATORS); six settings have names of
// their own there: DATABASE_URL, SERVER_PORT, GRPC_SERVER_PORT,
// WORKER_TOKEN_SECRET, WORKER_TOKEN_SECRET_PREVIOUS and ORGS. CONFIG_FILE names the file. A list is written
// with commas or as a TOML or JSON array, a list of tables as an array of
// inline tables or objects. An empty variable counts as not set. A variable
// that begins like one of ours (AUTH__) and names no setting is an error; all
// other variables belong to other programs.
//
// Some settings have two spellings, the newer in tables and the older flat (see
// aliases). Both may be present, if they agree.
//
// A mistake is answered with the place where it was made: file, line and key,
// or the variable; all mistakes at once. Nothing is guessed: an unknown key, an
// unknown name of an authenticator, an empty chain are errors, because a server
// that starts with less protection than was written down is worse than one that
// does not start. Keys, secrets and the database's URL are of type Secret, which
// cannot be printed, and no error quotes one.
//
// Load answers whether a configuration makes sense; Config.Buildable answers
// whether this version of the server can honour it.
package config

import (
	"time"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Config is everything an operator decides. The toml tags are the paths.
type Config struct {
	// Database says where the state is kept.
	Database Database `toml:"database"`
	// Server says how clients reach the server.
	Server Server `toml:"server"`
	// Orgs exist from the start: they are created or updated by id. Others are
	// left alone.
	Orgs []Org `toml:"orgs"`
	// Auth says who may do what.
	Auth Auth `toml:"auth"`
	// Audit says what becomes of the records of refusals and changes.
	Audit Audit `toml:"audit"`
	// Engine bounds workflows, tasks and polls.
	Engine Engine `toml:"engine"`
	// Retention says how long what has ended is kept.
	Retention Retention `toml:"retention"`
	// NATS connects replicas; without it they meet in the database.
	NATS NATS `toml:"nats"`
	// OTel sends traces.
	OTel OTel `toml:"otel"`
	// Metrics serves measurements.
	Metrics Metrics `toml:"metrics"`

	// insecureDev is the second switch; see AllowInsecureDev.
	insecureDev bool
	// file is where the settings came from; empty without one.
	file string
	// origins are the places of the settings that were made, by path.
	origins map[string]origin
}

// Database says where the state is kept.
type Database struct {
	// URL is the connection string of a PostgreSQL database. Required.
	URL Secret `toml:"url"`
	// MaxConnections bounds the connections of one replica. Default 20.
	MaxConnections int `toml:"max_connections"`
}

// Server says how clients reach the server.
type Server struct {
	// Host is the address to listen on. Default: all interfaces.
	Host string `toml:"host"`
	// HTTPPort serves REST, the console and the probes. Default 8000. Zero picks
	// a free port.
	HTTPPort int `toml:"http_port"`
	// GRPCPort serves workers and clients. Default 9090. It may equal HTTPPort:
	// one listener then serves both. Zero picks a free port.
	GRPCPort int `toml:"grpc_port"`
	// TLSCertFile and TLSKeyFile hold the certificate chain and key, in PEM, of
	// both ports. Default: no TLS, as behind a proxy that has it.
	TLSCertFile string `toml:"tls_cert_file"`
	// TLSKeyFile belongs to TLSCertFile.
	TLSKeyFile string `toml:"tls_key_file"`
	// CORSOrigins are the web origins whose pages may call the HTTP port, such as
	// "https://app.example.com"; "*" is any, and "http://localhost:*" has any
	// port. Default: none.
	CORSOrigins []string `toml:"cors_origins"`
	// Drain is how long a server that was told to stop goes on answering, with
	// readiness at 503 and polls empty, so that load balancers notice before its
	// ports close. Default 0.
	Drain time.Duration `toml:"drain_secs"`
	// ShutdownTimeout bounds how long requests in flight may take when the
	// server stops. Default 30 s.
	ShutdownTimeout time.Duration `toml:"shutdown_timeout_secs"`
	// MaxMessageBytes bounds one request message. Default 4 MiB.
	MaxMessageBytes int `toml:"max_message_bytes"`
	// Reflection lets tools ask the gRPC port for its protocol. Default true.
	Reflection bool `toml:"reflection"`
}

// OneListener reports whether both doors share a port.
func (s Server) OneListener() bool { return s.HTTPPort == s.GRPCPort && s.HTTPPort != 0 }

// Org is an organization that exists from the start.
type Org struct {
	// ID is what everything of the organization refers to. Required.
	ID flovyn.OrgID `toml:"id"`
	// Name is for people. Required.
	Name string `toml:"name"`
	// Slug is its name in URLs and tokens: 3 to 63 lower-case letters and digits,
	// single hyphens between. Required; it must match the identity provider's.
	Slug string `toml:"slug"`
	// Tier is FREE, PRO or ENTERPRISE. Default FREE.
	Tier string `toml:"tier"`
	// Region says where it lives, for people. Optional.
	Region string `toml:"region"`
}

// Auth says who may do what.
type Auth struct {
	// Enabled switches authentication and authorization. Default true. False
	// opens everything to everybody, and is announced at every start.
	Enabled bool `toml:"enabled"`
	// Endpoints are the two doors.
	Endpoints Endpoints `toml:"endpoints"`
	// StaticAPIKey configures the authenticator static_api_key.
	StaticAPIKey StaticAPIKey `toml:"static_api_key"`
	// BetterAuthJWT configures the authenticator better_auth_jwt.
	BetterAuthJWT JWT `toml:"better_auth_jwt"`
	// BetterAuth configures the authenticator better_auth_api_key.
	BetterAuth BetterAuth `toml:"better_auth"`
	// JWT configures the authenticator jwt, and never better_auth_jwt.
	JWT JWT `toml:"jwt"`
	// WorkerToken configures the authenticator worker_token.
	WorkerToken WorkerToken `toml:"worker_token"`
	// OrgResolver finds the organization that a credential names.
	OrgResolver OrgResolver `toml:"org_resolver"`
	// AttrResolver adds attributes to principals.
	AttrResolver AttrResolver `toml:"attr_resolver"`
	// Cedar configures the authorizer cedar.
	Cedar Cedar `toml:"cedar"`
	// StreamMaxAge is how long a stream may stay open before its client has to
	// open another one. It ends earlier when the credential behind it expires or
	// is revoked. Default 1800 s.
	StreamMaxAge time.Duration `toml:"stream_max_age_secs"`
}

// Audit says what becomes of the records of refusals and changes.
type Audit struct {
	// RetentionDays is after how many days a record is deleted. Default 90.
	RetentionDays int `toml:"retention_days"`
}

// Retention is RetentionDays as a duration.
func (a Audit) Retention() time.Duration { return time.Duration(a.RetentionDays) * 24 * time.Hour }

// Endpoints are the two doors.
type Endpoints struct {
	// HTTP is the door for REST and the console.
	HTTP Endpoint `toml:"http"`
	// GRPC is the door for workers and clients.
	GRPC Endpoint `toml:"grpc"`
}

// Endpoint is the protection of one door.
type Endpoint struct {
	// Enabled opens the door. Default true. False means that it is not served at
	// all, not that it is served without protection.
	Enabled bool `toml:"enabled"`
	// Authenticators are asked in this order who calls. Required, unless the door
	// or authentication is off.
	Authenticators []string `toml:"authenticators"`
	// Authorizer decides what callers may do: cedar, org_scope or noop. Default
	// cedar.
	Authorizer string `toml:"authorizer"`
	// ExcludePaths need no credential: exact paths, or prefixes that end in a
	// star. The paths below /_/health never need one. Default: none.
	ExcludePaths []string `toml:"exclude_paths"`
}

// StaticAPIKey is the authenticator of keys that stand in the configuration.
type StaticAPIKey struct {
	// Keys are the keys. Default: none.
	Keys []StaticKey `toml:"keys"`
}

// StaticKey is a key and whom it stands for.
type StaticKey struct {
	// Key is the whole text that a client presents. Required.
	Key Secret `toml:"key"`
	// OrgID is one of the configured organizations. Required, except for a
	// Service: one without an organization can create organizations.
	OrgID flovyn.OrgID `toml:"org_id"`
	// PrincipalType is User, Worker or Service. Default User.
	PrincipalType caller.Kind `toml:"principal_type"`
	// PrincipalID names the principal in records. Required.
	PrincipalID string `toml:"principal_id"`
	// Role is OWNER, ADMIN or MEMBER, for a User; without one a User may do
	// nothing. Optional.
	Role caller.Role `toml:"role"`
}

// Caller returns whom the key stands for.
func (k StaticKey) Caller() caller.Caller {
	return caller.Caller{Kind: k.PrincipalType, ID: k.PrincipalID, Org: k.OrgID, Role: k.Role}
}

// JWT says which signed tokens to trust.
type JWT struct {
	// JWKSURI is where the issuer publishes its keys: https, or this machine.
	// Required where the authenticator is in a chain, as are the next two.
	JWKSURI string `toml:"jwks_uri"`
	// Issuer is the value of `iss` to demand.
	Issuer string `toml:"issuer"`
	// Audience is the value of `aud` to demand.
	Audience string `toml:"audience"`
	// SkipVerification trusts unsigned tokens. For development: it needs
	// FLOVYN_INSECURE_DEV=1 in the environment as well, and is announced at every
	// start. Default false.
	SkipVerification bool `toml:"skip_verification"`
}

// BetterAuth says who validates API keys.
type BetterAuth struct {
	// ValidationURL answers whether a key is good: https, or this machine.
	// Required where the authenticator is in a chain.
	ValidationURL string `toml:"validation_url"`
	// Timeout bounds one such question. Default 5 s.
	Timeout time.Duration `toml:"timeout_secs"`
	// DefaultUserRole is the role of a user whose key says nothing about roles.
	// Default MEMBER.
	DefaultUserRole caller.Role `toml:"default_user_role"`
	// AllowService accepts keys of which the provider says that they are a
	// service's. Default false.
	AllowService bool `toml:"allow_service"`
}

// WorkerToken says how the server's own tokens look.
type WorkerToken struct {
	// Prefix begins every token. Default "fwt_".
	Prefix string `toml:"prefix"`
	// Secret keys the digests under which tokens are stored. Give it by the
	// variable WORKER_TOKEN_SECRET. Without it every worker token is refused, and a
	// server does not start that has other settings of this table.
	Secret Secret `toml:"secret"`
	// PreviousSecret is the one before, while tokens that were stored under it are
	// still good. Give it by the variable WORKER_TOKEN_SECRET_PREVIOUS. Optional.
	PreviousSecret Secret `toml:"previous_secret"`
}

// OrgResolver finds the organization that a credential names.
type OrgResolver struct {
	// CacheTTL is how long an answer is believed. Default 300 s.
	CacheTTL time.Duration `toml:"cache_ttl_secs"`
	// AutoCreate creates an organization when a verified token first names it.
	// Default false.
	AutoCreate bool `toml:"auto_create"`
}

// AttrResolver adds attributes to principals.
type AttrResolver struct {
	// Type is noop, which adds none. Default noop.
	Type string `toml:"resolver_type"`
}

// Cedar says which policies to use.
type Cedar struct {
	// PolicyPath is a file of Cedar policies that replaces the built-in ones.
	// What keeps organizations apart holds in any case. Default: built-in.
	PolicyPath string `toml:"policy_path"`
}

// Engine bounds workflows, tasks and polls.
type Engine struct {
	// WorkflowActivationTimeout is after how long of silence an execution is
	// taken back from its worker. Default 60 s.
	WorkflowActivationTimeout time.Duration `toml:"workflow_activation_timeout_secs"`
	// TaskLivenessTimeout is after how long without a sign of life of its worker
	// a running task counts as lost. Default 300 s.
	TaskLivenessTimeout time.Duration `toml:"task_liveness_timeout_secs"`
	// TaskAbandonTimeout is after how long without a sign of life of its own (a
	// heartbeat, or progress) a running task counts as lost although its worker
	// lives: its result may have gone astray. Default 3600 s.
	TaskAbandonTimeout time.Duration `toml:"task_abandon_timeout_secs"`
	// PollMaxHold bounds how long an empty poll is held. Default 60 s.
	PollMaxHold time.Duration `toml:"poll_max_hold_secs"`
	// MaxPayloadBytes bounds one input, output or value. Default 1 MiB.
	MaxPayloadBytes int `toml:"max_payload_bytes"`
	// MaxCommands bounds the commands of one submission. Default 10000.
	MaxCommands int `toml:"max_commands"`
	// MaxHistoryEvents bounds the events of a history, at which its execution
	// fails. Default 50000.
	MaxHistoryEvents int `toml:"max_history_events"`
	// MaxHistoryBytes bounds the data of a history's events. Default 50 MiB.
	MaxHistoryBytes int `toml:"max_history_bytes"`
	// MaxPending bounds the tasks, timers, promises and children of an execution
	// that are open at once, of each sort. Default 10000.
	MaxPending int `toml:"max_pending"`
	// MaxPollersPerOrg bounds the polls of one organization that wait at this
	// replica. Default 10000.
	MaxPollersPerOrg int `toml:"max_pollers_per_org"`
	// MaxRequestsPerOrg bounds the requests of one organization per second at this
	// replica; twice as many may come at once. Default 0: no limit.
	MaxRequestsPerOrg int `toml:"max_requests_per_org"`
	// WorkflowParkAfter is after how many lost activations in a row an execution
	// is parked. Default 10. Zero never parks.
	WorkflowParkAfter int `toml:"workflow_park_after"`
	// TaskParkAfter is after how many lost attempts in a row a task is parked.
	// Default 3. Zero never parks.
	TaskParkAfter int `toml:"task_park_after"`
}

// Retention says how long what has ended is kept.
type Retention struct {
	// Days is how long finished executions and tasks are kept after their end.
	// Default 0: for ever. What is open is never touched.
	Days int `toml:"days"`
	// Orgs are the organizations for which it is different. Default: none.
	Orgs []OrgRetention `toml:"orgs"`
}

// OrgRetention says how long what has ended is kept for one organization.
type OrgRetention struct {
	// Slug names the organization, which need not exist yet. Required.
	Slug string `toml:"slug"`
	// Days is as in Retention. Default 0: for ever.
	Days int `toml:"days"`
}

// NATS connects replicas.
type NATS struct {
	// Enabled uses it. Default false.
	Enabled bool `toml:"enabled"`
	// URL is where it is, credentials included. Default nats://localhost:4222.
	URL Secret `toml:"url"`
}

// OTel sends traces.
type OTel struct {
	// Enabled sends them. Default false.
	Enabled bool `toml:"enabled"`
	// Endpoint is an OTLP receiver. Default http://localhost:4317.
	Endpoint string `toml:"otlp_endpoint"`
	// ServiceName is the server's name in traces. Default flovyn-server.
	ServiceName string `toml:"service_name"`
}

// Metrics serves measurements on a port of their own, without credentials.
type Metrics struct {
	// Enabled serves them. Default false.
	Enabled bool `toml:"enabled"`
	// Port serves them. Default 9093. Zero picks a free port.
	Port int `toml:"port"`
}

// Default returns the configuration of an operator who has decided nothing. It
// lacks what has no default, so it does not pass Check.
func Default() *Config {
	return &Config{
		Database: Database{MaxConnections: 20},
		Server: Server{
			HTTPPort: 8000, GRPCPort: 9090, ShutdownTimeout: 30 * time.Second,
			MaxMessageBytes: 4 << 20, Reflection: true,
		},
		Auth: Auth{
			Enabled: true,
			Endpoints: Endpoints{
				HTTP: Endpoint{Enabled: true, Authorizer: AuthorizerCedar},
				GRPC: Endpoint{Enabled: true, Authorizer: AuthorizerCedar},
			},
			BetterAuth:   BetterAuth{Timeout: 5 * time.Second, DefaultUserRole: caller.Member},
			WorkerToken:  WorkerToken{Prefix: "fwt_"},
			OrgResolver:  OrgResolver{CacheTTL: 300 * time.Second},
			AttrResolver: AttrResolver{Type: "noop"},
			StreamMaxAge: 30 * time.Minute,
		},
		Audit: Audit{RetentionDays: 90},
		Engine: Engine{
			WorkflowActivationTimeout: 60 * time.Second, TaskLivenessTimeout: 300 * time.Second,
			TaskAbandonTimeout: time.Hour,
			PollMaxHold:        60 * time.Second, MaxPayloadBytes: 1 << 20, MaxCommands: 10_000,
			MaxHistoryEvents: 50_000, MaxHistoryBytes: 50 << 20, MaxPending: 10_000, MaxPollersPerOrg: 10_000,
			WorkflowParkAfter: 10, TaskParkAfter: 3,
		},
		NATS:    NATS{URL: "nats://localhost:4222"},
		OTel:    OTel{Endpoint: "http://localhost:4317", ServiceName: "flovyn-server"},
		Metrics: Metrics{Port: 9093},
	}
}
