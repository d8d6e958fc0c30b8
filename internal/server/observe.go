package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/metrics"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/rpc"
	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/upkeep"
)

const (
	// metricsListener is what the port of the metrics is called.
	metricsListener = "metrics"
	// metricsPath serves them, at that port and at the doors.
	metricsPath = "/_/metrics"
	// lastTraces bounds how long a stopping server tries to send its last traces.
	lastTraces = 5 * time.Second
)

// openTelemetry makes what measures and traces.
func (s *Server) openTelemetry(ctx context.Context) (err error) {
	s.metrics = metrics.New(s.version)
	s.tracer = trace.Off()
	if !s.cfg.OTel.Enabled {
		return nil
	}
	s.tracer, err = trace.New(ctx, trace.Config{
		Endpoint: s.cfg.OTel.Endpoint, ServiceName: s.cfg.OTel.ServiceName, Version: s.version, Log: s.log,
	})
	return err
}

// closeTracer sends the last traces. A collector that does not answer keeps no
// server from stopping, and is no failure of it.
func (s *Server) closeTracer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTraces)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.WarnContext(ctx, "traces are lost", "error", err)
	}
	return nil
}

// countPassages counts what becomes of the requests at a door, but for those of
// the self-test.
func (s *Server) countPassages(door string) func(*http.Request, authn.Passage) {
	return func(r *http.Request, p authn.Passage) {
		if r.Context().Value(selfTestKey{}) == nil {
			s.metrics.Authenticated(door, string(p))
		}
	}
}

// queuesSampled publishes how queues stand, if anybody reads it.
func (s *Server) queuesSampled() *upkeep.Sampling {
	if !s.cfg.Metrics.Enabled {
		return nil
	}
	return &upkeep.Sampling{
		Queues: metrics.MaxQueues, Most: metrics.MaxDepth,
		Take: func(samples []postgres.BacklogSample, err error) {
			queues := make([]metrics.Queue, len(samples))
			for i, q := range samples {
				queues[i] = metrics.Queue{Class: q.Class, Org: q.Org, Name: q.Queue, Depth: q.Depth, Age: q.Age}
			}
			s.metrics.Sampled(queues, err)
		},
	}
}

// mountMetrics serves the metrics at the doors, if they are served at all. They
// are about all organizations, so that only a caller of none may read them there:
// a Service without an organization, or whoever comes where the operator demands
// no credential. The port of the metrics is the usual way.
func (s *Server) mountMetrics(mux *http.ServeMux) {
	s.metrics.Watch(metrics.Sources{
		Pollers: s.engine.WaitingFor, Cache: s.store.CacheUse, Connections: s.store.Connections,
	})
	if !s.cfg.Metrics.Enabled {
		return
	}
	handler := s.metrics.Handler()
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, r *http.Request) {
		who, ok := caller.From(r.Context())
		if !ok || !readsMetrics(who) {
			rpc.WriteError(w, fault.New(fault.Denied, "Access denied: metrics are about all organizations; read them at the port of [metrics]"))
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// readsMetrics reports whether a caller may know how all organizations fare.
func readsMetrics(who caller.Caller) bool {
	return who.Kind == caller.Anonymous || who.Kind == caller.Service && who.Org.IsZero()
}

// listenForMetrics opens the port of the metrics, which needs no credential: it is
// not for clients, and a network policy keeps it to who scrapes it.
func (s *Server) listenForMetrics(ctx context.Context) error {
	if !s.cfg.Metrics.Enabled {
		return nil
	}
	address := net.JoinHostPort(s.cfg.Server.Host, strconv.Itoa(s.cfg.Metrics.Port))
	socket, err := listenTCP(ctx, address)
	if err != nil {
		return fmt.Errorf("opening the metrics port %d: %w", s.cfg.Metrics.Port, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, s.metrics.Handler())
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.HandleFunc("/", notFound)
	s.listeners = append(s.listeners, &listener{gentle: socket, name: metricsListener, http: s.httpServer(mux)})
	return nil
}

// retention is how long what has ended is kept.
func (s *Server) retention() *upkeep.Retention {
	const day = 24 * time.Hour
	keep := &upkeep.Retention{
		Default: time.Duration(s.cfg.Retention.Days) * day, ByOrg: map[string]time.Duration{}, Deleted: s.metrics.Deleted,
	}
	for _, o := range s.cfg.Retention.Orgs {
		keep.ByOrg[o.Slug] = time.Duration(o.Days) * day
	}
	return keep
}
