package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/cli"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// beats are the signs of life of workers, which go on between two looks.
var beats = regexp.MustCompile(`"lastHeartbeatAt":"[^"]*"`)

var update = flag.Bool("update", false, "write the files that tests compare with")

// patience bounds everything that a test waits for.
const patience = time.Minute

// pgMain starts the tests as pgtest does, behind testscript, which runs this very
// binary as the program.
type pgMain struct{ m *testing.M }

func (p pgMain) Run() int { return pgtest.Run(p.m.Run) }

func TestMain(m *testing.M) {
	testscript.Main(pgMain{m}, map[string]func(){"flovyn": main})
}

// world is the server that all scripts talk to, and the app that it trusts. Every
// script has an organization of its own.
type world struct {
	*servertest.Server
	app  *standin.App
	orgs map[string]flovyn.OrgID
}

// newWorld starts a server with an organization for every name.
func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	app, err := standin.Start(t.Context(), standin.Config{PollInterval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	w := &world{app: app, orgs: map[string]flovyn.OrgID{}}
	w.Server = servertest.New(t, func(cfg *config.Config) {
		cfg.Auth.BetterAuthJWT = config.JWT{JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: "flovyn-server"}
		cfg.Auth.BetterAuth.ValidationURL = app.ValidationURL()
		cfg.Auth.WorkerToken.Secret = "a secret of this test, and of no other"
		cfg.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key", "static_api_key"}
		cfg.Auth.Endpoints.GRPC.Authenticators = []string{"better_auth_api_key", "worker_token", "static_api_key"}
		keys := &cfg.Auth.StaticAPIKey.Keys
		*keys = append(*keys, config.StaticKey{Key: "service_key", PrincipalType: caller.Service, PrincipalID: "app"})
		for _, name := range names {
			id := flovyn.OrgID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)))
			w.orgs[name] = id
			cfg.Orgs = append(cfg.Orgs, config.Org{ID: id, Name: "Org " + name, Slug: name, Tier: "FREE"})
			*keys = append(*keys,
				config.StaticKey{
					Key: config.Secret("admin_of_" + name), OrgID: id, PrincipalType: caller.User, PrincipalID: "admin",
					Role: caller.Admin,
				},
				config.StaticKey{
					Key: config.Secret("member_of_" + name), OrgID: id, PrincipalType: caller.User, PrincipalID: "member",
					Role: caller.Member,
				},
				config.StaticKey{Key: config.Secret("worker_of_" + name), OrgID: id, PrincipalType: caller.Worker, PrincipalID: "worker"})
		}
	})
	for _, name := range append([]string{"acme"}, names...) {
		w.addPerson(name)
	}
	return w
}

// addPerson adds john to the app, who owns an organization there.
func (w *world) addPerson(org string) {
	w.app.AddOrg(standin.Org{ID: "external-" + org, Slug: org, Name: org})
	w.app.AddUser(standin.User{ID: "john-of-" + org, Email: "john@example.com", Name: "John"})
	w.app.AddMember("john-of-"+org, "external-"+org, "owner")
}

func scriptNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scripts", err)
	}
	var names []string
	for _, file := range files {
		names = append(names, "org-"+strings.TrimSuffix(filepath.Base(file), ".txtar"))
	}
	return names
}

// Every command, in scripts, against a real server.
func TestScripts(t *testing.T) { //nolint:paralleltest // testscript's are parallel, and this one waits for them
	w := newWorld(t, scriptNames(t)...)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), UpdateScripts: *update, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			name := "org-" + strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("ORG", name)
			env.Setenv("FLOVYN_SERVER", w.HTTP)
			env.Setenv("FLOVYN_API_KEY", "admin_of_"+name)
			env.Setenv("GOOD", w.HTTP)
			env.Setenv("HTTPS", "https"+strings.TrimPrefix(w.HTTP, "http"))
			env.Setenv("GRPC", w.GRPC)
			env.Setenv("APP", w.app.URL())
			env.Setenv("UNKNOWN", "11111111-1111-4111-8111-111111111111")
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"worker": w.worker, "normal": w.normal, "let": let, "exits": exits, "apikey": w.apiKey,
			"settle": w.settle, "rest": w.rest,
		},
	})
}

