package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/caller"
)

// minimal is the shortest file that loads.
const minimal = `database_url = "postgres://u:hunter2@h/d"
[auth.endpoints.http]
authenticators = ["static_api_key"]
[auth.endpoints.grpc]
authenticators = ["static_api_key"]
`

// loadText loads a file with the given text.
func loadText(tb testing.TB, text string, environ ...string) (*Config, error) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	cfg, err := Load(file, environ)
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", ""))
	}
	return cfg, err
}

// Every mistake is named with its place, and none that was not made.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const org = `id = "550e8400-e29b-41d4-a716-446655440000"` + "\nname = \"A\"\n"
	const key = `org_id = "550e8400-e29b-41d4-a716-446655440000", principal_id = "p"`
	acme := "[[orgs]]\n" + org + "slug = \"acme\"\n"
	for name, test := range map[string]struct {
		text    string
		environ []string
		// want are the lines of the error, shortened.
		want []string
	}{
		"nothing": {"", nil, []string{
			"config.toml: database.url: required; set it in the file or as DATABASE_URL",
			"config.toml: auth.endpoints.http.authenticators: required: a door",
			"config.toml: auth.endpoints.grpc.authenticators: required: a door",
		}},
		"syntax":             {"x = \n", nil, []string{"config.toml:1: toml: "}},
		"unfinished secret":  {"database_url = \"postgres://hunter2\n", nil, []string{"config.toml:1: "}},
		"unquoted secret":    {"[auth]\nkey = hunter2\n", nil, []string{"config.toml:2: "}},
		"something after it": {"[auth]\nkey = \"a\" hunter2\n", nil, []string{"config.toml:2: "}},
		"secret given twice": {"[a]\nkey = \"hunter2\"\n[a]\nkey = \"hunter2\"\n", nil, []string{"config.toml:3: "}},
		"a bad escape":       {"key = \"hunter2\\q\"\n", nil, []string{"config.toml:1: "}},
		"defined twice":      {"server_port = 1\nserver_port = 2\n", nil, []string{"config.toml:2: "}},
		"unknown key": {minimal + "[server]\nport = 1\n", nil, []string{
			"config.toml:7: server.port: unknown setting; known here: host, http_port, grpc_port",
		}},
		"unknown table, once": {minimal + "[security]\nenabled = true\n[security.jwt]\n", nil, []string{
			"config.toml:6: security: unknown setting; known here: database, server, orgs, auth",
		}},
		"unknown implicit table": {minimal + "[a.b.c]\n", nil, []string{"config.toml:6: a: unknown setting"}},
		"unknown empty table":    {minimal + "[auth.session]\n", nil, []string{"config.toml:6: auth.session: unknown setting"}},
		"unknown list of tables": {minimal + "[[tenants]]\nid = 1\n", nil, []string{"config.toml:6: tenants: unknown setting"}},
		"a quoted path":          {minimal + `"server.http_port" = 1`, nil, []string{`config.toml:6: auth.endpoints.grpc."server\x2ehttp_port": unknown`}},
		"capitals":               {minimal + "[Server]\n", nil, []string{"config.toml:6: Server: unknown setting"}},
		"a table for a setting":  {minimal + "[database.url]\nx = 1\n", nil, []string{"config.toml:6: database.url: is no table", "config.toml:7: database.url.x: unknown setting"}},
		"a setting for a table":  {"auth = true\ndatabase_url = \"x\"\n", nil, []string{"config.toml:1: auth: is a table; name one"}},
		"wrong types": {minimal + "enabled = 1\nexclude_paths = \"/a\"\nauthorizer = [1]\n[server]\nhttp_port = \"8000\"\ncors_origins=[1]\n", nil, []string{
			"config.toml:6: auth.endpoints.grpc.enabled: want true or false",
			"config.toml:7: auth.endpoints.grpc.exclude_paths: want a list",
			"config.toml:8: auth.endpoints.grpc.authorizer: want a string",
			"config.toml:10: server.http_port: want a whole number",
			"config.toml:11: server.cors_origins: want a list of strings",
		}},
		"two spellings that differ": {"database_url = \"postgres://hunter2@a/b\"\nserver_port = 1\n[database]\nurl = \"postgres://hunter2@c/d\"\n[server]\nhttp_port = 1\n", nil, []string{
			"database_url", // which of the two is named depends on the order of the keys
		}},
		"two spellings of a table": {minimal + "[auth.better_auth_jwt]\nissuer = \"a\"\n[auth.better_auth.jwt]\nissuer = \"a\"\nskip_verification = true\n", nil, []string{
			"config.toml:10: auth.better_auth.jwt.skip_verification: auth.better_auth.jwt and auth.better_auth_jwt are two spellings",
		}},
		"ports": {minimal + "[server]\nhttp_port = 65536\ngrpc_port = -1\n[metrics]\nport = 70000\n", nil, []string{
			"config.toml:7: server.http_port: want a number from 0 to 65535",
			"config.toml:8: server.grpc_port: want", "config.toml:10: metrics.port: want",
		}},
		"metrics on a door's port": {minimal + "[metrics]\nenabled = true\nport = 9090\n", nil, []string{"config.toml:8: metrics.port: is the port of a door"}},
		"half of TLS":              {minimal + "[server]\ntls_cert_file = \"c.pem\"\n", nil, []string{"config.toml:7: server.tls_cert_file: a certificate needs"}},
		"origins": {minimal + "[server]\ncors_origins = [\n\"*\",\n\"https://a.b\",\n\"https://a.b/\",\n\"a.b\"]\n", nil, []string{
			"config.toml:10: server.cors_origins: want", "config.toml:11: server.cors_origins: want",
		}},
		"bounds": {minimal + "[database]\nmax_connections = 1\n[server]\nshutdown_timeout_secs = 0\nmax_message_bytes = 70000\n" +
			"[engine]\npoll_max_hold_secs = -1\nmax_payload_bytes = 80000\nmax_commands = 0\n", nil, []string{
			"config.toml:12: engine.poll_max_hold_secs: want seconds from 0",
		}},
		"more bounds": {minimal + "[database]\nmax_connections = 1\n[server]\nshutdown_timeout_secs = 0\nmax_message_bytes = 70000\n" +
			"[engine]\nmax_payload_bytes = 80000\nmax_commands = 0\n", nil, []string{
			"config.toml:7: database.max_connections: want a number from 2",
			"config.toml:9: server.shutdown_timeout_secs: want at least one second",
			"config.toml:12: engine.max_payload_bytes: want a number from 1024 to 70000",
			"config.toml:13: engine.max_commands: want a number from 1",
		}},
		"a database of another kind": {strings.Replace(minimal, "postgres:", "mysql:", 1), nil, []string{"config.toml:1: database.url: want postgres://"}},
		"urls": {minimal + "[auth.better_auth]\nvalidation_url = \"ftp://hunter2@x\"\n[auth.better_auth_jwt]\njwks_uri = \"file:///x\"\n[otel]\notlp_endpoint = \"localhost:4317\"\n", nil, []string{
			"config.toml:11: otel.otlp_endpoint: want a URL", "config.toml:9: auth.better_auth_jwt.jwks_uri: want a URL", "config.toml:7: auth.better_auth.validation_url: want a URL",
		}},
		"names": {minimal + "authorizer = \"tenancy\"\n[auth.attr_resolver]\nresolver_type = \"script\"\n[auth.better_auth]\ndefault_user_role = \"admin\"\n[auth.worker_token]\nprefix = \"\"\n", nil, []string{
			`config.toml:10: auth.better_auth.default_user_role: unknown value "admin"; known: OWNER, ADMIN, MEMBER`,
			"config.toml:12: auth.worker_token.prefix: want visible", `config.toml:8: auth.attr_resolver.resolver_type: "script" is not offered`,
			`config.toml:6: auth.endpoints.grpc.authorizer: unknown authorizer "tenancy"; known: cedar, none, noop, org_scope, tenant_scope`,
		}},
		"authenticators": {strings.Replace(minimal, `["static_api_key"]`, "[\n\"static_api_key\", # fine\n\"foo\",\n\"session\", \"noop\",\n\"static_api_key\"]", 1), nil, []string{
			`config.toml:5: auth.endpoints.http.authenticators: unknown authenticator "foo"; known: better_auth_api_key, better_auth_jwt, jwt, static_api_key, worker_token`,
			`config.toml:6: auth.endpoints.http.authenticators: authenticator "session" is not offered: the server keeps no sessions`,
			`config.toml:6: auth.endpoints.http.authenticators: authenticator "noop" is not offered: to run without`,
			`config.toml:7: auth.endpoints.http.authenticators: authenticator "static_api_key" is listed twice`,
		}},
		"empty chain": {strings.Replace(minimal, `["static_api_key"]`, "[]", 1), nil, []string{"config.toml:3: auth.endpoints.http.authenticators: required"}},
		"unknown name, although authentication is off": {strings.ReplaceAll(minimal, "static_api_key", "foo"), []string{"AUTH__ENABLED=false"}, []string{
			`config.toml:3: auth.endpoints.http.authenticators: unknown authenticator "foo"`, `config.toml:5: auth.endpoints.grpc.authenticators: unknown`,
		}},
		"both doors closed": {minimal, []string{"AUTH__ENDPOINTS__HTTP__ENABLED=0", "AUTH__ENDPOINTS__GRPC__ENABLED=no"}, []string{"config.toml:2: auth.endpoints: both doors are closed"}},
		"open paths": {minimal + "exclude_paths = [\"/ok\",\n \"/*\", \"/a/../b\"]\n", nil, []string{
			`config.toml:7: auth.endpoints.grpc.exclude_paths: path "/*" would open everything`, `config.toml:7: auth.endpoints.grpc.exclude_paths: path "/a/../b"`,
		}},
		"organizations": {minimal + acme + "tier = \"GOLD\"\n" + acme + "[[orgs]]\nid = \"00000000-0000-0000-0000-000000000000\"\nslug = \"api\"\nregoin = 1\n", nil, []string{
			"config.toml:18: orgs[2].regoin: unknown setting; known here: id, name, slug, tier, region",
		}},
		"more organizations": {minimal + acme + "tier = \"GOLD\"\n" + acme + "[[orgs]]\nid = \"00000000-0000-0000-0000-000000000000\"\nslug = \"api\"\n", nil, []string{
			`config.toml:10: orgs[0].tier: unknown value "GOLD"; known: FREE`,
			"config.toml:12: orgs[1].id: is the id of orgs[0]", "config.toml:14: orgs[1].slug: is the slug of orgs[0]",
			"config.toml:16: orgs[2].id: required", "config.toml:15: orgs[2].name: required", `config.toml:17: orgs[2].slug: "api" is reserved`,
		}},
		"ids": {minimal + "[[orgs]]\nid = \"{550e8400-e29b-41d4-a716-446655440000}\"\n[[orgs]]\nid = 7\n", nil, []string{
			"config.toml:7: orgs[0].id: want a UUID", "config.toml:9: orgs[1].id: want a string that is a UUID",
		}},
		"an organization that is no table": {"orgs = [1]\n" + minimal, nil, []string{"config.toml:1: orgs[0]: want a table"}},
		"keys": {minimal + acme + "[auth.static_api_key]\nkeys = [\n" +
			"{ key = \"hunter2\", " + key + " },\n" +
			"{ key = \"hunter2\", " + key + ", role = \"admin\" },\n" +
			"{ key = \"\", " + key + ", principal_type = \"Robot\" },\n" +
			"{ key = \"hunter2 hunter2\", " + key + ", principal_type = \"Worker\", role = \"ADMIN\" },\n" +
			"{ key = \"a\", org_id = \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\", principal_id = \"p\" },\n" +
			"{ key = \"b\" },\n" +
			"{ key = \"c\", principal_id = \"app\", principal_type = \"Service\" },\n" +
			"]\n", nil, []string{
			"config.toml:13: auth.static_api_key.keys[1].key: is the same key as keys[0]",
			`config.toml:13: auth.static_api_key.keys[1].role: unknown value "admin"; known: OWNER`,
			"config.toml:14: auth.static_api_key.keys[2].key: required",
			`config.toml:14: auth.static_api_key.keys[2].principal_type: unknown value "Robot"; known: User, Worker, Service`,
			"config.toml:15: auth.static_api_key.keys[3].key: required",
			"config.toml:15: auth.static_api_key.keys[3].role: only a User has a role",
			"config.toml:16: auth.static_api_key.keys[4].org_id: names no organization of [[orgs]]",
			"config.toml:17: auth.static_api_key.keys[5].principal_id: required",
			"config.toml:17: auth.static_api_key.keys[5].org_id: required",
		}},
		"variables": {minimal, []string{
			"AUTH__ENABELD=false", "SERVER=x", "FOO__BAR=x", "auth__nothing=1", "NATS__ENABLED=maybe", "SERVER_PORT=tcp://10.0.0.1:80",
			"AUTH=1", "AUTH__ENDPOINTS=x", "ORGS=[hunter2", "AUTH__=1", "SERVER__HTTP_PORT__X=1", "AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=foo",
		}, []string{
			"environment variable AUTH__ENABELD: auth.enabeld: unknown setting; known here: enabled, endpoints",
			"environment variable AUTH__: auth.: unknown setting",
			"environment variable AUTH__ENDPOINTS: auth.endpoints: is a table; name one of its settings: http, grpc",
			"environment variable NATS__ENABLED: nats.enabled: want true or false",
			"environment variable ORGS: orgs: want an array of TOML or JSON",
			"environment variable SERVER_PORT: server.http_port: want a whole number; Kubernetes",
			"environment variable SERVER__HTTP_PORT__X: server.http_port.x: unknown setting",
		}},
		"variables that disagree": {minimal, []string{"DATABASE_URL=postgres://hunter2@a/b", "DATABASE__URL=postgres://hunter2@c/d"}, []string{
			"environment variable DATABASE__URL: database.url: differs from database.url at environment variable DATABASE_URL",
		}},
		"a list that replaces another": {strings.Replace(minimal, `["static_api_key"]`, `["x", "y"]`, 1), []string{"AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=foo"}, []string{
			`environment variable AUTH__ENDPOINTS__HTTP__AUTHENTICATORS: auth.endpoints.http.authenticators: unknown authenticator "foo"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadText(t, test.text, test.environ...)
			if err == nil {
				t.Fatal("it loads")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(test.want) {
				t.Errorf("%d mistakes, want %d:\n%v", len(got), len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestEnvironmentWins(t *testing.T) {
	t.Parallel()
	cfg := load(t, "guide-selfhosted.toml",
		"DATABASE_URL=postgres://flovyn:password@db:5432/flovyn",
		"SERVER_PORT=8080", "GRPC_SERVER_PORT= 8080 ", "SERVER__REFLECTION=false",
		"WORKER_TOKEN_SECRET=s3cr3t", "NATS__ENABLED=on", "NATS__URL=nats://n:4222",
		"AUTH__BETTER_AUTH__VALIDATION_URL=http://v/", "AUTH__BETTER_AUTH__TIMEOUT_SECS=7",
		"AUTH__BETTER_AUTH__JWT__JWKS_URI=http://j/", "AUTH__BETTER_AUTH_JWT__ISSUER=i",
		"AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=static_api_key, worker_token",
		`AUTH__ENDPOINTS__GRPC__AUTHENTICATORS=["static_api_key"]`,
		"AUTH__ENDPOINTS__HTTP__EXCLUDE_PATHS=[]",
		`ORGS=[{"id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "name": "B", "slug": "bee"}]`,
		`AUTH__STATIC_API_KEY__KEYS=[{key = "0123456789abcdef", org_id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", principal_id = "p", role = "OWNER"}]`,
		"ENGINE__POLL_MAX_HOLD_SECS=", "OTHER__PROGRAM=x", "PATH=/bin", "database__url=x", "broken",
	)
	want := load(t, "guide-selfhosted.toml")
	bee := orgID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	want.Database.URL = "postgres://flovyn:password@db:5432/flovyn"
	want.Server.HTTPPort, want.Server.GRPCPort, want.Server.Reflection = 8080, 8080, false
	want.NATS = NATS{Enabled: true, URL: "nats://n:4222"}
	want.Orgs = []Org{{ID: bee, Name: "B", Slug: "bee", Tier: "FREE"}}
	want.Auth.WorkerToken.Secret = "s3cr3t"
	want.Auth.BetterAuth.ValidationURL, want.Auth.BetterAuth.Timeout = "http://v/", 7*time.Second
	want.Auth.BetterAuthJWT.JWKSURI, want.Auth.BetterAuthJWT.Issuer = "http://j/", "i"
	want.Auth.Endpoints.HTTP.Authenticators = []string{"static_api_key", "worker_token"}
	want.Auth.Endpoints.GRPC.Authenticators = []string{"static_api_key"}
	want.Auth.Endpoints.HTTP.ExcludePaths = []string{}
	want.Auth.StaticAPIKey.Keys = []StaticKey{{"0123456789abcdef", bee, caller.User, "p", caller.Owner}}
	if diff := cmp.Diff(want, cfg, deeply); diff != "" {
		t.Error(diff)
	}
	if !cfg.Server.OneListener() || want.Server.HTTPPort == 0 {
		t.Error("equal ports are one listener")
	}
}

func TestSpellingsThatAgree(t *testing.T) {
	t.Parallel()
	cfg, err := loadText(t, minimal+"[server]\nhttp_port = 1234\n[database]\nurl = \"postgres://u:hunter2@h/d\"\n"+
		"[auth.better_auth_jwt]\nissuer = \"a\"\n[auth.better_auth.jwt]\nissuer = \"a\"\n",
		"DATABASE_URL=postgres://e/d", "DATABASE__URL=postgres://e/d", "AUTH__BETTER_AUTH__JWT__AUDIENCE=x")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Database.URL != "postgres://e/d" || cfg.Auth.BetterAuthJWT != (JWT{Issuer: "a", Audience: "x"}) {
		t.Errorf("%+v %q", cfg.Auth.BetterAuthJWT, string(cfg.Database.URL))
	}
}

func TestWhereTheFileComesFrom(t *testing.T) {
	t.Parallel()
	file := "CONFIG_FILE=" + filepath.Join("testdata", "sdk-harness-flat.toml")
	cfg, err := Load("", []string{file})
	if err != nil || cfg.Orgs[0].Slug != "test-org" {
		t.Errorf("CONFIG_FILE: %v", err)
	}
	cfg, err = Load(filepath.Join("testdata", "guide-saas.toml"), []string{file})
	if err != nil || len(cfg.Orgs) != 0 {
		t.Errorf("an argument goes before CONFIG_FILE: %v", err)
	}
	if _, err = Load(filepath.Join("testdata", "absent.toml"), nil); err == nil || !strings.Contains(err.Error(), "absent.toml") {
		t.Errorf("absent: %v", err)
	}
	cfg, err = Load("", []string{
		"DATABASE_URL=postgres://e/d", "AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=static_api_key", "AUTH__ENDPOINTS__GRPC__AUTHENTICATORS=static_api_key",
	})
	if err != nil || cfg.Server.HTTPPort != 8000 {
		t.Errorf("without a file: %v", err)
	}
	_, err = Load("", nil)
	if err == nil || !strings.HasPrefix(err.Error(), "configuration: database.url: required") {
		t.Errorf("without anything: %v", err)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	cfg := load(t, "sdk-harness-nested.toml", "WORKER_TOKEN_SECRET=0123456789abcdef", "NATS__URL=nats://u:flovyn:flovyn@n")
	var logged strings.Builder
	for _, log := range []*slog.Logger{
		slog.New(slog.NewTextHandler(&logged, nil)), slog.New(slog.NewJSONHandler(&logged, nil)),
	} {
		log.Info("x", slog.Any("config", cfg), slog.Any("key", cfg.Auth.StaticAPIKey.Keys[0]), slog.Any("url", cfg.Database.URL))
	}
	marshalled, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s", *cfg, *cfg, *cfg, cfg.Database.URL) + logged.String() + string(marshalled)
	for _, secret := range []string{"0123456789abcdef", "flovyn:flovyn"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown in %s", secret, shown)
		}
	}
}

// Every field has a path that can be set, from the file and the environment.
func TestEveryFieldHasAPath(t *testing.T) {
	t.Parallel()
	var walk func(table reflect.Type, prefix string)
	walk = func(table reflect.Type, prefix string) {
		for field := range table.Fields() {
			if !field.IsExported() {
				continue
			}
			tag := field.Tag.Get("toml")
			if tag == "" || tag != strings.ToLower(tag) {
				t.Errorf("%s%s has no path", prefix, field.Name)
				continue
			}
			if isTable(field.Type) {
				walk(field.Type, prefix+tag+".")
				continue
			}
			path := prefix + tag
			if found, _ := find(reflect.ValueOf(Default()).Elem(), path); !found.IsValid() {
				t.Errorf("%s is not found", path)
			}
			variable := strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
			if got, ours := variablePath(variable); !ours || got != path {
				t.Errorf("%s leads to %q, not %s", variable, got, path)
			}
		}
	}
	root := reflect.TypeFor[Config]()
	for field := range root.Fields() {
		if isTable(field.Type) && field.IsExported() {
			walk(field.Type, field.Tag.Get("toml")+".")
		}
	}
}

// No environment makes Load panic or show a secret; a variable of ours is
// either understood or named in the error.
func FuzzEnviron(f *testing.F) {
	for _, seed := range [][2]string{
		{"AUTH__ENABLED", "false"},
		{"SERVER_PORT", "80"},
		{"ORGS", `[{"id":"x"}]`},
		{"ORGS", "[{id=1}]"},
		{"AUTH__", "1"},
		{"AUTH__STATIC_API_KEY__KEYS", `[{key="k"}]`},
		{"SERVER__CORS_ORIGINS", "a,,b"},
		{"__", "x"},
		{"AUTH__ENDPOINTS__HTTP", "x"},
		{"DATABASE__URL", "[1,2"},
		{"SERVER__CORS_ORIGINS", "[[1],{}]"},
		{"NATS__ENABLED", " TRUE "},
		{"ENGINE__MAX_COMMANDS", "1e9"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.Contains(name, "=") || name == fileVariable {
			return
		}
		environ := []string{
			"DATABASE_URL=postgres://hunter2@h/d", "AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=static_api_key",
			"AUTH__ENDPOINTS__GRPC__AUTHENTICATORS=static_api_key",
		}
		_, err := Load("", append(environ, name+"="+value))
		if err != nil && strings.Contains(err.Error(), "hunter2") && !strings.Contains(name+value, "hunter2") {
			t.Errorf("the error holds a secret: %v", err)
		}
		path, ours := variablePath(name)
		field, _ := find(reflect.ValueOf(Default()).Elem(), canonical(path))
		if ours && value != "" && !field.IsValid() && (err == nil || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s names nothing, and the error is %v", name, err)
		}
		if !ours && err != nil {
			t.Errorf("%s is not ours, and the error is %v", name, err)
		}
	})
}

// No file makes parsing panic, every setting of a valid file has a line, and
// one that names nothing is never passed over.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		minimal, "[[a]]\n[a.b]\nc=1\n[[a]]\n[[a.d]]\ne=[{f=1},[2]]\n", "a.b.\"c.d\" = {e = {}}\n", "x=[\n# c\n1,\n]\n", "[a]\nb={c=[{d=1}]}", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse("f", []byte(text))
		if err != nil {
			return
		}
		_, err = assemble("f", d, []setting{{path: "database.url", value: "postgres://h/d", text: true}}, false)
		for _, s := range append(d.settings, d.tables...) {
			field, _ := find(reflect.ValueOf(Default()).Elem(), s.path)
			if !field.IsValid() && (err == nil || !strings.Contains(err.Error(), "unknown setting")) {
				t.Errorf("%s names nothing, and the error is %v", s.key, err)
			}
			if s.at.line < 1 || s.at.line > 1+strings.Count(text, "\n") {
				t.Errorf("%s is at line %d of\n%s", s.key, s.at.line, text)
			}
		}
	})
}
