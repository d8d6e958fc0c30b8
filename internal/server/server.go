// Package server assembles the program. This file is the whole of it, in the
// order in which things depend on each other; nothing else in the tree calls
// the constructors of more than two packages.
//
// # Start
//
// New builds everything and has no effect but on the database: the schema is
// brought up to date, and the configured organizations are written before any
// request can ask for them. Start opens the ports, makes sure that they refuse
// strangers, starts what runs in the background, and only then serves.
//
// # Stop
//
// Shutdown goes the other way:
//
//	readiness turns to 503, streams that stay open end
//	polls return empty-handed
//	listeners close, requests in flight finish within the deadline
//	background loops and the bus end
//	what the engine still does on its own time ends, and what authenticators do
//	audit records that are not written yet are
//	the store closes, and the last traces are sent
//
// Requests come before loops, because a request in flight may set a timer or
// wake a poller; the store is last, because everything else needs it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/internal/audit"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/live"
	"github.com/flovyn/flovyn-server/internal/live/nats"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/metadata"
	"github.com/flovyn/flovyn-server/internal/metrics"
	"github.com/flovyn/flovyn-server/internal/openapi"
	"github.com/flovyn/flovyn-server/internal/org"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/quota"
	"github.com/flovyn/flovyn-server/internal/rest"
	"github.com/flovyn/flovyn-server/internal/rpc"
	"github.com/flovyn/flovyn-server/internal/schedule"
	"github.com/flovyn/flovyn-server/internal/search"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/token"
	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/upkeep"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// Options is what the program knows and an operator does not configure.
type Options struct {
	// Log receives everything; nil discards it.
	Log *slog.Logger
	// Version is the program's version, as health reports it.
	Version string
	// Hosts are the names and addresses, without a port, by which clients may
	// call the server; empty means any. A server whose keys everybody knows must
	// not be reachable by a name that a web page chose.
	Hosts []string
}

// Server is an assembled server.
type Server struct {
	cfg     *config.Config
	version string
	hosts   []string
	log     *slog.Logger

	metrics   *metrics.Metrics
	tracer    *trace.Tracer
	store     *postgres.Store
	engine    *engine.Engine
	tasks     *task.Tasks
	workers   *worker.Registry
	schedules *schedule.Schedules
	orgs      *org.Resolver
	tokens    *token.Tokens // nil where worker_token is in no chain
	audit     *audit.Trail
	known     authenticators // who can tell who calls
	// identity is what authenticators do in the background, once started.
	identity *loop.Group
	bus      *wake.Bus
	live     atomic.Pointer[live.Hub]
	loops    *loop.Group
	// background are the parts of loops, as long as it is being assembled.
	background []loop.Part
	rpc        *connect.Server
	handler    http.Handler // everything that is served, behind the doors
	doors      []*door

	// stopping is closed when the server begins to stop.
	stopping  chan struct{}
	stopOnce  sync.Once
	stopErr   error
	listeners []*listener
	serving   sync.WaitGroup
	failed    chan error
}

// Run serves until ctx ends, and then stops within the configured time.
func Run(ctx context.Context, cfg *config.Config, options Options) error {
	s, err := New(ctx, cfg, options)
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	var failure error
	select {
	case <-ctx.Done():
		s.log.InfoContext(ctx, "stopping", "timeout", cfg.Server.ShutdownTimeout)
	case failure = <-s.failed:
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Server.ShutdownTimeout)
	defer cancel()
	return errors.Join(failure, s.Shutdown(stopCtx))
}

// New assembles a server. After an error nothing is left behind.
func New(ctx context.Context, cfg *config.Config, options Options) (*Server, error) {
	if err := errors.Join(cfg.Check(), cfg.Buildable()); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, version: options.Version, hosts: options.Hosts, log: options.Log,
		stopping: make(chan struct{}), failed: make(chan error, 4),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, warning := range cfg.Warnings() {
		s.log.ErrorContext(ctx, "dangerous configuration", "warning", warning)
	}
	if err := s.openTelemetry(ctx); err != nil {
		return nil, err
	}
	if err := s.openStore(ctx); err != nil {
		return nil, errors.Join(err, s.tracer.Close(ctx))
	}
	if err := s.assembleDeeds(); err != nil {
		s.store.Close()
		return nil, err
	}
	if err := errors.Join(s.assembleAudit(), s.assembleDoors(ctx)); err != nil {
		s.engine.ClosePolls()
		s.engine.Close()
		s.closeIdentity()
		s.store.Close()
		return nil, errors.Join(err, s.tracer.Close(ctx))
	}
	return s, nil
}

