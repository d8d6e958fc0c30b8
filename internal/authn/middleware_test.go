package authn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authn/statickey"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

var worker = caller.Caller{
	Kind: caller.Worker, ID: "worker:test", Authenticator: statickey.Name, Org: flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")),
}

// provider stands for an identity provider that is down.
type provider struct{}

func (provider) Name() string { return "provider" }

func (provider) Authenticate(_ context.Context, c authn.Credential) authn.Result {
	if strings.HasPrefix(c.Token(), "flovyn_sk_") {
		return authn.Unanswered(errors.New("validation service: connection refused"))
	}
	return authn.Result{}
}

func newChain(t *testing.T) *authn.Chain {
	t.Helper()
	keys, err := statickey.New([]statickey.Key{{Secret: "flovyn_wk_test_0123456789abcdef", Caller: worker}})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authn.NewChain(provider{}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// unread fails the test when anybody reads the body.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read before the caller was known")
	return 0, io.EOF
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	excludes, err := authn.NewExcludes("/api/docs")
	if err != nil {
		t.Fatal(err)
	}
	anonymous := caller.Caller{Kind: caller.Anonymous, ID: "anonymous"}
	for name, test := range map[string]struct {
		path      string
		header    http.Header
		status    int
		caller    caller.Caller
		body      string
		challenge string
	}{
		"known": {
			path: "/api/orgs", header: http.Header{"Authorization": {"bearer flovyn_wk_test_0123456789abcdef"}},
			status: 200, caller: worker,
		},
		"no credential": {
			path: "/api/orgs", status: 401,
			body: `{"error":"missing or invalid credentials"}`, challenge: "Bearer",
		},
		"unknown": {
			path: "/api/orgs", header: http.Header{"Authorization": {"Bearer fwt_placeholder-s3cr3t"}}, status: 401,
			body: `{"error":"missing or invalid credentials"}`, challenge: `Bearer error="invalid_token"`,
		},
		"provider down": {
			path: "/api/orgs", header: http.Header{"Authorization": {"Bearer flovyn_sk_s3cr3t"}}, status: 503,
			body: `{"error":"credentials cannot be checked at the moment; try again"}`,
		},
		"health":   {path: "/_/health", status: 200, caller: anonymous},
		"excluded": {path: "/api/docs", status: 200, caller: anonymous},
		"excluded, with a bad credential": {
			path: "/api/docs", header: http.Header{"Authorization": {"Basic x"}}, status: 200, caller: anonymous,
		},
		"excluded, with a good credential": {
			path: "/api/docs", header: http.Header{"Authorization": {"Bearer flovyn_wk_test_0123456789abcdef"}},
			status: 200, caller: anonymous,
		},
		"around the exclusion": {
			path: "/_/health/../../api/orgs", status: 401,
			body: `{"error":"missing or invalid credentials"}`, challenge: "Bearer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logged bytes.Buffer
			var seen caller.Caller
			handler := authn.Middleware{
				Chain: newChain(t), Excludes: excludes, Log: slog.New(slog.NewTextHandler(&logged, nil)),
			}.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				seen, _ = caller.From(r.Context())
			}))
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, test.path, unread{t})
			request.Header = test.header
			if request.Header == nil {
				request.Header = http.Header{}
			}
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, request)

			if response.Code != test.status {
				t.Errorf("status %d, want %d", response.Code, test.status)
			}
			if diff := cmp.Diff(test.caller, seen); diff != "" {
				t.Error(diff)
			}
			if got := strings.TrimSpace(response.Body.String()); got != test.body {
				t.Errorf("body %s, want %s", got, test.body)
			}
			if got := response.Header().Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("challenge %q, want %q", got, test.challenge)
			}
			if refused := strings.Contains(logged.String(), "request refused"); refused != (test.status != 200) {
				t.Errorf("logged %q", &logged)
			}
			if strings.Contains(logged.String(), "s3cr3t") {
				t.Errorf("the log holds the credential: %s", &logged)
			}
		})
	}
}

func TestMiddlewareRefusesInTheDoorsWords(t *testing.T) {
	t.Parallel()
	handler := authn.Middleware{
		Chain: newChain(t), Log: slog.New(slog.DiscardHandler),
		Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Grpc-Status", "16")
			_, _ = io.WriteString(w, fault.KindOf(err).String())
		},
	}.Wrap(http.NotFoundHandler())
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/flovyn.v1.WorkflowDispatch/PollWorkflow", http.NoBody))
	if response.Code != 200 || response.Body.String() != "unauthenticated" || response.Header().Get("Grpc-Status") != "16" {
		t.Errorf("%d %v %s", response.Code, response.Header(), response.Body)
	}
	if response.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Error("no challenge")
	}
}

// A middleware that nobody configured lets nobody in.
func TestMiddlewareWithoutChain(t *testing.T) {
	t.Parallel()
	handler := authn.Middleware{Log: slog.New(slog.DiscardHandler)}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("let in")
	}))
	response := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/orgs", http.NoBody)
	request.Header.Set("Authorization", "Bearer flovyn_wk_test_0123456789abcdef")
	handler.ServeHTTP(response, request)
	if response.Code != http.StatusUnauthorized {
		t.Errorf("status %d", response.Code)
	}
}

func TestMiddlewareDisabled(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/api/orgs", "/_/health"} {
		var seen caller.Caller
		handler := authn.Middleware{Chain: authn.Disabled(), Log: slog.New(slog.DiscardHandler)}.Wrap(
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen, _ = caller.From(r.Context()) }))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody))
		if !seen.Trusted || seen.Kind != caller.Anonymous {
			t.Errorf("%s: %+v", target, seen)
		}
	}
}
