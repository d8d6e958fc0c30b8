package authn

import (
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
)

func TestExcludes(t *testing.T) {
	t.Parallel()
	e, err := NewExcludes("/api/docs", "/api/docs/openapi.json", "/assets/*", "/")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"/_/health":                       true,
		"/_/health/live":                  true,
		"/_/health/ready?verbose=1":       true,
		"/_/healthy":                      false,
		"/_/metrics":                      false,
		"/":                               true,
		"/api/docs":                       true,
		"/api/docs?x=/api/orgs":           true,
		"/api/docs/":                      false,
		"/api/docs/openapi.json":          true,
		"/api/docs/openapi.yaml":          false,
		"/API/docs":                       false,
		"/assets/":                        true,
		"/assets/app.js":                  true,
		"/assets/a%20b.js":                true,
		"/assets":                         false,
		"/api/orgs":                       false,
		"/_/health/../../api/orgs":        false,
		"/_/health/%2e%2e/%2e%2e/api/org": false,
		"/_/health/..%2f..%2fapi/orgs":    false,
		"/_/health%2flive":                false,
		"/_/he%61lth":                     false,
		"/assets//api/orgs":               false,
		"//_/health":                      false,
		"/assets/./x":                     false,
		"/assets/x;y":                     false,
		"/assets/..":                      false,
		`/assets/\..\x`:                   false,
		"/assets/%252e%252e/x":            false,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Match(u); got != want {
			t.Errorf("%s: open %v, want %v", target, got, want)
		}
	}
	for _, u := range []*url.URL{{}, {Path: "*"}, {Opaque: "/_/health"}} {
		if e.Match(u) {
			t.Errorf("%#v is open", u)
		}
	}
}

func TestBadExcludes(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		"", "*", "/*", "api/docs", "/api/*/docs", "/a//b", "/a/../b", "/a/./b", "/a%2fb", `/a\b`, "/a/**", "//",
	} {
		if _, err := NewExcludes("/fine", pattern); err == nil || !strings.Contains(err.Error(), strconv.Quote(pattern)) {
			t.Errorf("%q: %v, want an error that names it", pattern, err)
		}
	}
}

// However a path is written: if it is open, every router reads it as a path
// that was opened.
func FuzzExcludes(f *testing.F) {
	for _, seed := range []string{
		"/_/health", "/_/health/live", "/_/health/../x", "/_/health/%2e%2e/x", "/assets/a", "/assets//a", "/assets/%2fa",
		"/assets/a%20b", `/assets/\..\a`, "/api/docs", "/assets/..;/x", "http://host/assets/a", "*",
	} {
		f.Add(seed)
	}
	e, err := NewExcludes("/assets/*", "/api/docs")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !e.Match(u) {
			return
		}
		for _, reading := range []string{u.Path, path.Clean(u.Path), u.EscapedPath(), path.Clean(u.EscapedPath())} {
			opened := reading == "/_/health" || reading == "/api/docs" || reading == "/assets" ||
				strings.HasPrefix(reading, "/_/health/") || strings.HasPrefix(reading, "/assets/")
			if !opened {
				t.Errorf("%q is open, and can be read as %q", target, reading)
			}
		}
		if again, err := url.PathUnescape(u.Path); err == nil && again != u.Path {
			t.Errorf("%q is open, and unescapes a second time to %q", target, again)
		}
	})
}
