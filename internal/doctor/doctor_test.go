package doctor_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/doctor"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// examine returns the findings by subject, and fails the test if one that is not
// good says not what to do.
func examine(t *testing.T, cfg *config.Config) map[string]doctor.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := map[string]doctor.Finding{}
	for _, f := range doctor.Examine(ctx, cfg) {
		if (f.Level == doctor.Good) != (f.Fix == "") || strings.Contains(f.What+f.Fix, "hunter2") {
			t.Errorf("%+v", f)
		}
		found[f.Subject] = f
	}
	return found
}

// with adds a parameter to a connection string.
func with(dsn, parameter string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + parameter
	}
	return dsn + "?" + parameter
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// Nothing is wrong with a database as PostgreSQL makes it.
func TestHealthy(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewOn(t, pgtest.Server(t, map[string]string{"fsync": "on"}))
	app, err := standin.Start(context.WithoutCancel(t.Context()), standin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	cfg := servertest.Config(dsn)
	cfg.Auth.BetterAuthJWT = config.JWT{JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: "flovyn-server"}
	cfg.Auth.BetterAuth.ValidationURL = app.ValidationURL()
	cfg.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key"}
	findings := doctor.Examine(t.Context(), cfg)
	var text bytes.Buffer
	if err := doctor.Print(&text, findings); err != nil {
		t.Fatal(err)
	}
	if !doctor.Healthy(findings) || !strings.Contains(text.String(), ": 0 failed, 0 warnings") {
		t.Errorf("%s", text.String())
	}
	for _, want := range []string{"JWKS of better_auth_jwt", "validation of API keys", "schema", "clocks"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("nobody looked at %s:\n%s", want, text.String())
		}
	}
}

// Settings that lose what was acknowledged, or let a database decay, are found.
func TestSettingsThatHurt(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t, map[string]string{
		"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off", "max_connections": "15",
	})
	cfg := servertest.Config(with(pgtest.NewOn(t, srv), "statement_timeout=500ms&default_transaction_read_only=on"))
	cfg.Database.MaxConnections = 20
	found := examine(t, cfg)
	for subject, want := range map[string]doctor.Level{
		"fsync": doctor.Bad, "full_page_writes": doctor.Bad, "synchronous_commit": doctor.Bad, "autovacuum": doctor.Bad,
		"connections": doctor.Bad, "read-only transactions": doctor.Bad, "statement_timeout": doctor.Doubt, "database version": doctor.Good,
	} {
		if got := found[subject]; got.Level != want {
			t.Errorf("%s: %+v, want %s", subject, got, want)
		}
	}
	cfg.Database.MaxConnections = 8
	if got := examine(t, cfg)["connections"]; got.Level != doctor.Doubt {
		t.Errorf("room for one server: %+v", got)
	}
}

// What is wrong in the database itself is found.
func TestSchema(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql, subject string
		want         doctor.Level
	}{
		"an older schema":         {"DELETE FROM goose_db_version WHERE version_id > 1", "schema", doctor.Doubt},
		"a newer schema":          {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)", "schema", doctor.Doubt},
		"no schema":               {"DROP TABLE goose_db_version", "schema", doctor.Doubt},
		"an index that is broken": {"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ready_order'::regclass", "indexes", doctor.Bad},
		"no partition": {
			"DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || string_agg(format('%I', c.relname), ', ') FROM pg_class c WHERE relname ~ '^workflow_event_m\\d+$'); END $$",
			"history partitions", doctor.Doubt,
		},
		"events in no partition": {
			"INSERT INTO workflow_event VALUES (1, gen_random_uuid(), 1, 't', '', now())", "stray events", doctor.Doubt,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.New(t)
			if got := examine(t, servertest.Config(dsn))[test.subject]; got.Level != doctor.Good {
				t.Errorf("before: %+v", got)
			}
			exec(t, dsn, test.sql)
			if got := examine(t, servertest.Config(dsn))[test.subject]; got.Level != test.want {
				t.Errorf("%+v, want %s", got, test.want)
			}
		})
	}
}

// A database that cannot be reached is said without its password, and the rest is
// looked at all the same.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://flovyn:hunter2@127.0.0.1:1/flovyn", with(pgtest.New(t), "options=-c%20nonsense=1&password=hunter2")} {
		found := examine(t, servertest.Config(url))
		if got := found["database"]; got.Level != doctor.Bad || found["configuration"].Level == "" {
			t.Errorf("%+v", found)
		}
	}
}

// An identity provider that does not answer, or answers something else, is found
// by where it is configured.
func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := "http://" + closed.Addr().String()
	_ = closed.Close()
	for name, fault := range map[string]standin.Fault{"a page": standin.NotJSON, "broken": standin.Broken, "elsewhere": standin.Redirect("https://example.com/"), "nowhere": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, err := standin.Start(context.WithoutCancel(t.Context()), standin.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = app.Close() })
			cfg := servertest.Config(pgtest.New(t))
			cfg.Auth.BetterAuthJWT = config.JWT{JWKSURI: app.JWKSURI(), Issuer: app.URL(), Audience: "flovyn-server"}
			cfg.Auth.BetterAuth.ValidationURL = app.ValidationURL()
			cfg.Auth.Endpoints.HTTP.Authenticators = []string{"better_auth_jwt", "better_auth_api_key"}
			if fault == nil {
				cfg.Auth.BetterAuthJWT.JWKSURI, cfg.Auth.BetterAuth.ValidationURL = nowhere+"/jwks", nowhere+"/validate"
			} else {
				app.Fail("/.well-known/jwks.json", fault)
				app.Fail("/api/auth/validate-key", fault)
			}
			found := examine(t, cfg)
			if got := found["JWKS of better_auth_jwt"]; got.Level != doctor.Bad || !strings.Contains(got.Fix, "curl "+cfg.Auth.BetterAuthJWT.JWKSURI) {
				t.Errorf("%+v", got)
			}
			if got := found["validation of API keys"]; got.Level != doctor.Bad || !strings.Contains(got.Fix, "validation_url") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A collector of traces that does not listen costs traces and nothing else.
func TestCollector(t *testing.T) {
	t.Parallel()
	cfg := servertest.Config(pgtest.New(t))
	cfg.OTel = config.OTel{Enabled: true, Endpoint: "http://127.0.0.1:1", ServiceName: "s"}
	if got := examine(t, cfg)["collector of traces"]; got.Level != doctor.Doubt {
		t.Errorf("%+v", got)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg.OTel.Endpoint = "http://" + listener.Addr().String()
	if got := examine(t, cfg)["collector of traces"]; got.Level != doctor.Good {
		t.Errorf("%+v", got)
	}
}
