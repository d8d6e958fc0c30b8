package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/openapi"
	"github.com/flovyn/flovyn-server/internal/openapi/openapitest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// restClient sends requests over REST, and holds them and their answers against
// the document that the server itself serves.
type restClient struct {
	base    string
	checker *openapitest.Checker
}

func newRESTClient(t *testing.T, s *servertest.Server) *restClient {
	t.Helper()
	c := &restClient{base: s.HTTP}
	status, _, document := c.send(t, http.MethodGet, openapi.DocumentPath, servertest.AdminKey, "")
	if status != http.StatusOK {
		t.Fatalf("the document is answered %d: %s", status, document)
	}
	c.checker = openapitest.New(t, document)
	return c
}

// do sends a request that is as documented.
func (c *restClient) do(t *testing.T, method, path, key, body string) (status int, answer string) {
	t.Helper()
	status, header, content := c.send(t, method, path, key, body)
	c.checker.Check(t, openapitest.Exchange{
		Method: method, URL: path, Body: []byte(body), Status: status, AnswerHeader: header, Answer: content,
	})
	return status, strings.TrimSuffix(string(content), "\n")
}

func (c *restClient) send(t *testing.T, method, path, key, body string) (status int, header http.Header, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := overHTTP1(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

func TestREST(t *testing.T) {
	t.Parallel()
	c := newRESTClient(t, servertest.New(t))
	const foreign = `{"error":"organization not found"}`
	for name, test := range map[string]struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		"a stranger": {
			"GET", "/api/orgs/acme", "", "", 401, `{"error":"missing or invalid credentials"}`,
		},
		"a foreign organization": {"GET", "/api/orgs/globex", servertest.AdminKey, "", 404, foreign},
		"no organization":        {"GET", "/api/orgs/nobody", servertest.AdminKey, "", 404, foreign},
		"foreign executions":     {"GET", "/api/orgs/globex/workflow-executions", servertest.AdminKey, "", 404, foreign},
		"an escaped slash":       {"GET", "/api/orgs/acme%2Fx", servertest.AdminKey, "", 404, foreign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status, answer := c.do(t, test.method, test.path, test.key, test.body); status != test.status || answer != test.want {
				t.Errorf("%d %s, want %d %s", status, answer, test.status, test.want)
			}
		})
	}
	for path, want := range map[string]int{"/api": 404, "/api/": 404, "/api/nonsense": 404, "/api/orgs/acme/": 404} {
		status, header, answer := c.send(t, http.MethodGet, path, servertest.AdminKey, "")
		if status != want || !strings.HasPrefix(string(answer), `{"error":"`) || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, header, _ := c.send(t, http.MethodDelete, "/api/orgs/acme", servertest.AdminKey, ""); status != 405 || header.Get("Allow") != "GET, HEAD" {
		t.Errorf("DELETE: %d, Allow: %s", status, header.Get("Allow"))
	}
	status, answer := c.do(t, http.MethodGet, "/api/orgs/acme", servertest.AdminKey, "")
	var org struct{ ID, Slug string }
	if err := json.Unmarshal([]byte(answer), &org); err != nil || status != 200 || org.Slug != "acme" || org.ID != servertest.Org.String() {
		t.Errorf("%d %s (%v)", status, answer, err)
	}
}

// What the rules of a message find is named by its path in JSON.
func TestRESTNamesTheFieldsAtFault(t *testing.T) {
	t.Parallel()
	c := newRESTClient(t, servertest.New(t))
	for target, want := range map[string]string{
		"GET /api/orgs/acme/workflow-executions?limit=0":                              "/limit",
		"GET /api/orgs/acme/workflow-executions/7":                                    "/id",
		`POST /api/orgs/acme/schedules {"name":"x","target":{"type":"nonsense"}}`:     "/scheduleType /target/type",
		`POST /api/orgs/acme/task-executions {"kind":"x","maxRetries":11,"queue":""}`: "/maxRetries",
		`POST /api/orgs/acme/task-executions {"kind":"x","input":{"a":1},"b":2}`:      "/b",
	} {
		method, rest, _ := strings.Cut(target, " ")
		path, body, _ := strings.Cut(rest, " ")
		status, _, answer := c.send(t, method, path, servertest.AdminKey, body)
		var problem struct {
			Error   string
			Details []struct{ Path, Message string }
		}
		if err := json.Unmarshal(answer, &problem); err != nil {
			t.Errorf("%s: %v: %s", target, err, answer)
		}
		var paths []string
		for _, d := range problem.Details {
			paths = append(paths, d.Path)
		}
		if status != 400 || problem.Error == "" || strings.Join(paths, " ") != want {
			t.Errorf("%s: %d %s, want %s", target, status, answer, want)
		}
	}
}

// The documentation needs a credential unless the configuration says otherwise,
// and what it names is all that becomes open.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	closed := servertest.New(t)
	open := servertest.New(t, func(c *config.Config) {
		c.Auth.Endpoints.HTTP.ExcludePaths = []string{"/_/health", openapi.PagePath, openapi.DocumentPath}
	})
	for path, want := range map[string]int{
		openapi.PagePath: 200, openapi.DocumentPath: 200, openapi.PagePath + "/": 401, openapi.PagePath + "/swagger-ui.css": 401, "/api/orgs/acme": 401,
	} {
		status, header, _ := (&restClient{base: open.HTTP}).send(t, http.MethodGet, path, "", "")
		if status != want {
			t.Errorf("%s is answered %d where it is open, want %d", path, status, want)
		}
		if want == 200 && header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s has no policy for its content", path)
		}
		if status, _, _ := (&restClient{base: closed.HTTP}).send(t, http.MethodGet, path, "", ""); status != 401 {
			t.Errorf("%s is answered %d where it is not open", path, status)
		}
	}
	if status, _, page := (&restClient{base: closed.HTTP}).send(t, http.MethodGet, openapi.PagePath, servertest.MemberKey, ""); status != 200 ||
		!strings.Contains(string(page), "<title>Flovyn Server API</title>") {
		t.Errorf("with a credential the page is answered %d", status)
	}
}

// Pages of configured origins may use REST.
func TestRESTCrossOrigin(t *testing.T) {
	t.Parallel()
	const origin = "https://app.example.com"
	s := servertest.New(t, func(c *config.Config) { c.Server.CORSOrigins = []string{origin} })
	u, err := url.JoinPath(s.HTTP, "/api/orgs/acme/schedules/7")
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		got := request(t, overHTTP1(t), http.MethodOptions, u, map[string]string{
			"Origin": origin, "Access-Control-Request-Method": method,
			"Access-Control-Request-Headers": "authorization,content-type,if-none-match,last-event-id",
		}, "")
		if got.status != http.StatusNoContent || got.header.Get("Access-Control-Allow-Origin") != origin ||
			method != "HEAD" && got.header.Get("Access-Control-Allow-Methods") != method {
			t.Errorf("%s: %d %v", method, got.status, got.header)
		}
	}
	got := request(t, overHTTP1(t), http.MethodGet, u, map[string]string{"Origin": origin}, "")
	exposed := strings.ToLower(got.header.Get("Access-Control-Expose-Headers"))
	for _, header := range []string{"etag", "location", "retry-after", "www-authenticate", "x-request-id"} {
		if !strings.Contains(exposed, header) {
			t.Errorf("%s is not exposed: %s", header, exposed)
		}
	}
}
