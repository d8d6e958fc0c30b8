package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// serviceKey is that of a service without an organization.
const serviceKey = "flovyn_service_of_no_organization"

// withService adds the key of a service to a server's chains.
func withService(cfg *config.Config) {
	cfg.Auth.StaticAPIKey.Keys = append(cfg.Auth.StaticAPIKey.Keys, config.StaticKey{
		Key: serviceKey, PrincipalType: caller.Service, PrincipalID: "app",
	})
}

// ask calls a procedure of the management API in Connect JSON.
func ask(t *testing.T, url, credential, procedure, body string) reply {
	t.Helper()
	header := map[string]string{"Content-Type": "application/json"}
	if credential != "" {
		header["Authorization"] = "Bearer " + credential
	}
	return request(t, overHTTP1(t), http.MethodPost, url+"/flovyn.api.v1."+procedure, header, body)
}

// text returns a member of a JSON object, by its path.
func text(t *testing.T, body string, path ...string) string {
	t.Helper()
	object := decode(t, body)
	for _, name := range path[:len(path)-1] {
		object, _ = object[name].(map[string]any)
	}
	value, _ := object[path[len(path)-1]].(string)
	return value
}

// Who may create an organization, and what becomes of everybody else.
func TestCreateOrganization(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	for _, slug := range []string{"initech", "hooli"} {
		app.AddOrg(standin.Org{ID: "external-" + slug, Slug: slug, Name: slug})
		for _, role := range []string{"owner", "admin", "member"} {
			user := role + "-of-" + slug
			app.AddUser(standin.User{ID: user, Email: user + "@example.com", Name: user})
			app.AddMember(user, "external-"+slug, role)
		}
	}
	s := servertest.New(t, guideChains(app), withService)
	const create = "OrganizationService/CreateOrganization"
	try := func(name, credential, body string, status int, says string) {
		t.Helper()
		if got := ask(t, s.HTTP, credential, create, body); got.status != status || !strings.Contains(got.body, says) {
			t.Errorf("%s: %d %s, want %d %s", name, got.status, got.body, status, says)
		}
	}
	slugged := func(slug string) string { return `{"name":"Some Corp","slug":"` + slug + `"}` }
	owner, member := tokenOf(t, app, "owner-of-initech"), tokenOf(t, app, "member-of-initech")

	try("a stranger", "", slugged("initech"), 401, "missing or invalid credentials")
	try("a bad token", owner+"AA", slugged("initech"), 401, "missing or invalid credentials")
	try("a member", member, slugged("initech"), 403, "Access denied")
	try("another slug", owner, slugged("hooli"), 403, "Access denied")
	try("an existing slug of others", owner, slugged("acme"), 403, "Access denied")
	try("no slug", owner, slugged(""), 400, "slug")
	try("no name", owner, `{"slug":"initech"}`, 400, "name")
	try("a tier that there is not", owner, `{"slug":"initech","name":"x","tier":"GOLD"}`, 400, "tier")
	if got := ask(t, s.HTTP, owner, "IdentityService/WhoAmI", "{}"); got.status != 401 || !strings.Contains(got.body, "Unknown organization: initech") {
		t.Errorf("before it exists, elsewhere: %d %s", got.status, got.body)
	}
	try("the owner", owner, `{"name":"Initech","slug":"initech","tier":"PRO","region":"eu"}`, 200, `"slug":"initech"`)
	try("the owner again", owner, slugged("initech"), 409, "exists already")
	try("a member, now that it exists", member, slugged("initech"), 403, "Access denied")
	try("an admin", tokenOf(t, app, "admin-of-hooli"), slugged("hooli"), 200, `"tier":"FREE"`)
	got := ask(t, s.HTTP, owner, "OrganizationService/GetOrganization", `{"org":"initech"}`)
	if o := decode(t, got.body)["organization"].(map[string]any); got.status != 200 || o["name"] != "Initech" || o["tier"] != "PRO" || o["region"] != "eu" || o["createdAt"] == nil {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, absent := range []string{"acme", "nowhere-at-all"} {
		if got := ask(t, s.HTTP, owner, "OrganizationService/GetOrganization", `{"org":"`+absent+`"}`); got.status != 404 || text(t, got.body, "message") != "organization not found" {
			t.Errorf("another organization: %d %s", got.status, got.body)
		}
	}

	// It is bound to the provider's id from the start.
	app.AddOrg(standin.Org{ID: "external-thief", Slug: "initech", Name: "Thief"})
	app.AddUser(standin.User{ID: "thief", Email: "t@example.com", Name: "Thief"})
	app.AddMember("thief", "external-thief", "owner")
	if got := ask(t, s.HTTP, tokenOf(t, app, "thief"), "IdentityService/WhoAmI", "{}"); got.status != 401 || !strings.Contains(got.body, "Unknown organization: initech") {
		t.Errorf("the same slug of somebody else: %d %s", got.status, got.body)
	}
	try("the same slug of somebody else", tokenOf(t, app, "thief"), slugged("initech"), 401, "Unknown organization: initech")

	// A service creates any; a key of an organization, none.
	try("a service", serviceKey, slugged("vandelay"), 200, `"slug":"vandelay"`)
	try("a service again", serviceKey, slugged("vandelay"), 409, "exists already")
	for _, slug := range []string{"Vandelay", "a", "-a-b", "api", strings.Repeat("x", 64), "ünï", "a b", "a/b"} {
		try("a service, slug "+slug, serviceKey, slugged(slug), 400, "slug")
	}
	try("an admin's key", servertest.AdminKey, slugged("other"), 403, "Access denied")
	try("an admin's key, its own", servertest.AdminKey, slugged("acme"), 409, "exists already")
	try("a worker's key", servertest.MemberKey, slugged("acme"), 403, "Access denied")
	if got := ask(t, s.HTTP, serviceKey, "OrganizationService/GetOrganization", `{"org":"vandelay"}`); got.status != 404 {
		t.Errorf("a service looks into an organization: %d %s", got.status, got.body)
	}
	if got := ask(t, s.HTTP, serviceKey, "IdentityService/WhoAmI", `{}`); got.status != 200 || strings.Contains(got.body, "orgId") {
		t.Errorf("a service asks who it is: %d %s", got.status, got.body)
	}
}

// A token of an organization that there is not opens the one procedure, and
// nothing else: no other, at no other path, in no other way.
func TestTokenOfNoOrganizationOpensNothingElse(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app), func(cfg *config.Config) {
		cfg.Auth.Endpoints.GRPC.Authenticators = cfg.Auth.Endpoints.HTTP.Authenticators
		cfg.Auth.Endpoints.GRPC.Authorizer = config.AuthorizerNoop // not even where everything is permitted
	})
	token := tokenOf(t, app, "owner-of-nowhere")
	for port, url := range ports(s) {
		for _, p := range protocols {
			client := p.dial(t, url, token)
			for _, spec := range procedures(t) {
				in, out := messages(spec)
				err := call(t, client, spec, in, out)
				if connect.CodeOf(err) != connect.CodeUnauthenticated || !strings.Contains(err.Error(), "Unknown organization: nowhere") {
					t.Errorf("%s %s: %s: %v", port, p.name, spec.Procedure, err)
				}
			}
		}
		header := map[string]string{"Authorization": "Bearer " + token}
		for _, at := range []string{"GET /api/orgs", "POST /api/orgs/", "POST /api/orgs/nowhere", "POST //api/orgs", "POST /api/./orgs", "POST /api%2forgs"} {
			method, path, _ := strings.Cut(at, " ")
			if got := request(t, overHTTP1(t), method, url+path, header, "{}"); got.status != 401 {
				t.Errorf("%s at %s: %d %s", at, port, got.status, got.body)
			}
		}
	}
	// Where everything is permitted it is still only the one organization.
	if got := ask(t, s.GRPC, token, "OrganizationService/CreateOrganization", `{"name":"x","slug":"other"}`); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Everybody learns who the server takes them for.
