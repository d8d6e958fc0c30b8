package profile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/cli/profile"
	"github.com/flovyn/flovyn-server/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guide is the file as the deployment guide shows it.
const guide = `[default]
type = "jwt"
token = "eyJhbG..."
expires_at = "2025-12-29T12:00:00Z"
org_slug = "acme"
server_url = "https://api.flovyn.ai"

[profiles.staging]
type = "api_key"
token = "flovyn_sk_..."
org_slug = "acme-staging"
server_url = "https://staging.api.flovyn.ai"
`

var (
	byJWT = profile.Profile{
		Name: "default", Type: profile.JWT, Token: "eyJhbG...", ExpiresAt: time.Date(2025, 12, 29, 12, 0, 0, 0, time.UTC), OrgSlug: "acme",
		ServerURL: "https://api.flovyn.ai",
	}
	byKey = profile.Profile{
		Name: "staging", Type: profile.APIKey, Token: "flovyn_sk_...", OrgSlug: "acme-staging", ServerURL: "https://staging.api.flovyn.ai",
	}
	session = profile.Session{Token: "s3ss10n", ExpiresAt: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), AppURL: "https://app.flovyn.ai"}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// home is a home with a file of credentials.
func home(t *testing.T, text string) (dir string, store *profile.Store) {
	t.Helper()
	dir = t.TempDir()
	store = profile.NewStore(dir)
	must(t, os.Mkdir(filepath.Join(dir, ".flovyn"), 0o700))
	must(t, os.WriteFile(store.Path(), []byte(text), 0o600))
	return dir, store
}

// What two logins write is the guide's file, to the byte, and closed to others.
func TestTheGuidesFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := profile.NewStore(dir)
	must(t, store.Save(byJWT, session))
	must(t, store.Save(byKey, profile.Session{}))
	if diff := cmp.Diff(guide, read(t, store.Path())); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
	for path, mode := range map[string]os.FileMode{
		".flovyn": 0o700 | os.ModeDir, ".flovyn/credentials": 0o600, ".flovyn/sessions": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %s, want %s", path, info.Mode(), mode)
		}
	}
	for _, want := range []profile.Profile{byJWT, byKey} {
		got, s, err := store.Load(want.Name)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
		if want.Name == "default" && s != session {
			t.Errorf("the session is %+v", s)
		}
	}
	names, err := store.Names()
	must(t, err)
	if diff := cmp.Diff([]string{"default", "staging"}, names); diff != "" {
		t.Error(diff)
	}
}

