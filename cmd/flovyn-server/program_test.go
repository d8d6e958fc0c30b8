package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const settings = `
[server]
host = "127.0.0.1"
http_port = 0
grpc_port = 0
[[orgs]]
id = "550e8400-e29b-41d4-a716-446655440000"
name = "Acme"
slug = "acme"
[[auth.static_api_key.keys]]
key = "flovyn_sk_hunter2hunter2"
org_id = "550e8400-e29b-41d4-a716-446655440000"
principal_id = "admin"
role = "ADMIN"
[auth.endpoints.http]
authenticators = ["static_api_key"]
exclude_paths = ["/api/docs"]
[auth.endpoints.grpc]
authenticators = ["static_api_key"]
authorizer = "org_scope"
`

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// invoke runs the program to its end.
func invoke(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = program(t.Context(), args, environ, &out, &errs)
	return code, out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"version", "--version"} {
		if code, out, _ := invoke(t, nil, how); code != 0 || out != "flovyn-server dev\n" {
			t.Errorf("%s: %d %q", how, code, out)
		}
	}
}

// What cannot make sense ends with 2, says why on stderr, and tells no secret.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	url := "DATABASE_URL=postgres://flovyn:hunter2@127.0.0.1:1/flovyn"
	for name, test := range map[string]struct {
		environ []string
		args    []string
		want    string
	}{
		"an unknown command":    {nil, []string{"destroy"}, "destroy"},
		"an unknown subcommand": {nil, []string{"config", "destroy"}, "destroy"},
		"an unknown flag":       {nil, []string{"--fast"}, "--fast"},
		"no configuration":      {nil, nil, "database.url"},
		"no such file":          {nil, []string{"--config", "/does/not/exist.toml"}, "/does/not/exist.toml"},
		"no such file, by name": {[]string{"CONFIG_FILE=/does/not/exist.toml"}, []string{"migrate"}, "/does/not/exist.toml"},
		"an unknown setting":    {[]string{url}, []string{"config", "check", "--config", configFile(t, settings+"\n[server.tls]\nx = 1\n")}, "server.tls"},
		"a URL that is none": {
			[]string{"DATABASE_URL=postgres://flovyn:hunter2@h:port/flovyn"},
			[]string{"--config", configFile(t, settings)},
			"environment variable DATABASE_URL: database.url: ",
		},
		"policies that are not there": {
			[]string{url},
			[]string{"config", "check", "--config", configFile(t, settings+"[auth.cedar]\npolicy_path = \"/does/not/exist\"\n")},
			"config.toml:22: auth.cedar.policy_path: reading policies: open /does/not/exist",
		},
		"certificates that are not there": {
			[]string{url, "SERVER__TLS_CERT_FILE=/does/not/exist", "SERVER__TLS_KEY_FILE=/does/not/exist"},
			[]string{"config", "check", "--config", configFile(t, settings)},
			"environment variable SERVER__TLS_KEY_FILE: server.tls_key_file: open",
		},
		"one slug for two organizations": {
			[]string{url},
			[]string{"--config", configFile(t, settings+"[[orgs]]\nid = \"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"\nname = \"B\"\nslug = \"acme\"\n")},
			"config.toml:24: orgs[1].slug: is the slug of orgs[0]",
		},
		"a log level": {[]string{url}, []string{"--log-level", "loud"}, "loud"},
		"an authenticator": {
			[]string{url}, []string{"config", "check", "--config", configFile(t, strings.ReplaceAll(settings, `["static_api_key"]`, `["magic"]`))}, "magic",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, stderr := invoke(t, test.environ, test.args...)
			if code != exitUsage || !strings.Contains(stderr, test.want) || out != "" || strings.Contains(stderr, "hunter2") {
				t.Errorf("%d\nstdout: %s\nstderr: %s", code, out, stderr)
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	environ := []string{"DATABASE_URL=postgres://flovyn:hunter2@127.0.0.1:1/flovyn", "CONFIG_FILE=" + configFile(t, settings)}
	code, out, stderr := invoke(t, environ, "config", "check")
	if code != 0 || stderr != "" {
		t.Fatalf("%d %s", code, stderr)
	}
	for _, want := range []string{"http door", "authenticators: static_api_key", "authorizer:     org_scope", "/api/docs", "is valid"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "hunter2") {
		t.Errorf("a secret in\n%s", out)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	environ := []string{"DATABASE_URL=" + pgtest.NewEmpty(t), "CONFIG_FILE=" + configFile(t, settings)}
	for range 2 { // the second time there is nothing to do
		if code, out, stderr := invoke(t, environ, "migrate"); code != 0 || !strings.Contains(out, "up to date") {
			t.Fatalf("%d %s %s", code, out, stderr)
		}
	}
	environ[0] = "DATABASE_URL=postgres://flovyn:hunter2@127.0.0.1:1/flovyn"
	if code, _, stderr := invoke(t, environ, "migrate"); code != exitFailure || strings.Contains(stderr, "hunter2") {
		t.Errorf("without a database: %d %s", code, stderr)
	}
}

// Migrating needs a database and no other setting, wherever it is named.
func TestMigrateNeedsOnlyTheDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	file := configFile(t, "[database]\nurl = \""+url+"\"\n")
	for name, environ := range map[string][]string{"the environment": {"DATABASE_URL=" + url}, "a file": {"CONFIG_FILE=" + file}} {
		if code, _, stderr := invoke(t, environ, "migrate"); code != exitOK {
			t.Errorf("with the database of %s: %d %s", name, code, stderr)
		}
	}
}

// An organization whose slug the database knows as another's is named by its
// place, and the database's own words are kept away.
func TestServeWithATakenSlug(t *testing.T) {
	t.Parallel()
	environ := operator(t) // with Acme
	file := configFile(t, strings.ReplaceAll(settings, "550e8400-e29b-41d4-a716-446655440000", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"))
	code, _, stderr := invoke(t, append(environ, "CONFIG_FILE="+file), "--config", file)
	want := file + ":9: orgs[0].slug: the database has another organization with the slug \"acme\", whose id is 550e8400-e29b-41d4-a716-446655440000"
	if code != exitFailure || !strings.Contains(stderr, want) || strings.Contains(stderr, "SQLSTATE") {
		t.Errorf("it ended with %d, want %q:\n%s", code, want, stderr)
	}
}

// The program serves on an empty database until it is told to stop.
func TestServe(t *testing.T) {
	t.Parallel()
	environ := []string{"DATABASE_URL=" + pgtest.NewEmpty(t), "CONFIG_FILE=" + configFile(t, settings)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	logs, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		defer w.Close()
		code <- program(ctx, []string{"--log-format", "text"}, environ, io.Discard, w)
	}()
	address := regexp.MustCompile(`door=http address=(\S+)`)
	var seen bytes.Buffer
	buffer := make([]byte, 4096)
	for !address.Match(seen.Bytes()) {
		n, err := logs.Read(buffer)
		if err != nil {
			t.Fatalf("it ended: %s", seen.String())
		}
		seen.Write(buffer[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	url := "http://" + string(address.FindSubmatch(seen.Bytes())[1]) + "/_/health"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), `"version":"dev"`) {
		t.Errorf("%s, %v", body, err)
	}
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
}
