// Package rpc is the door of the worker protocol, flovyn.v1, and of the
// management API, flovyn.api.v1: Connect handlers, reached as gRPC, gRPC-Web and
// Connect, in binary and in JSON. The handlers of the management API are in the
// files that begin with api_.
//
// # What happens to a call
//
//	HTTP middleware  who calls (package authn), before anything is decoded
//	observe          one log record, metrics, a span; a failure becomes a code of the wire
//	recoverPanics    a panic becomes a failure
//	limitRate        an organization that calls too fast is told when to come again
//	guard            each message received is validated and authorized; what is
//	                 refused or changed is noted for the audit
//	lifetime         a stream ends before its credential does
//	handler          reads identifiers, calls one deed, converts the answer
//
// The interceptors surround the whole call, so unary calls and streams of every
// shape pass the same way. Which procedure needs which permission is said in
// authz's table and nowhere here; a procedure that is not in it is denied.
//
// # Whose organization
//
// A request that names an organization must name the caller's: the policies
// forbid any other, and the handler compares once more. A request that names
// none is about the caller's own organization; what it identifies is looked up
// there, so that something foreign is answered exactly as something absent. The
// management API names organizations by their slugs; one that is not the caller's
// is answered as that of no organization.
//
// # Failures
//
// Package fault says what went wrong; errors.go alone knows codes. What is no
// known fault is answered with a fixed sentence and an id under which the log
// tells the rest.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpcreflect/v2"

	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/audit"
	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/live"
	"github.com/flovyn/flovyn-server/internal/metadata"
	"github.com/flovyn/flovyn-server/internal/metrics"
	"github.com/flovyn/flovyn-server/internal/org"
	"github.com/flovyn/flovyn-server/internal/quota"
	"github.com/flovyn/flovyn-server/internal/schedule"
	"github.com/flovyn/flovyn-server/internal/schema"
	"github.com/flovyn/flovyn-server/internal/search"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/token"
	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// Config says what stands behind the door.
type Config struct {
	Engine     *engine.Engine
	Tasks      *task.Tasks
	Workers    *worker.Registry
	Search     *search.Searcher
	Metadata   *metadata.Fields
	Schedules  *schedule.Schedules
	Live       *live.Hub
	Authorizer authz.Authorizer
	// Organization finds an organization, or says NotFound. It is asked about
	// those that callers name while authentication is off.
	Organization func(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error)
	// Rate bounds the calls of one organization; nil does not.
	Rate *quota.Rate[flovyn.OrgID]
	// OrganizationBySlug is Organization by its slug, asked about those that
	// callers name while authentication is off.
	OrganizationBySlug func(ctx context.Context, slug string) (flovyn.Organization, error)
	// Orgs creates organizations.
	Orgs *org.Resolver
	// Tokens are the worker tokens of this server; nil where it accepts none.
	Tokens *token.Tokens
	// Audit takes note of refusals and changes; nil takes none.
	Audit *audit.Trail
	// StreamMaxAge is how long a stream may be open.
	StreamMaxAge time.Duration
	// Version is the server's, for whoever asks.
	Version string
	// Reflection answers tools that ask for the protocol.
	Reflection bool
	// Ready returns nil when the server can do its work; health checks ask it.
	Ready func(ctx context.Context) error
	// Stopping is closed when the server begins to stop. Streams that would
	// otherwise stay open end then.
	Stopping <-chan struct{}
	// Metrics counts calls. Default: nobody reads them.
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// door is what the handlers share.
type door struct {
	engine    *engine.Engine
	tasks     *task.Tasks
	workers   *worker.Registry
	search    *search.Searcher
	metadata  *metadata.Fields
	schedules *schedule.Schedules
	live      *live.Hub
	schemas   *schema.Checker
	orgs      *knownOrgs
	founding  *org.Resolver
	tokens    *token.Tokens
	audit     *audit.Trail
	version   string
	stopping  <-chan struct{}
	metrics   *metrics.Metrics
	tracer    *trace.Tracer
	log       *slog.Logger
}

// New makes the server of all procedures. Transports other than HTTP may be put
// before it: the interceptors are part of it.
func New(cfg Config) (*connect.Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("preparing the validation of messages: %w", err)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.New("")
	}
	tracer := cfg.Engine.Tracer()
	orgs := newKnownOrgs(findOrgs{byID: cfg.Organization, bySlug: cfg.OrganizationBySlug})
	schemas, err := schema.New(cfg.Log)
	if err != nil {
		return nil, err
	}
	interceptors := []connect.ServerInterceptor{observe(cfg.Log, cfg.Metrics, tracer), recoverPanics}
	if cfg.Rate != nil {
		interceptors = append(interceptors, limitRate(cfg.Rate))
	}
	server := connect.NewServer(append(interceptors, guard(cfg.Authorizer, validator, orgs, cfg.Audit), lifetime(cfg.StreamMaxAge))...)
	d := door{
		engine: cfg.Engine, tasks: cfg.Tasks, workers: cfg.Workers, live: cfg.Live, schemas: schemas, orgs: orgs,
		founding: cfg.Orgs, tokens: cfg.Tokens, audit: cfg.Audit, version: cfg.Version,
		search: cfg.Search, metadata: cfg.Metadata, schedules: cfg.Schedules,
		stopping: cfg.Stopping, metrics: cfg.Metrics, tracer: tracer, log: cfg.Log,
	}
	registerAPI(server, d)
	flovynv1connect.RegisterWorkflowDispatchHandler(server, workflowDispatch{d})
	flovynv1connect.RegisterWorkflowQueryHandler(server, workflowQuery{d})
	flovynv1connect.RegisterTaskExecutionHandler(server, taskExecution{d})
	flovynv1connect.RegisterWorkerLifecycleHandler(server, workerLifecycle{d})
	flovynv1connect.RegisterAgentDispatchHandler(server, agentDispatch{})
	registerHealth(server, health{ready: cfg.Ready, stopping: cfg.Stopping})
	if cfg.Reflection {
		grpcreflect.Register(server)
	}
	return server, nil
}

// sendFactor is how much larger than a request an answer may be: a history is
// made of many requests.
const sendFactor = 16

// Mount puts the procedures on a mux, at their paths. maxBytes bounds each
// message that is received.
func Mount(mux *http.ServeMux, server *connect.Server, maxBytes int) {
	connecthttp.Mount(mux, server,
		connecthttp.WithReadMaxBytes(maxBytes), connecthttp.WithSendMaxBytes(sendFactor*maxBytes))
}