// Changing one profile touches neither comments nor what others wrote.
func TestUnknownThingsStay(t *testing.T) {
	t.Parallel()
	_, store := home(t, "# mine\nanswer = 42\n\n[default] # the usual\ntype = \"jwt\"\ncolor = \"blue\" # liked\ntoken   =   \"old\"\n"+
		"server_url = \"https://a\"\nexpires_at = \"2025-12-29T12:00:00Z\"\n\n[ profiles . \"staging\" ]\ntype = \"api_key\"\ntoken = \"k\"\nserver_url = \"https://b\"\n\n[other]\nx = 1\n")
	changed := profile.Profile{Name: "default", Type: profile.APIKey, Token: "new", OrgSlug: "acme", ServerURL: "https://a"}
	must(t, store.Save(changed, profile.Session{}))
	want := "# mine\nanswer = 42\n\n[default] # the usual\ntype = \"api_key\"\ncolor = \"blue\" # liked\ntoken = \"new\"\n" +
		"org_slug = \"acme\"\nserver_url = \"https://a\"\n\n[ profiles . \"staging\" ]\ntype = \"api_key\"\ntoken = \"k\"\nserver_url = \"https://b\"\n\n[other]\nx = 1\n"
	if diff := cmp.Diff(want, read(t, store.Path())); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	must(t, store.Delete("staging"))
	must(t, store.Delete("default"))
	want = "# mine\nanswer = 42\n\n[default] # the usual\ncolor = \"blue\" # liked\n\n[other]\nx = 1\n"
	if diff := cmp.Diff(want, read(t, store.Path())); diff != "" {
		t.Errorf("after logging out (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		want string
		kind fault.Kind
	}{
		"open to the group":    {guide, 0o640, "chmod 600", fault.Precondition},
		"open to the world":    {guide, 0o604, "chmod 600", fault.Precondition},
		"no TOML":              {"[default\ntype", 0o600, "line 1", fault.Invalid},
		"an unknown type":      {"[default]\ntype = \"magic\"\n", 0o600, `"magic"`, fault.Invalid},
		"a number":             {"[default]\ntoken = 1\n", 0o600, "token: want a text", fault.Invalid},
		"no time":              {"[default]\nexpires_at = \"soon\"\n", 0o600, "expires_at", fault.Invalid},
		"a token for anywhere": {"[default]\ntoken = \"t\"\n", 0o600, "server_url is missing", fault.Invalid},
		"another profile":      {"[profiles.a]\ntype = \"jwt\"\n", 0o600, "there are: a", fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, store := home(t, test.text)
			must(t, os.Chmod(store.Path(), test.mode))
			if _, _, err := store.Load("default"); !fault.Is(err, test.kind) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	t.Run("an open folder", func(t *testing.T) {
		t.Parallel()
		dir, store := home(t, guide)
		must(t, os.Chmod(filepath.Join(dir, ".flovyn"), 0o755))
		if _, _, err := store.Load("default"); err == nil || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("written in another way", func(t *testing.T) {
		t.Parallel()
		const text = "profiles = { staging = { type = \"api_key\" } }\n"
		_, store := home(t, text)
		if err := store.Save(byKey, profile.Session{}); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("got %v", err)
		}
		if read(t, store.Path()) != text {
			t.Error("the file was changed")
		}
	})
	t.Run("a name", func(t *testing.T) {
		t.Parallel()
		_, store := home(t, guide)
		if err := store.Save(profile.Profile{Name: "a.b"}, profile.Session{}); !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
	})
}

// A renewed token is kept only by the login that it is of.
func TestRenew(t *testing.T) {
	t.Parallel()
	store := profile.NewStore(t.TempDir())
	must(t, store.Save(byJWT, session))
	newer := byJWT
	newer.Token = "newer"
	must(t, store.Renew(newer, profile.Session{Token: "another"}))
	if p, _, err := store.Load("default"); err != nil || p.Token != byJWT.Token {
		t.Errorf("a foreign session changed the token to %q (%v)", p.Token, err)
	}
	must(t, store.Renew(newer, session))
	if p, _, err := store.Load("default"); err != nil || p.Token != "newer" {
		t.Errorf("the token is %q (%v)", p.Token, err)
	}
}

// Many at once lose nothing.
func TestConcurrentSaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var group sync.WaitGroup
	var failures [10]error
	for i := range failures {
		group.Go(func() {
			p := byKey
			p.Name = string(rune('a' + i))
			failures[i] = profile.NewStore(dir).Save(p, session)
		})
	}
	group.Wait()
	must(t, errors.Join(failures[:]...))
	if names, err := profile.NewStore(dir).Names(); err != nil || len(names) != len(failures) {
		t.Errorf("there are %v (%v)", names, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".flovyn", ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Flags win over the environment, and that over the profile; and a token goes to
// its own server only.
func TestResolve(t *testing.T) {
	t.Parallel()
	_, store := home(t, guide)
	for name, test := range map[string]struct {
		flags                     profile.Flags
		environ                   map[string]string
		server, org, token, error string
	}{
		"the default profile": {server: "https://api.flovyn.ai", org: "acme", token: "eyJhbG..."},
		"a profile by flag": {
			flags: profile.Flags{Profile: "staging"}, server: "https://staging.api.flovyn.ai", org: "acme-staging", token: "flovyn_sk_...",
		},
		"a profile by the environment": {
			environ: map[string]string{"FLOVYN_PROFILE": "staging"}, server: "https://staging.api.flovyn.ai", org: "acme-staging", token: "flovyn_sk_...",
		},
		"the flag wins": {
			flags: profile.Flags{Profile: "default", Org: "o", APIKey: "k", Server: "https://f"}, server: "https://f", org: "o", token: "k",
			environ: map[string]string{"FLOVYN_PROFILE": "staging", "FLOVYN_ORG": "e", "FLOVYN_API_KEY": "e", "FLOVYN_SERVER": "https://e"},
		},
		"the environment wins": {
			environ: map[string]string{
				"FLOVYN_ORG": "e", "FLOVYN_API_KEY": "e",
				"FLOVYN_SERVER": "https://e/",
			}, server: "https://e", org: "e", token: "e",
		},
		"the same server, written otherwise": {
			flags: profile.Flags{Server: "https://API.flovyn.ai:443/"}, server: "https://API.flovyn.ai:443", org: "acme", token: "eyJhbG...",
		},
		"another server": {flags: profile.Flags{Server: "https://evil.example"}, error: "is not sent to https://evil.example"},
		"another scheme": {flags: profile.Flags{Server: "http://api.flovyn.ai"}, error: "is not sent to"},
		"in clear text":  {flags: profile.Flags{Server: "http://h", APIKey: "k"}, error: "clear text"},
		"no server":      {flags: profile.Flags{Server: "localhost:8000", APIKey: "k"}, error: "--server"},
		"a password":     {flags: profile.Flags{Server: "https://u:p@h", APIKey: "k"}, error: "a user or a password"},
		"an absent one":  {flags: profile.Flags{Profile: "prod"}, error: "there are: default, staging"},
		"no name":        {flags: profile.Flags{Profile: "a b"}, error: "is no name of a profile"},
		"a line break": {
			environ: map[string]string{"FLOVYN_API_KEY": "k\n"},
			error:   "FLOVYN_API_KEY: the key has a line break at character 2",
		},
		"a space": {environ: map[string]string{"FLOVYN_API_KEY": "a b"}, error: "FLOVYN_API_KEY: the key has a character at place 2"},
		"this machine, in": {
			flags: profile.Flags{Server: "http://localhost:8000", APIKey: "k"}, server: "http://localhost:8000",
			org: "acme", token: "k",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := profile.Resolve(test.flags, func(key string) string { return test.environ[key] }, store)
			if test.error != "" {
				if err == nil || !strings.Contains(err.Error(), test.error) || strings.Contains(err.Error(), "eyJhbG") {
					t.Errorf("got %v, want %q", err, test.error)
				}
				return
			}
			must(t, err)
			if s.Server != test.server || s.Org != test.org || s.Token != test.token {
				t.Errorf("%s %s %s", s.Server, s.Org, s.Token)
			}
		})
	}
	nothing := profile.NewStore(t.TempDir())
	s, err := profile.Resolve(profile.Flags{}, func(string) string { return "" }, nothing)
	if err != nil || s.Server != profile.DefaultServer || s.Token != "" {
		t.Errorf("without anything: %+v, %v", s, err)
	}
}
