package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	connectcors "connectrpc.com/cors"
	"github.com/rs/cors"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/rpc"
	"github.com/flovyn/flovyn-server/internal/telemetry"
	"github.com/flovyn/flovyn-server/internal/trace"
)

const requestIDHeader = "X-Request-Id"

// outermost is what every request passes first, whoever sends it: it gets an
// id, a panic becomes an answer, it must have been meant for this server,
// browsers learn which pages may call, and the body is bounded.
func (s *Server) outermost(next http.Handler, refuse authn.Refuse) http.Handler {
	return identified(s.recovered(s.addressed(s.crossOrigin(s.bounded(next)), refuse)))
}

// identified gives each request an id: the client's, if it sent a sensible one.
// The response and all log records carry it. It belongs to the trace that its
// headers name.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !sensible(id) {
			id = flovyn.NewUUID().String()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(trace.Continue(telemetry.WithRequestID(r.Context(), id), r.Header)))
	})
}

// sensible accepts ids that cannot forge a log record or a header.
func sensible(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '"' {
			return false
		}
	}
	return true
}

// recovered answers a request whose handler panics. Calls of procedures have
// their own, which knows the protocol.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			failure := recover()
			if failure == nil {
				return
			}
			if err, ok := failure.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(failure) //nolint:forbidigo // passed on: how net/http is told to drop a connection
			}
			err := fmt.Errorf("panic: %v\n%s", failure, debug.Stack())
			s.log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
			rpc.WriteError(w, err)
		}()
		next.ServeHTTP(w, r)
	})
}

// addressed refuses requests that call the server by a name it does not have. A
// web page can have its own name resolve to the loopback address, and its
// requests are then of one origin for the browser; the name in them stays the
// page's. A request without a name is no browser's.
func (s *Server) addressed(next http.Handler, refuse authn.Refuse) http.Handler {
	if len(s.hosts) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r)
		named := func(known string) bool { return strings.EqualFold(known, host) }
		if host != "" && !slices.ContainsFunc(s.hosts, named) {
			refuse(w, r, fault.New(fault.Denied, "this server is not called %q; it answers as %s", host, strings.Join(s.hosts, ", ")))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf is the name or the address by which a request calls the server.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil { // there is no port
		host = strings.Trim(r.Host, "[]")
	}
	return strings.TrimSuffix(host, ".")
}

// crossOrigin lets pages of the configured origins call. Credentials travel in
// a header that a page sets itself, so cookies stay out of it.
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	if len(s.cfg.Server.CORSOrigins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: s.cfg.Server.CORSOrigins,
		AllowedMethods: append(connectcors.AllowedMethods(), http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete),
		AllowedHeaders: slices.Concat(connectcors.AllowedHeaders(),
			[]string{"Authorization", "Last-Event-ID", "If-None-Match", trace.ParentHeader, requestIDHeader}),
		ExposedHeaders: slices.Concat(connectcors.ExposedHeaders(),
			[]string{"Allow", "ETag", "Location", "Retry-After", "WWW-Authenticate", requestIDHeader}),
		MaxAge: 7200,
	}).Handler(next)
}

// bounded limits the body of a request. Messages have a limit of their own;
// this one is for what surrounds them, and for streams of several.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.MaxBytesHandler(next, 2*int64(s.cfg.Server.MaxMessageBytes))
}

// notFound answers paths that lead nowhere.
func notFound(w http.ResponseWriter, _ *http.Request) {
	rpc.WriteError(w, fault.New(fault.NotFound, "not found"))
}
