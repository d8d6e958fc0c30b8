package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

// The doctor's exit code says whether something is wrong: here with the settings
// of a database that may forget everything.
func TestDoctor(t *testing.T) {
	t.Parallel()
	environ := []string{"DATABASE_URL=" + pgtest.New(t), "CONFIG_FILE=" + configFile(t, settings)}
	code, out, errs := invoke(t, environ, "doctor")
	if code != exitFailure || !strings.Contains(errs, "something is wrong") {
		t.Errorf("%d %s", code, errs)
	}
	for _, want := range []string{"FAIL  fsync", "-> set fsync = on", "ok    database version", "ok    schema"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	healthy := pgtest.NewOn(t, pgtest.Server(t, map[string]string{"fsync": "on"}))
	if code, out, errs := invoke(t, []string{"DATABASE_URL=" + healthy, environ[1]}, "doctor"); code != exitOK {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
	if code, _, _ := invoke(t, []string{"DATABASE_URL=nonsense://", environ[1]}, "doctor"); code != exitUsage {
		t.Errorf("a mistake in the configuration: %d", code)
	}
}

// The health command is what the server's own answer is.
func TestHealth(t *testing.T) {
	t.Parallel()
	status := map[string]int{"/_/health/ready": http.StatusServiceUnavailable, "/_/health/live": http.StatusOK}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status[r.URL.Path])
		_, _ = w.Write([]byte(`{"status":"told"}`))
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"DATABASE_URL=postgres://u@h/d", "CONFIG_FILE=" + configFile(t, settings), "SERVER_PORT=" + port}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"not ready":          {[]string{"health"}, exitFailure, "answered 503"},
		"alive":              {[]string{"health", "--live"}, exitOK, ""},
		"somewhere":          {[]string{"health", "--live", "--url", server.URL + "/"}, exitOK, ""},
		"nowhere":            {[]string{"health", "--url", "http://127.0.0.1:1"}, exitFailure, "refused"},
		"within no time":     {[]string{"health", "--timeout", "1ns"}, exitFailure, "deadline"},
		"more than it takes": {[]string{"health", "now"}, exitUsage, "now"},
	} {
		if code, out, errs := invoke(t, environ, test.args...); code != test.code || !strings.Contains(errs, test.want) ||
			(code == exitOK) != strings.Contains(out, "told") {
			t.Errorf("%s: %d %q %q", name, code, out, errs)
		}
	}
}
