package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// asWritten runs a configuration of the deployment guide as it is written; only
// hosts and ports are others, and change may replace a text in it.
func asWritten(t *testing.T, app *standin.App, name string, change ...string) *servertest.Server {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "config", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	hosts := strings.NewReplacer("https://app.acme.com", app.URL(), "https://app.flovyn.ai", app.URL())
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(change...).Replace(hosts.Replace(string(text)))), 0o600); err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.New(t)
	loaded, err := config.Load(file, []string{
		"DATABASE_URL=" + dsn, "SERVER_PORT=0", "GRPC_SERVER_PORT=0", "WORKER_TOKEN_SECRET=a secret of this test, and of no other",
	})
	if err != nil {
		t.Fatal(err)
	}
	return servertest.On(t, dsn, func(cfg *config.Config) {
		*cfg = *loaded
		cfg.Server.Host = "127.0.0.1"
	})
}

// curl sends what the guide has an operator send.
func curl(t *testing.T, method, url, credential, body string) reply {
	t.Helper()
	header := map[string]string{"Content-Type": "application/json"}
	if credential != "" {
		header["Authorization"] = "Bearer " + credential
	}
	return request(t, overHTTP1(t), method, url, header, body)
}

func wants(t *testing.T, what string, got reply, status int, says string) {
	t.Helper()
	if got.status != status || !strings.Contains(got.body, says) {
		t.Errorf("%s: %d %s, want %d %s", what, got.status, got.body, status, says)
	}
}

// One organization of its own, as the guide deploys it.
func TestGuideSelfHosted(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := asWritten(t, app, "guide-selfhosted.toml")
	jwt := tokenOf(t, app, "owner-of-acme")
	user := app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: "owner-of-acme", OrgID: "external-acme"})
	worker := app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "owner-of-acme", OrgID: "external-acme"})

	wants(t, "health", curl(t, "GET", s.HTTP+"/_/health", "", ""), 200, "UP")
	if got := curl(t, "GET", s.HTTP+"/api/docs", "", ""); got.status == http.StatusUnauthorized {
		t.Errorf("the documentation needs a credential: %d", got.status)
	}
	wants(t, "no credential", curl(t, "GET", s.HTTP+"/api/orgs/acme", "", ""), 401, "error")
	wants(t, "a user's token", curl(t, "GET", s.HTTP+"/api/orgs/acme", jwt, ""), 200, `"name":"Acme Corp"`)
	wants(t, "a user's key", curl(t, "GET", s.HTTP+"/api/orgs/acme", user, ""), 200, `"slug":"acme"`)
	wants(t, "who a token is", curl(t, "GET", s.HTTP+"/api/whoami", jwt, ""), 200, `"orgSlug":"acme"`)
	wants(t, "another organization", curl(t, "GET", s.HTTP+"/api/orgs/globex", jwt, ""), 404, "not found")
	wants(t, "one that does not exist here", curl(t, "GET", s.HTTP+"/api/orgs/globex", tokenOf(t, app, "owner-of-globex"), ""), 401, "Unknown organization: globex")
	wants(t, "a token at the workers' door", startWorkflow(t, s.GRPC, jwt), 401, "")
	wants(t, "a worker", startWorkflow(t, s.GRPC, worker), 200, "workflowExecutionId")

	made := curl(t, "POST", s.HTTP+"/api/orgs/acme/worker-token/tokens", jwt, `{"displayName":"farm"}`)
	wants(t, "a worker token", made, 201, `"token":"fwt_`)
	wants(t, "a worker with it", startWorkflow(t, s.GRPC, text(t, made.body, "token")), 200, "workflowExecutionId")
	at := s.HTTP + "/api/orgs/acme/worker-token/tokens/" + text(t, made.body, "id")
	wants(t, "its record", curl(t, "GET", at, jwt, ""), 200, `"displayName":"farm"`)
	wants(t, "its end", curl(t, "DELETE", at, jwt, ""), 204, "")
	wants(t, "a worker with it, then", startWorkflow(t, s.GRPC, text(t, made.body, "token")), 401, "")
	wants(t, "what was changed", curl(t, "GET", s.HTTP+"/api/orgs/acme/audit-records", jwt, ""), 200, `"records":[`)
	wants(t, "by a member's key", curl(t, "GET", s.HTTP+"/api/orgs/acme/audit-records", user, ""), 403, "error")
}

// Many organizations, which come by the guide's curl lines, or by themselves.
func TestGuideSaaS(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	app.AddOrg(standin.Org{ID: "external-customer", Slug: "customer-corp", Name: "Customer Corp"})
	app.AddUser(standin.User{ID: "customer", Email: "c@example.com", Name: "C"})
	app.AddMember("customer", "external-customer", "owner")
	jwt := tokenOf(t, app, "customer")
	key := app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "customer", OrgID: "external-customer"})
	const body = `{
    "name": "Customer Corp",
    "slug": "customer-corp"
  }`

	s := asWritten(t, app, "guide-saas.toml")
	who := func(url, credential string) reply { return curl(t, "GET", url+"/api/whoami", credential, "") }
	wants(t, "before it exists", who(s.HTTP, jwt), 401, "Unknown organization: customer-corp")
	wants(t, "a worker before that", who(s.GRPC, key), 401, "Unknown organization: customer-corp")
	wants(t, "the guide's curl", curl(t, "POST", s.HTTP+"/api/orgs", jwt, body), 201, `"slug":"customer-corp"`)
	wants(t, "the guide's curl again", curl(t, "POST", s.HTTP+"/api/orgs", jwt, body), 409, "error")
	wants(t, "without a name", curl(t, "POST", s.HTTP+"/api/orgs", jwt, `{"slug":"customer-corp"}`), 400, "name")
	wants(t, "another slug", curl(t, "POST", s.HTTP+"/api/orgs", jwt, `{"name":"x","slug":"other-corp"}`), 403, "error")
	wants(t, "nobody", curl(t, "POST", s.HTTP+"/api/orgs", "", body), 401, "error")
	wants(t, "the organization", curl(t, "GET", s.HTTP+"/api/orgs/customer-corp", jwt, ""), 200, `"tier":"FREE"`)
	wants(t, "a worker", who(s.GRPC, key), 200, `"principalType":"worker"`)

	auto := asWritten(t, app, "guide-saas.toml", "# auto_create = true", "auto_create = true")
	wants(t, "a worker's key creates nothing", who(auto.GRPC, key), 401, "Unknown organization: customer-corp")
	wants(t, "the first request", who(auto.HTTP, jwt), 200, `"orgSlug":"customer-corp"`)
	wants(t, "a worker, then", who(auto.GRPC, key), 200, `"principalType":"worker"`)
}
