package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/flovyn/flovyn-server/internal/authz"
)

// selfTestKey marks the requests of the self-test.
type selfTestKey struct{}

// selfTest sends a request without a credential through the whole handler of
// each listener, once in each of the protocols that a mistake could treat
// differently. A server that lets one of them in does not start.
func (s *Server) selfTest(ctx context.Context) error {
	if !s.cfg.Auth.Enabled {
		return nil
	}
	ctx = context.WithValue(ctx, selfTestKey{}, true)
	procedure, err := s.protectedProcedure()
	if err != nil {
		return err
	}
	for _, l := range s.listeners {
		if l.name == metricsListener {
			continue // it serves nothing that needs a credential
		}
		for _, contentType := range []string{"application/json", "application/grpc"} {
			if err := refuses(ctx, l.http.Handler, procedure, contentType); err != nil {
				return fmt.Errorf("self-test of the %s port: %w; the server does not start", l.name, err)
			}
		}
	}
	return nil
}

// protectedProcedure returns one that no stranger may call.
func (s *Server) protectedProcedure() (string, error) {
	for spec := range s.rpc.Specs() {
		if rule, ok := authz.Lookup(spec.Procedure); ok && !rule.Public {
			return spec.Procedure, nil
		}
	}
	return "", errors.New("self-test: no procedure is protected; the server does not start")
}

// refuses fails unless a stranger's call is refused as unauthenticated.
func refuses(ctx context.Context, handler http.Handler, procedure, contentType string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, procedure, bytes.NewReader(nil))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Content-Type", contentType)
	w := &recorder{header: http.Header{}}
	handler.ServeHTTP(w, r)
	if w.status == http.StatusUnauthorized || w.header.Get("Grpc-Status") == "16" {
		return nil
	}
	if w.status == http.StatusNotFound { // the door of this protocol is closed
		return nil
	}
	return fmt.Errorf("a %s request without credentials was answered %d, not refused", contentType, w.status)
}

// recorder is a response that goes nowhere.
type recorder struct {
	header http.Header
	status int
}

// Header returns the response's headers.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader keeps the first status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write drops the body.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return len(p), nil
}
