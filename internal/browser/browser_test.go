package browser

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/openapi"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience bounds every wait. A browser takes its time on a machine that is busy.
const patience = 2 * time.Minute

// programs are the names of the browsers that will do.
var programs = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
}

// browse runs a browser without a window, until the test ends or, with dump, until
// the page is there: then it returns what the page looks like.
func browse(t *testing.T, dump bool, url string) string {
	t.Helper()
	var program string
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("no Chromium: apt-get install chromium (`make test` does so as root), or install Chrome")
	}
	// The test must not fail because a process that is going writes to it once more.
	profile, err := os.MkdirTemp("", "flovyn-browser-*") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
		"--user-data-dir=" + profile,
	}
	if dump {
		args = append(args, "--virtual-time-budget=30000", "--dump-dom")
	}
	cmd := exec.CommandContext(ctx, program, append(args, url)...)
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	defer os.RemoveAll(profile)
	if dump {
		defer cancel()
		page, err := cmd.Output()
		if err != nil {
			t.Fatalf("the browser: %v\n%s", err, said.String())
		}
		return string(page)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = os.RemoveAll(profile)
		if t.Failed() {
			t.Logf("the browser said:\n%s", said.String())
		}
	})
	return ""
}

// result is what a page tells of one transport.
type result struct {
	Error     string            `json:"error"`
	Created   bool              `json:"created"`
	Live      bool              `json:"live"`
	Sequences []int             `json:"sequences"`
	First     string            `json:"first"`
	Last      string            `json:"last"`
	Output    map[string]string `json:"output"`
	Text      string            `json:"text"`
	Status    string            `json:"status"`
	Metadata  map[string]string `json:"metadata"`
}

// site is the server of a page.
type site struct {
	*httptest.Server
	settings map[string]string
	results  chan map[string]result
}

// newSite serves the page. frame, if any, is the address of another page within it.
func newSite(t *testing.T, frame string) *site {
	t.Helper()
	s := &site{results: make(chan map[string]result, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		page := `<!DOCTYPE html><title>A page of another origin</title><script type="module" src="/page.js"></script>`
		if frame != "" {
			page += `<iframe src="` + frame + `"></iframe>`
		}
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/page.js") })
	mux.HandleFunc("GET /flovyn.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../web/dist/flovyn.js")
	})
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s.settings) })
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		var all map[string]result
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			all = map[string]result{"": {Error: err.Error()}}
		}
		s.results <- all
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// wait returns what the page told.
func (s *site) wait(t *testing.T, name string) map[string]result {
	t.Helper()
	select {
	case all := <-s.results:
		return all
	case <-time.After(patience):
		t.Fatalf("the %s page did not tell what happened", name)
		return nil
	}
}

// startWorker runs a worker that greets.
func startWorker(t *testing.T, s *servertest.Server) {
	t.Helper()
	c, err := client.New(client.Config{URL: s.GRPC, Token: servertest.WorkerKey})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := flow.NewWorker(c, flow.Options{Org: servertest.Org.String(), Name: "browser", Queue: "browser"})
	if err != nil {
		t.Fatal(err)
	}
	worker.RegisterWorkflow("greet", flow.Workflow(func(_ *flow.Context, in map[string]string) (map[string]string, error) {
		return map[string]string{"greeting": "Hello, " + in["name"]}, nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the worker: %v", err)
			}
		case <-time.After(patience):
			t.Error("the worker did not stop")
		}
		c.Close()
	})
}

// A page of an origin that the server allows uses it over every transport that
// browsers have; a page of any other origin, within it, gets nothing and does
// nothing.
func TestPageOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	stranger := newSite(t, "")
	friend := newSite(t, stranger.URL)
	s := servertest.New(t, func(c *config.Config) { c.Server.CORSOrigins = []string{friend.URL} })
	for who, page := range map[string]*site{"friend": friend, "stranger": stranger} {
		page.settings = map[string]string{"baseUrl": s.HTTP, "key": servertest.MemberKey, "org": servertest.OrgSlug, "who": who}
	}
	startWorker(t, s)
	browse(t, false, friend.URL)
	for name, got := range friend.wait(t, "allowed") {
		greeting := "Hello, " + name
		sequences := make([]int, len(got.Sequences))
		for i := range sequences {
			sequences[i] = i + 1
		}
		want := result{
			Created: true, Live: true, Sequences: sequences, First: "WORKFLOW_STARTED", Last: "WORKFLOW_COMPLETED",
			Output: map[string]string{"greeting": greeting}, Text: `{"greeting":"` + greeting + `"}`, Status: "COMPLETED",
			Metadata: map[string]string{"transport": name},
		}
		if diff := cmp.Diff(want, got); diff != "" || len(sequences) < 2 {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	refused := stranger.wait(t, "refused")
	for name, got := range refused {
		if !strings.Contains(got.Error, "Failed to fetch") || got.Created {
			t.Errorf("%s: a page of an origin that is not allowed got %+v", name, got)
		}
	}
	if len(refused) != 3 {
		t.Errorf("the refused page used %d transports", len(refused))
	}
	for name := range refused {
		if !startsAnew(t, s, stranger.settings["who"]+" "+name) {
			t.Errorf("%s: the refused page started a workflow", name)
		}
	}
}

// startsAnew starts a workflow with an idempotency key, and reports whether nobody
// had used the key.
func startsAnew(t *testing.T, s *servertest.Server, key string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body := `{"kind":"greet","queue":"nobody","idempotencyKey":"` + key + `"}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		s.HTTP+"/api/orgs/"+servertest.OrgSlug+"/workflow-executions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+servertest.MemberKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		t.Fatalf("starting is answered %d", resp.StatusCode)
	}
	return resp.StatusCode == http.StatusCreated
}

// The documentation works under its own strict policy: the viewer runs, reads the
// document, and shows what is in it.
func TestDocumentationPage(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(c *config.Config) {
		c.Auth.Endpoints.HTTP.ExcludePaths = []string{openapi.PagePath, openapi.DocumentPath}
	})
	page := browse(t, true, s.HTTP+openapi.PagePath)
	_, shown, _ := strings.Cut(page, `<div id="docs">`)
	shown, _, _ = strings.Cut(shown, "<script")
	for _, text := range []string{"Flovyn Server", "Workflow Execution", "OAS 3.1"} {
		if !strings.Contains(shown, text) {
			t.Errorf("the page does not show %q", text)
		}
	}
	if _, failures, failed := strings.Cut(shown, "errors-wrapper"); failed {
		t.Errorf("the page shows errors: %.2000s", failures)
	}
}
