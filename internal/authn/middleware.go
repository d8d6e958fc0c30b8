package authn

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// Refuse answers a request that may not pass. Which bytes say so depends on the
// protocol, which the door knows; err is of kind fault.Unauthenticated or
// fault.Unavailable, and the WWW-Authenticate header is already set.
type Refuse func(w http.ResponseWriter, r *http.Request, err error)

// Passage is what became of a request at a door.
type Passage string

// What can become of one.
const (
	// PassedKnown had a credential that was accepted.
	PassedKnown Passage = "accepted"
	// PassedOpen needed none.
	PassedOpen Passage = "open"
	// TurnedAway had none, or one that is no good.
	TurnedAway Passage = "refused"
	// NotDecided could not be judged, because whoever knows its credential did not
	// answer.
	NotDecided Passage = "unavailable"
)

// Middleware is the authentication of one door.
type Middleware struct {
	// Chain finds out who calls.
	Chain *Chain
	// Excludes are the paths that need no credential; nil leaves the health
	// paths open.
	Excludes *Excludes
	// Refuse answers a refused request; nil answers in JSON.
	Refuse Refuse
	// Observe is told what became of each request; nil counts nothing.
	Observe func(*http.Request, Passage)
	// Log receives why requests were refused.
	Log *slog.Logger
	// Founding reports whether a request is one to create an organization: the
	// only one that takes a good credential of an organization that there is not.
	// Nil is never.
	Founding func(r *http.Request) bool
	// Refused is told of every request that is refused as unauthenticated; nil
	// tells nobody.
	Refused func(r *http.Request, err error)
}

// Wrap returns next behind the authentication. Nothing of the request but its
// path and headers is read before the caller is known.
func (m Middleware) Wrap(next http.Handler) http.Handler {
	if m.Chain == nil {
		m.Chain = &Chain{} // recognizes nobody
	}
	if m.Excludes == nil {
		m.Excludes, _ = NewExcludes() // without patterns there is nothing to be wrong
	}
	if m.Observe == nil {
		m.Observe = func(*http.Request, Passage) {}
	}
	if m.Refuse == nil {
		m.Refuse = refuseJSON
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := m.identify(r)
		if err != nil {
			m.refuse(w, r, err)
			return
		}
		if who, _ := caller.From(ctx); who.Kind == caller.Anonymous {
			m.Observe(r, PassedOpen)
		} else {
			m.Observe(r, PassedKnown)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// identify returns the request's context with the caller on it. On an open path
// nobody is asked, and a credential that happens to be sent counts for nothing.
func (m Middleware) identify(r *http.Request) (context.Context, error) {
	ctx := r.Context()
	if !m.Chain.disabled && m.Excludes.Match(r.URL) {
		return caller.WithPresence(ctx, caller.Caller{Kind: caller.Anonymous, ID: "anonymous"}, r.RemoteAddr, nil), nil
	}
	who, err := m.Chain.Authenticate(ctx, r.Header)
	if homeless := new(HomelessError); m.Founding != nil && errors.As(err, &homeless) && m.Founding(r) {
		if applicant, ok := homeless.applicant(); ok {
			return caller.WithPresence(ctx, applicant, r.RemoteAddr, nil), nil
		}
	}
	if err != nil {
		return nil, err
	}
	var again caller.Identify
	if !m.Chain.disabled {
		header := r.Header
		again = func(ctx context.Context) (caller.Caller, error) { return m.Chain.Authenticate(ctx, header) }
	}
	return caller.WithPresence(ctx, who, r.RemoteAddr, again), nil
}

func (m Middleware) refuse(w http.ResponseWriter, r *http.Request, err error) {
	level, passage := slog.LevelInfo, TurnedAway
	if fault.Is(err, fault.Unavailable) {
		level, passage = slog.LevelWarn, NotDecided
	}
	m.Observe(r, passage)
	m.Log.Log(r.Context(), level, "request refused", slog.String("path", r.URL.Path),
		slog.String("remote", r.RemoteAddr), slog.String("kind", fault.KindOf(err).String()), slog.Any("error", err))
	if fault.Is(err, fault.Unauthenticated) {
		w.Header().Set("WWW-Authenticate", challenge(r))
		if m.Refused != nil {
			m.Refused(r, err)
		}
	}
	m.Refuse(w, r, err)
}

// challenge says how to authenticate, and that a token was sent in vain
// (RFC 6750, section 3).
func challenge(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return "Bearer"
	}
	return `Bearer error="invalid_token"`
}

// refuseJSON answers in the form of the REST doors.
func refuseJSON(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusUnauthorized
	if fault.Is(err, fault.Unavailable) {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": fault.Message(err)})
}