func TestWhoAmI(t *testing.T) {
	t.Parallel()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app))
	made := ask(t, s.HTTP, servertest.AdminKey, "WorkerTokenService/CreateWorkerToken", `{"org":"acme","displayName":"n","expiresInSeconds":"3600"}`)
	for name, test := range map[string]struct{ url, credential, kind, id, role, authenticator, email string }{
		"a static key":  {s.HTTP, servertest.MemberKey, "user", "member", "MEMBER", "static_api_key", ""},
		"a JWT":         {s.HTTP, tokenOf(t, app, "owner-of-acme"), "user", "owner-of-acme", "OWNER", "better_auth_jwt", "owner@acme"},
		"a user's key":  {s.HTTP, app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: "owner-of-acme", OrgID: "external-acme"}), "user", "owner-of-acme", "MEMBER", "better_auth_api_key", ""},
		"worker's key":  {s.GRPC, app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: "owner-of-acme", OrgID: "external-acme"}), "worker", "owner-of-acme", "", "better_auth_api_key", ""},
		"worker token":  {s.GRPC, text(t, made.body, "token"), "worker", "worker-token:" + text(t, made.body, "id"), "", "worker_token", ""},
		"static worker": {s.GRPC, servertest.WorkerKey, "worker", "worker", "", "static_api_key", ""},
	} {
		got := ask(t, test.url, test.credential, "IdentityService/WhoAmI", "{}")
		if got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
			continue
		}
		say := func(member string) string { return text(t, got.body, member) }
		if say("principalType") != test.kind || say("principalId") != test.id || say("role") != test.role || say("authenticator") != test.authenticator ||
			say("email") != test.email || say("orgSlug") != "acme" || say("orgId") != servertest.Org.String() || say("serverVersion") != "test" || say("serverTime") == "" {
			t.Errorf("%s: %s", name, got.body)
		}
		if expires := say("expiresAt") != ""; expires != (test.authenticator == "better_auth_jwt" || test.authenticator == "worker_token") {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	if got := ask(t, s.HTTP, "", "IdentityService/WhoAmI", "{}"); got.status != 401 {
		t.Errorf("nobody: %d %s", got.status, got.body)
	}
}