// let NAME takes the standard output of the last command as a variable.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: let NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// exits CODE ARG... runs flovyn and wants an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE flovyn ARG...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = fmt.Sprint(err)
		if status, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err); ok {
			code = strconv.Itoa(status.ExitCode())
		}
	}
	if code != args[0] {
		ts.Fatalf("flovyn ended with %s, want %s", code, args[0])
	}
}

// rest PATH wants the last command to have printed, as JSON, what the REST API
// answers there.
func (w *world) rest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: rest PATH")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.HTTP+args[0], http.NoBody)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer admin_of_"+ts.Getenv("ORG"))
	over := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := over.Do(r)
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	var want, got bytes.Buffer
	ts.Check(json.Compact(&want, body))
	ts.Check(json.Compact(&got, []byte(ts.ReadFile("stdout"))))
	if beats.ReplaceAllString(want.String(), "") != beats.ReplaceAllString(got.String(), "") {
		ts.Fatalf("REST answers\n%s\nand flovyn prints\n%s", want.String(), got.String())
	}
}

// apikey NAME makes an API key of john in the script's organization.
func (w *world) apiKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: apikey NAME")
	}
	org := ts.Getenv("ORG")
	ts.Setenv(args[0], w.app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: "john-of-" + org, OrgID: "external-" + org, Role: "owner"}))
}

var (
	anID     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aTime    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	aNano    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`)
	anAnswer = regexp.MustCompile(`answered in \S+`)
	aToken   = regexp.MustCompile(`fwt_[0-9A-Za-z]{12,}`)
	anAge    = regexp.MustCompile(`\b[0-9.]+(ms|s) ago`)
)

// normal [stderr] writes the output of the last command to the file got, with what
// differs from run to run put in general terms, in which it keeps its width.
func (w *world) normal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: normal [stderr]")
	}
	text := ts.ReadFile(append(args, "stdout")[0])
	text = anID.ReplaceAllString(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
	text = aNano.ReplaceAllString(text, "TIME")
	text = aTime.ReplaceAllString(text, "2026-01-01T00:00:00Z")
	text = anAge.ReplaceAllString(text, "AGO")
	text = anAnswer.ReplaceAllString(text, "answered in TIME")
	text = aToken.ReplaceAllString(text, "fwt_TOKEN")
	for old, general := range map[string]string{w.HTTP: "SERVER", w.GRPC: "GRPC", w.app.URL(): "APP"} {
		text = strings.ReplaceAll(text, old, general)
	}
	ts.Check(os.WriteFile(ts.MkAbs("got"), []byte(text), 0o600))
}

// worker runs a worker of the script's organization until the script ends.
func (w *world) worker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: worker")
	}
	org := ts.Getenv("ORG")
	c, err := client.New(client.Config{URL: w.GRPC, Token: "worker_of_" + org})
	ts.Check(err)
	worker, err := flow.NewWorker(c, flow.Options{
		Org: w.orgs[org].String(), Name: "worker-of-the-script", MaxWorkflows: 2, MaxTasks: 2, GracePeriod: time.Second,
	})
	ts.Check(err)
	register(worker)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = worker.Run(ctx) }) // a worker that fails shows in what the script waits for
	ts.Defer(func() { cancel(); running.Wait(); c.Close() })
	// The next command may ask for what the worker registered.
	w.eventually(ts, "definition", "workflows", "greet")
}

// settle ARG... asks until flovyn has something to say.
func (w *world) settle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: settle ARG...")
	}
	w.eventually(ts, args...)
}

// eventually runs flovyn in this process until it prints something.
func (w *world) eventually(ts *testscript.TestScript, args ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	err := until(ctx, func() bool {
		out.Reset()
		errs.Reset()
		return cli.Run(ctx, cli.Config{
			Args: args, Environ: []string{
				"HOME=" + ts.Getenv("HOME"), "FLOVYN_SERVER=" + w.HTTP, "FLOVYN_API_KEY=admin_of_" + ts.Getenv("ORG"),
			}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		}) == 0 && out.Len() > 0
	})
	if err != nil {
		ts.Fatalf("flovyn %s has nothing to say in time: %s", strings.Join(args, " "), errs.String())
	}
}

// until waits for something to become true.
func until(ctx context.Context, is func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
