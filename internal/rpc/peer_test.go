package rpc

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"
)

// Whose connection it is, is known only where no proxy says that it is its own.
func TestPeer(t *testing.T) {
	t.Parallel()
	var seen string
	note := func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			seen = peer(ctx)
			return next(ctx, spec, stream)
		}
	}
	server := connect.NewServer(note)
	registerHealth(server, health{ready: func(context.Context) error { return nil }, stopping: make(chan struct{})})
	mux := http.NewServeMux()
	Mount(mux, server, 1<<20)
	for header, known := range map[string]bool{"X-Other": true, "Forwarded": false, "X-Forwarded-For": false, "Via": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/grpc.health.v1.Health/Check", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(header, "192.0.2.7")
		w := httptest.NewRecorder()
		seen = "nobody"
		mux.ServeHTTP(w, r)
		if want := map[bool]string{true: r.RemoteAddr}[known]; w.Code != http.StatusOK || seen != want {
			t.Errorf("with %s: %d, peer %q, want %q", header, w.Code, seen, want)
		}
	}
}