// openStore migrates and opens the database, and writes the configured
// organizations.
func (s *Server) openStore(ctx context.Context) error {
	url := string(s.cfg.Database.URL)
	if err := postgres.Migrate(ctx, url); err != nil {
		return err
	}
	store, err := postgres.Open(ctx, postgres.Config{
		URL: url, MaxConnections: int32(s.cfg.Database.MaxConnections), Logger: s.log,
		Committed: s.metrics.Committed, Changed: s.changed,
	})
	if err != nil {
		return err
	}
	orgs := make([]flovyn.Organization, len(s.cfg.Orgs))
	for i, o := range s.cfg.Orgs {
		orgs[i] = flovyn.Organization{ID: o.ID, Slug: o.Slug, Name: o.Name, Tier: o.Tier, Region: o.Region}
	}
	if err := store.UpsertOrganizations(ctx, orgs); err != nil {
		err = s.explainOrgs(ctx, store, err)
		store.Close()
		return err
	}
	s.store = store
	return nil
}

// explainOrgs says why the configured organizations could not be written: which
// of them has a slug that is another's. What the database says itself is no use
// to an operator.
func (s *Server) explainOrgs(ctx context.Context, store *postgres.Store, err error) error {
	var taken []error
	for i, o := range s.cfg.Orgs {
		other, lookup := store.OrganizationBySlug(ctx, o.Slug)
		if lookup == nil && other.ID != o.ID {
			taken = append(taken, s.cfg.Mistake(fmt.Sprintf("orgs[%d].slug", i),
				"the database has another organization with the slug %q, whose id is %s: give this entry that id, or another slug", o.Slug, other.ID))
		}
	}
	if len(taken) > 0 && fault.Is(err, fault.Exists) {
		return errors.Join(taken...)
	}
	if fault.KindOf(err) != fault.Internal {
		return fmt.Errorf("writing the configured organizations: %s", fault.Message(err))
	}
	return fmt.Errorf("writing the configured organizations: %w", err)
}

// assembleDeeds makes the use-cases and what runs in the background.
func (s *Server) assembleDeeds() error {
	s.bus = wake.NewBus(s.store, s.log, s.receiveHint, s.hintsMissed)
	var background *upkeep.Upkeep // needs the engine, which tells it of timers
	var relay live.Relay = live.NewDatabase(s.store, s.log)
	if s.cfg.NATS.Enabled {
		relay = nats.New(nats.Config{URL: string(s.cfg.NATS.URL), Log: s.log})
	}
	hub, err := live.New(live.Config{
		Source: s.store, Relay: relay, Log: s.log,
		Announce: func(hint string, org flovyn.OrgID, text string) { s.bus.Publish(hint, wake.Key{Org: org, Queue: text}) },
	})
	if err != nil {
		return err
	}
	s.live.Store(hub)
	s.engine = engine.New(engine.Config{
		Say:   hub.Say,
		Store: s.store, Limits: limits(s.cfg.Engine), Logger: s.log,
		Tracer:   s.tracer,
		Publish:  func(class flovyn.Class, key wake.Key) { s.bus.Publish(string(class), key) },
		TimerSet: func(in time.Duration) { background.TimerSet(in) },
	})
	s.orgs = org.New(org.Config{
		Store: s.store, TTL: s.cfg.Auth.OrgResolver.CacheTTL, AutoCreate: s.cfg.Auth.OrgResolver.AutoCreate, Log: s.log,
		Publish: s.publishOrg,
	})
	for _, o := range s.cfg.Orgs {
		s.publishOrg(o.ID) // it may be configured otherwise than it was
	}
	s.tasks = task.New(s.store, s.engine, s.log)
	s.workers = worker.New(worker.Config{
		Store: s.store, MaxHold: s.cfg.Engine.PollMaxHold, Logger: s.log,
		Publish: func(org flovyn.OrgID) { s.bus.Publish(wake.HintWorker, wake.Key{Org: org}) },
	})
	s.schedules = schedule.New(s.store, s.engine, s.tasks)
	background = upkeep.New(upkeep.Config{
		Store: s.store, Engine: s.engine, Tasks: s.tasks, Workers: s.workers, Schedules: s.schedules, Logger: s.log,
		ActivationTimeout: s.cfg.Engine.WorkflowActivationTimeout, TaskSilence: s.cfg.Engine.TaskLivenessTimeout,
		TaskAbandon: s.cfg.Engine.TaskAbandonTimeout, AuditRetention: s.cfg.Audit.Retention(), Sampled: s.queuesSampled(),
		Retention: s.retention(),
	})
	s.background = background.Parts()
	return nil
}

// changed tells the watchers of what a commit changed. The store is there before
// they are.
func (s *Server) changed(changes []postgres.Change) {
	hub := s.live.Load()
	if hub == nil {
		return
	}
	for _, c := range changes {
		hub.Changed(live.Topic{Org: c.Org, Class: c.Class, ID: c.ID}, c.First, c.Ended)
	}
}

// assembleAudit makes what takes note of refusals and changes, and with it the
// last of what runs in the background.
func (s *Server) assembleAudit() (err error) {
	if s.audit, err = audit.New(audit.Config{Store: s.store, Log: s.log}); err != nil {
		return err
	}
	s.loops = loop.NewGroup("background", append(s.background, s.audit.Parts()...)...)
	return nil
}

