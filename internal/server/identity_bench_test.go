package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// sink is an answer that goes nowhere.
type sink struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return s.body.Write(p) }

// BenchmarkIdentity measures what it costs to know the caller of a unary call and
// to permit it: the same call with authentication off, and with each of the
// authenticators, their memories warm. There is no network in it: what is measured
// is the handler of a door.
func BenchmarkIdentity(b *testing.B) {
	app, err := standin.Start(context.WithoutCancel(b.Context()), standin.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = app.Close() })
	app.AddOrg(standin.Org{ID: "external-acme", Slug: servertest.OrgSlug, Name: "Acme"})
	app.AddUser(standin.User{ID: "owner", Email: "o@example.com", Name: "O"})
	app.AddMember("owner", "external-acme", "owner")
	session, err := app.SignIn("owner")
	if err != nil {
		b.Fatal(err)
	}
	chain := []string{"better_auth_jwt", "better_auth_api_key", "worker_token", "static_api_key"}
	secured := servertest.New(b, guideChains(app), func(cfg *config.Config) { cfg.Auth.Endpoints.HTTP.Authenticators = chain })
	open := servertest.New(b, func(cfg *config.Config) { cfg.Auth.Enabled = false })
	serve := func(s *servertest.Server, credential, path, body string) *sink {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, path, bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Content-Type", "application/json")
		if credential != "" {
			r.Header.Set("Authorization", "Bearer "+credential)
		}
		w := &sink{header: http.Header{}}
		s.Door().ServeHTTP(w, r)
		return w
	}
	var made struct{ Token string }
	token := serve(secured, servertest.AdminKey, "/flovyn.api.v1.WorkerTokenService/CreateWorkerToken", `{"org":"acme","displayName":"b"}`)
	if err := json.Unmarshal(token.body.Bytes(), &made); err != nil {
		b.Fatal(err, token.body.String())
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, app.URL()+"/api/auth/token", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+session)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	var jwt struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&jwt); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name, credential string
		server           *servertest.Server
	}{
		{"off", "", open},
		{"static_api_key", servertest.WorkerKey, secured},
		{"worker_token", made.Token, secured},
		{"better_auth_jwt", jwt.Token, secured},
		{"better_auth_api_key", app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "owner", OrgID: "external-acme"}), secured},
	} {
		b.Run(bench.name, func(b *testing.B) {
			// An empty report is validated and permitted, and then costs nothing.
			const procedure = "/flovyn.v1.WorkflowDispatch/ReportExecutionSpans"
			if got := serve(bench.server, bench.credential, procedure, "{}"); got.status != 0 && got.status != http.StatusOK {
				b.Fatalf("%d %s", got.status, got.body.String())
			}
			b.ReportAllocs()
			for b.Loop() {
				serve(bench.server, bench.credential, procedure, "{}")
			}
		})
	}
}
