package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// operator is the environment of one, with a database that has one organization.
func operator(t *testing.T) []string {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	acme := flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	if err := store.UpsertOrganizations(t.Context(), []flovyn.Organization{{ID: acme, Slug: "acme", Name: "Acme", Tier: "FREE"}}); err != nil {
		t.Fatal(err)
	}
	if err := store.BindOrganization(t.Context(), acme, "https://app.acme.com", "ext-1"); err != nil {
		t.Fatal(err)
	}
	return []string{"DATABASE_URL=" + dsn, "WORKER_TOKEN_SECRET=hunter2hunter2hunter2", "CONFIG_FILE=" + configFile(t, settings), "USER=jane"}
}

// An operator makes a token, sees it in the list, and revokes it.
func TestTokens(t *testing.T) {
	t.Parallel()
	environ := operator(t)
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := invoke(t, environ, args...)
		if code != 0 {
			t.Fatalf("%q: %d %s", args, code, errs)
		}
		return out
	}
	text := run("token", "create", "--org", "acme", "--name", "build-farm", "--description", "builds", "--expires-in", "1h")
	if !regexp.MustCompile(`^fwt_[0-9A-Za-z]{44}\n$`).MatchString(text) {
		t.Errorf("standard output is %q, not a token", text)
	}
	list := run("token", "list", "--org", "acme")
	row := regexp.MustCompile(`(?m)^([0-9a-f-]{36}) +(fwt_\w{12}) +build-farm +good +\S+Z +operator:jane +never +\S+Z$`).FindStringSubmatch(list)
	if len(row) != 3 || !strings.HasPrefix(text, row[2]) || strings.Contains(list, strings.TrimSpace(text)) {
		t.Fatalf("the list is %s", list)
	}
	for range 2 { // revoking what is revoked is no mistake
		if out := run("token", "revoke", row[1]); out != "worker token "+row[1]+" is revoked\n" {
			t.Error(out)
		}
	}
	if list := run("token", "list", "--org", "acme"); !strings.Contains(list, " revoked ") {
		t.Errorf("the list is %s", list)
	}
	if out := run("org", "unbind", "acme"); !strings.Contains(out, "organization acme is not bound") {
		t.Error(out)
	}
}

func TestOperatorsMistakes(t *testing.T) {
	t.Parallel()
	environ := operator(t)
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no organization":         {[]string{"token", "create", "--name", "n"}, exitUsage, `"org" not set`},
		"no name":                 {[]string{"token", "create", "--org", "acme"}, exitUsage, `"name" not set`},
		"an empty name":           {[]string{"token", "create", "--org", "acme", "--name", " "}, exitFailure, "name: required"},
		"an unknown organization": {[]string{"token", "create", "--org", "globex", "--name", "n"}, exitFailure, `"globex" not found`},
		"the past":                {[]string{"token", "create", "--org", "acme", "--name", "n", "--expires-in", "-1h"}, exitFailure, "is in the past"},
		"no such list":            {[]string{"token", "list", "--org", "globex"}, exitFailure, `"globex" not found`},
		"no id":                   {[]string{"token", "revoke", "fwt_0123"}, exitFailure, "want the id of a token"},
		"an unknown id":           {[]string{"token", "revoke", uuid.NewString()}, exitFailure, "not found"},
		"nobody to unbind":        {[]string{"org", "unbind", "globex"}, exitFailure, `"globex" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := invoke(t, environ, test.args...)
			if code != test.code || out != "" || !strings.Contains(errs, test.want) || strings.Contains(errs, "hunter2") {
				t.Errorf("%d %q %q, want %d %q", code, out, errs, test.code, test.want)
			}
		})
	}
	if code, _, errs := invoke(t, []string{environ[0], environ[2]}, "token", "list", "--org", "acme"); code != exitFailure ||
		!strings.Contains(errs, "WORKER_TOKEN_SECRET") {
		t.Errorf("without a secret: %d %s", code, errs)
	}
}