// limits are the engine's limits as the operator has set them.
func limits(c config.Engine) engine.Limits {
	return engine.Limits{
		MaxPayload: c.MaxPayloadBytes, MaxCommands: c.MaxCommands, MaxHistoryEvents: c.MaxHistoryEvents,
		MaxHistoryBytes: int64(c.MaxHistoryBytes), MaxPending: c.MaxPending, MaxPollers: c.MaxPollersPerOrg,
		WorkflowParkAfter: parkAfter(c.WorkflowParkAfter), TaskParkAfter: parkAfter(c.TaskParkAfter),
	}
}

// parkAfter turns the zero of an operator, who wants nothing parked, into the
// engine's word for it.
func parkAfter(configured int) int {
	if configured == 0 {
		return -1
	}
	return configured
}

// requestRate bounds the requests of an organization, or does not.
func requestRate(perSecond int) (*quota.Rate[flovyn.OrgID], error) {
	if perSecond == 0 {
		return nil, nil //nolint:nilnil // no limit, no error
	}
	return quota.NewRate[flovyn.OrgID](perSecond, 2*perSecond)
}

// receiveHint looks at what another server did.
func (s *Server) receiveHint(hint wake.Hint) {
	switch hint.Class {
	case wake.HintWorker:
		s.workers.Forget(hint.Org)
	case wake.HintOrg:
		s.orgs.Forget(hint.Org)
	case live.HintChanged, live.HintInterest:
		s.live.Load().Heard(hint.Class, hint.Org, hint.Name)
	case wake.HintToken:
		s.forgetToken(hint.Name)
	default:
		s.engine.Wake(flovyn.Class(hint.Class), wake.Key{Org: hint.Org, Queue: hint.Name})
	}
}

// hintsMissed looks at everything that another server may have done.
func (s *Server) hintsMissed() {
	s.workers.ForgetAll()
	s.forgetIdentities()
	s.engine.WakeAll()
	s.live.Load().HintsMissed()
}

// assembleDoors makes what clients reach, and the doors in front of it.
func (s *Server) assembleDoors(ctx context.Context) error {
	protections, err := s.protections(ctx)
	if err != nil {
		return err
	}
	rate, err := requestRate(s.cfg.Engine.MaxRequestsPerOrg)
	if err != nil {
		return err
	}
	s.rpc, err = rpc.New(rpc.Config{
		Engine: s.engine, Tasks: s.tasks, Workers: s.workers, Live: s.live.Load(), Authorizer: protections,
		Search: search.New(s.store, time.Now), Metadata: metadata.New(s.store), Schedules: s.schedules,
		Organization: s.store.Organization, OrganizationBySlug: s.store.OrganizationBySlug,
		Orgs: s.orgs, Tokens: s.tokens, Audit: s.audit, StreamMaxAge: s.cfg.Auth.StreamMaxAge, Version: s.version,
		Rate: rate, Reflection: s.cfg.Server.Reflection, Ready: s.Ready, Stopping: s.stopping, Metrics: s.metrics, Log: s.log,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	rpc.Mount(mux, s.rpc, s.cfg.Server.MaxMessageBytes)
	api, err := rest.New(s.rpc, rest.Config{MaxBytes: s.cfg.Server.MaxMessageBytes})
	if err != nil {
		return err
	}
	mux.Handle("/api/", api)
	openapi.Mount(mux, api.Operations(), s.version)
	s.mountProbes(mux)
	s.mountResourceMetadata(mux)
	s.mountMetrics(mux)
	mux.HandleFunc("/", notFound)
	s.handler = mux
	s.doors = s.openDoors(protections)
	return nil
}

// Start opens the ports and serves. After an error the server is stopped.
func (s *Server) Start(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Server.ShutdownTimeout)
		defer cancel()
		return errors.Join(err, s.Shutdown(stopCtx))
	}
	return nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.selfTest(ctx); err != nil {
		return err
	}
	s.bus.Start(ctx)
	s.live.Load().Start(ctx)
	if err := s.startIdentity(ctx); err != nil {
		return err
	}
	if err := s.loops.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting background work: %w", err)
	}
	for _, l := range s.listeners {
		l.served = true
		s.serving.Go(func() { s.serve(l) })
		s.log.InfoContext(ctx, "listening", "door", l.name, "address", l.Addr().String(), "tls", l.tls)
	}
	return nil
}

// Shutdown stops the server, in the order that the package describes, within the
// time that ctx allows. It may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() {
		close(s.stopping)
		s.engine.ClosePolls()
		s.drain(ctx)
		s.stopErr = s.closeListeners(ctx)
		s.serving.Wait()
		s.loops.Stop()
		s.live.Load().Stop()
		s.bus.Stop()
		s.engine.Close()
		s.closeIdentity()
		s.stopErr = errors.Join(s.stopErr, s.audit.Close(ctx))
		s.store.Close()
		s.stopErr = errors.Join(s.stopErr, s.closeTracer(ctx))
		s.log.InfoContext(ctx, "stopped")
	})
	return s.stopErr
}

// drain goes on answering for a while, unready.
func (s *Server) drain(ctx context.Context) {
	timer := time.NewTimer(s.cfg.Server.Drain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Failed returns a channel that tells when a listener breaks down.
func (s *Server) Failed() <-chan error { return s.failed }