// A worker token lives by the API as it does by the operator's commands: it is
// shown once, works, is listed without its text, and ends when it is revoked.
func TestWorkerTokenService(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, guideChains(newProvider(t)))
	const service = "WorkerTokenService/"
	create := func(credential, org, name string) reply {
		t.Helper()
		return ask(t, s.HTTP, credential, service+"CreateWorkerToken", `{"org":"`+org+`","displayName":"`+name+`","description":"d"}`)
	}
	made := create(servertest.AdminKey, "acme", "build-farm")
	token, id := text(t, made.body, "token"), text(t, made.body, "id")
	if made.status != 200 || !strings.HasPrefix(token, "fwt_") || len(token) < 36 || text(t, made.body, "createdAt") == "" {
		t.Fatalf("%d %s", made.status, made.body)
	}
	if got := startWorkflow(t, s.GRPC, token); got.status != 200 {
		t.Errorf("it does not work: %d %s", got.status, got.body)
	}
	foreign := create(servertest.ForeignAdminKey, "globex", "theirs")
	for i := range 3 {
		create(servertest.AdminKey, "acme", fmt.Sprint("more-", i))
	}
	got := ask(t, s.HTTP, servertest.AdminKey, service+"ListWorkerTokens", `{"org":"acme","limit":2,"offset":2}`)
	list, _ := decode(t, got.body)["tokens"].([]any)
	if len(list) != 2 || decode(t, got.body)["total"] != "4" || strings.Contains(got.body, token[16:]) || !strings.Contains(got.body, `"build-farm"`) ||
		!strings.Contains(got.body, token[:16]) || !strings.Contains(got.body, `"user:admin"`) {
		t.Errorf("%s", got.body)
	}
	byID := func(credential, procedure, org, id string) reply {
		return ask(t, s.HTTP, credential, service+procedure, `{"org":"`+org+`","id":"`+id+`"}`)
	}
	if got := byID(servertest.AdminKey, "GetWorkerToken", "acme", id); got.status != 200 || strings.Contains(got.body, token[16:]) || text(t, got.body, "workerToken", "lastUsedAt") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	absent := uuid.NewString()
	for _, procedure := range []string{"GetWorkerToken", "RevokeWorkerToken"} {
		theirs, nobodys := byID(servertest.AdminKey, procedure, "acme", text(t, foreign.body, "id")), byID(servertest.AdminKey, procedure, "acme", absent)
		hide := strings.NewReplacer(text(t, foreign.body, "id"), "ID", absent, "ID").Replace
		if theirs.status != 404 || hide(theirs.body) != hide(nobodys.body) || nobodys.status != 404 {
			t.Errorf("%s: a foreign id %d %s, an absent one %d %s", procedure, theirs.status, theirs.body, nobodys.status, nobodys.body)
		}
		if got := byID(servertest.MemberKey, procedure, "acme", id); got.status != 403 {
			t.Errorf("%s by a member: %d %s", procedure, got.status, got.body)
		}
	}
	if got := startWorkflow(t, s.GRPC, text(t, foreign.body, "token")); got.status != 403 {
		t.Errorf("a foreign token was harmed: %d %s", got.status, got.body)
	}
	for range 2 {
		if got := byID(servertest.AdminKey, "RevokeWorkerToken", "acme", id); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if got := startWorkflow(t, s.GRPC, token); got.status != 401 {
		t.Errorf("a revoked token: %d %s", got.status, got.body)
	}
	for name, bad := range map[string]string{
		"no name": `{"org":"acme"}`, "a blank name": `{"org":"acme","displayName":" "}`, "a past": `{"org":"acme","displayName":"n","expiresInSeconds":"0"}`,
	} {
		if got := ask(t, s.HTTP, servertest.AdminKey, service+"CreateWorkerToken", bad); got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	without := servertest.New(t)
	if got := ask(t, without.HTTP, servertest.AdminKey, service+"CreateWorkerToken", `{"org":"acme","displayName":"n"}`); got.status != 400 || !strings.Contains(got.body, "worker_token is not among") {
		t.Errorf("where none are accepted: %d %s", got.status, got.body)
	}
}

// Refusals and changes leave records, which those who run the organization read;
// reading leaves none.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, guideChains(newProvider(t)))
	const create = "WorkerTokenService/CreateWorkerToken"
	made := ask(t, s.HTTP, servertest.AdminKey, create, `{"org":"acme","displayName":"n"}`)
	ask(t, s.HTTP, servertest.AdminKey, create, `{"org":"acme","displayName":" "}`)              // fails
	ask(t, s.HTTP, servertest.MemberKey, create, `{"org":"acme","displayName":"n"}`)             // is denied
	ask(t, s.HTTP, servertest.ForeignAdminKey, create, `{"org":"acme","displayName":"n"}`)       // trespasses
	ask(t, s.HTTP, "flovyn_nobody", create, `{"org":"acme","displayName":"n"}`)                  // is unknown
	ask(t, s.HTTP, servertest.AdminKey, "WorkerTokenService/ListWorkerTokens", `{"org":"acme"}`) // reads
	startWorkflow(t, s.HTTP, servertest.ForeignAdminKey)                                         // is of the worker protocol, and denied

	list := func(credential, org, more string) reply {
		return ask(t, s.HTTP, credential, "AuditService/ListAuditRecords", `{"org":"`+org+`"`+more+`}`)
	}
	await(t, "the records", func() bool {
		return count(t, s.DSN, "SELECT count(*) FROM audit_record") >= 6
	})
	describe := func(r reply) (lines []string) {
		records, _ := decode(t, r.body)["records"].([]any)
		for _, record := range records {
			r, _ := record.(map[string]any)
			lines = append(lines, fmt.Sprintf("%s %s %s %s", r["outcome"], r["principal"], r["procedure"], r["action"]))
			if r["requestId"] == "" || r["remoteAddress"] != "127.0.0.1" || r["at"] == nil {
				t.Errorf("%v", r)
			}
		}
		return lines
	}
	const procedure = "/flovyn.api.v1." + create
	want := "denied user:member " + procedure + " manage\nfailed user:admin " + procedure + " manage\nallowed user:admin " + procedure + " manage"
	own := list(servertest.AdminKey, "acme", "")
	if got := strings.Join(describe(own), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(own.body, `"resourceId":"acme/`+text(t, made.body, "id")+`"`) {
		t.Errorf("the record does not say what came into being: %s", own.body)
	}
	if got := describe(list(servertest.AdminKey, "acme", `,"outcome":"denied","principal":"user:member"`)); len(got) != 1 {
		t.Errorf("%v", got)
	}
	want = "denied user:admin-of-globex /flovyn.v1.WorkflowDispatch/StartWorkflow execute\ndenied user:admin-of-globex " + procedure + " manage"
	if got := strings.Join(describe(list(servertest.ForeignAdminKey, "globex", "")), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	page := list(servertest.AdminKey, "acme", `,"limit":2`)
	rest := list(servertest.AdminKey, "acme", `,"limit":2,"pageToken":"`+text(t, page.body, "nextPageToken")+`"`)
	if len(describe(page)) != 2 || len(describe(rest)) != 1 || text(t, rest.body, "nextPageToken") != "" {
		t.Errorf("%s\n%s", page.body, rest.body)
	}
	for name, test := range map[string]struct {
		got    reply
		status int
	}{
		"a member":         {list(servertest.MemberKey, "acme", ""), 403},
		"another's":        {list(servertest.ForeignAdminKey, "acme", ""), 404},
		"a bad token":      {list(servertest.AdminKey, "acme", `,"pageToken":"x"`), 400},
		"another bad one":  {list(servertest.AdminKey, "acme", `,"pageToken":"`+strings.Repeat("_", 32)+`"`), 400},
		"a bad outcome":    {list(servertest.AdminKey, "acme", `,"outcome":"x"`), 400},
		"too many at once": {list(servertest.AdminKey, "acme", `,"limit":101`), 400},
	} {
		if test.got.status != test.status {
			t.Errorf("%s: %d %s", name, test.got.status, test.got.body)
		}
	}
	if n := count(t, s.DSN, "SELECT count(*) FROM audit_record WHERE org_id IS NULL AND outcome = 'denied' AND principal = ''"); n != 1 {
		t.Errorf("%d records of strangers", n)
	}
}

// What is noted when the server is told to stop is written before it has stopped.
func TestAuditIsWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for range 20 {
		ask(t, s.HTTP, servertest.MemberKey, "AuditService/ListAuditRecords", `{"org":"acme"}`)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.DSN, "SELECT count(*) FROM audit_record"); n != 20 {
		t.Errorf("%d records", n)
	}
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begin := time.Now(); !so(); {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("%s did not come in time", what)
		}
	}
}

// count returns the number that a query finds.
func count(t *testing.T, dsn, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A poll whose credential is revoked while it waits gets no work: the work stays
// for somebody else.
func TestPollOfARevokedCredential(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, guideChains(newProvider(t)))
	org := servertest.Org.String()
	good := protocols[0].dial(t, s.GRPC, servertest.WorkerKey)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for name, work := range map[string]struct {
		poll  func(context.Context, *connect.Client) (string, error)
		begin func(context.Context, *connect.Client) (string, error)
	}{
		"workflow": {
			func(ctx context.Context, c *connect.Client) (string, error) {
				got, err := flovynv1connect.NewWorkflowDispatchClient(c).PollWorkflow(ctx, &flovynv1.PollRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 50})
				return got.GetWorkflowExecution().GetId(), err
			},
			func(ctx context.Context, c *connect.Client) (string, error) {
				got, err := flovynv1connect.NewWorkflowDispatchClient(c).StartWorkflow(ctx, &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Queue: "q"})
				return got.GetWorkflowExecutionId(), err
			},
		},
		"task": {
			func(ctx context.Context, c *connect.Client) (string, error) {
				got, err := flovynv1connect.NewTaskExecutionClient(c).PollTask(ctx, &flovynv1.PollTaskRequest{OrgId: org, WorkerId: "w", Queue: "q", TimeoutSeconds: 50})
				return got.GetTask().GetTaskExecutionId(), err
			},
			func(ctx context.Context, c *connect.Client) (string, error) {
				got, err := flovynv1connect.NewTaskExecutionClient(c).SubmitTask(ctx, &flovynv1.SubmitTaskRequest{OrgId: org, Kind: "k", Queue: "q"})
				return got.GetTaskExecutionId(), err
			},
		},
	} {
		made := ask(t, s.HTTP, servertest.AdminKey, "WorkerTokenService/CreateWorkerToken", `{"org":"acme","displayName":"n"}`)
		revoked := protocols[0].dial(t, s.GRPC, text(t, made.body, "token"))
		ended := make(chan error, 1)
		go func() {
			_, err := work.poll(ctx, revoked)
			ended <- err
		}()
		await(t, "the poll", func() bool { return s.Waiting() == 1 })
		if got := ask(t, s.HTTP, servertest.AdminKey, "WorkerTokenService/RevokeWorkerToken", `{"org":"acme","id":"`+text(t, made.body, "id")+`"}`); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		began, err := work.begin(ctx, good)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-ended; connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: %v, want unauthenticated", name, err)
		}
		if got, err := work.poll(ctx, good); err != nil || got != began {
			t.Errorf("%s: %q, %v, want the work that was taken back", name, got, err)
		}
	}
}

// Streams end with the credential, or at the age at which they have to.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, guideChains(newProvider(t)), func(cfg *config.Config) { cfg.Auth.StreamMaxAge = 3 * time.Second })
	made := ask(t, s.HTTP, servertest.AdminKey, "WorkerTokenService/CreateWorkerToken", `{"org":"acme","displayName":"n","expiresInSeconds":"2"}`)
	for _, p := range protocols {
		for credential, want := range map[string]connect.Code{
			text(t, made.body, "token"): connect.CodeUnauthenticated, servertest.WorkerKey: connect.CodeUnavailable,
		} {
			t.Run(p.name+"/"+want.String(), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				stream, err := flovynv1connect.NewWorkflowDispatchClient(p.dial(t, s.GRPC, credential)).SubscribeToNotifications(
					ctx, &flovynv1.SubscriptionRequest{OrgId: servertest.Org.String(), WorkerId: "w"})
				if err == nil {
					_, err = stream.Receive()
				}
				if connect.CodeOf(err) != want {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
}
