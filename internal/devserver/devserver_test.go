package devserver_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/devserver"
)

func TestDataSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := place(t)
	first, stop := start(t, devserver.Config{DataDir: dir})
	id := startWorkflow(t, first.HTTPURL(), devserver.UserKey)
	if postmaster(t, dir) == "" {
		t.Error("no PostgreSQL runs in the data directory")
	}
	stop()
	if pid := postmaster(t, dir); pid != "" {
		t.Errorf("PostgreSQL %s still runs after Stop", pid)
	}

	begin := time.Now()
	second, _ := start(t, devserver.Config{DataDir: dir})
	t.Logf("started again in %v", time.Since(begin))
	status, answer := call(t, second.GRPCURL(), "GetEvents", devserver.WorkerKey, map[string]any{"workflowExecutionId": id})
	events, _ := answer["events"].([]any)
	if status != http.StatusOK || len(events) != 1 {
		t.Errorf("the execution of the first run: %d %v, want its one event", status, answer)
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, stop := start(t, devserver.Config{Temporary: true, Logger: logTo(&log)})
	keysAreNeeded(t, s)
	browsersOfThisMachineMayCall(t, s)
	foreignNamesAreRefused(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); err != nil {
		t.Errorf("Wait returned %v when it was told to end", err)
	}
	stop()
	if strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("nothing is wrong, and the log warns:\n%s", log.String())
	}
}

func keysAreNeeded(t *testing.T, s *devserver.Server) {
	t.Helper()
	for name, url := range map[string]string{"http": s.HTTPURL(), "grpc": s.GRPCURL()} {
		for _, key := range []string{"", "flovyn_sk_dev_other"} {
			if status, answer := call(t, url, "StartWorkflow", key, map[string]any{"workflowKind": "x"}); status != http.StatusUnauthorized {
				t.Errorf("%s port, key %q: %d %v, want to be refused", name, key, status, answer)
			}
		}
		for _, key := range []string{devserver.UserKey, devserver.WorkerKey} {
			startWorkflow(t, url, key)
		}
	}
}

func browsersOfThisMachineMayCall(t *testing.T, s *devserver.Server) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for origin, allowed := range map[string]bool{
		"http://localhost:5173": true, "http://127.0.0.1:3000": true, "http://localhost": true,
		"https://evil.example": false, "http://localhost.evil.example": false,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.HTTPURL()+"/flovyn.v1.WorkflowDispatch/StartWorkflow", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Access-Control-Allow-Origin"); (got != "") != allowed {
			t.Errorf("%s is answered %q, want allowed: %t", origin, got, allowed)
		}
	}
}

// A web page whose own name leads to this machine is refused, though its browser
// would let it call.
func foreignNamesAreRefused(t *testing.T, s *devserver.Server) {
	t.Helper()
	for host, want := range map[string]int{
		"localhost": http.StatusOK, "LocalHost:8000": http.StatusOK, "localhost.:1": http.StatusOK, "127.0.0.1:1": http.StatusOK, "[::1]:1": http.StatusOK, "[::1]": http.StatusOK,
		"evil.example": http.StatusForbidden, "evil.example:8000": http.StatusForbidden, "localhost.evil.example": http.StatusForbidden,
		"127.0.0.1.evil.example": http.StatusForbidden, "10.0.0.1": http.StatusForbidden,
	} {
		for _, url := range []string{s.HTTPURL(), s.GRPCURL()} {
			if got := health(t, url, host); got != want {
				t.Errorf("a request to %q is answered %d, want %d", host, got, want)
			}
		}
	}
}

// health asks for the server's health, calling the server by a name.
func health(t *testing.T, url, host string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/_/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func TestTemporaryDataGoes(t *testing.T) {
	t.Parallel()
	s, stop := start(t, devserver.Config{Temporary: true})
	_, dir, ok := strings.Cut(s.Database(), " in ")
	if !ok || postmaster(t, dir) == "" {
		t.Fatalf("the database is described as %q, which names no running server", s.Database())
	}
	stop()
	if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", filepath.Dir(dir), err)
	}
}

func TestBusyPortIsFoundFirst(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, text, _ := net.SplitHostPort(taken.Addr().String())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	for flag, cfg := range map[string]devserver.Config{
		"--http-port": {HTTPPort: port}, "--grpc-port": {GRPCPort: port},
	} {
		cfg.DataDir = place(t)
		_, err := devserver.Start(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), flag) {
			t.Errorf("the error is %v, want one that names port %s and %s", err, text, flag)
		}
		if _, err := os.Stat(cfg.DataDir); !os.IsNotExist(err) {
			t.Errorf("%s: the database was touched before the port was found to be taken (%v)", flag, err)
		}
	}
}

// The ports that were asked for are those that answer, one for both doors too.
func TestChosenPorts(t *testing.T) {
	t.Parallel()
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, devserver.Config{Temporary: true, HTTPPort: port, GRPCPort: port})
	want := "http://127.0.0.1:" + strconv.Itoa(port)
	if s.HTTPURL() != want || s.GRPCURL() != want {
		t.Errorf("the addresses are %s and %s, want %s", s.HTTPURL(), s.GRPCURL(), want)
	}
	startWorkflow(t, want, devserver.UserKey)
}

func TestDataDirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := place(t)
	first, _ := start(t, devserver.Config{DataDir: dir})
	_, err := devserver.Start(t.Context(), devserver.Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("the error is %v, want one that names %s and --data-dir", err, dir)
	}
	startWorkflow(t, first.HTTPURL(), devserver.UserKey) // the first one is unharmed
}

func TestOwnDatabase(t *testing.T) {
	t.Parallel()
	s, stop := start(t, devserver.Config{DatabaseURL: own(t)})
	startWorkflow(t, s.HTTPURL(), devserver.UserKey)
	stop()
	if strings.Contains(s.Database(), "postgres:") {
		t.Errorf("the description %q may hold a password", s.Database())
	}
}

func TestUnreachableDatabase(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := devserver.Start(ctx, devserver.Config{DatabaseURL: "postgres://u:geheim@127.0.0.1:1/x"})
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("the error is %v, want one without the password", err)
	}
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]devserver.Config{
		"database and directory":  {DatabaseURL: "postgres://localhost/x", DataDir: "/x"},
		"database and temporary":  {DatabaseURL: "postgres://localhost/x", Temporary: true},
		"directory and temporary": {DataDir: "/x", Temporary: true},
	} {
		if _, err := devserver.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "exclude") {
			t.Errorf("%s: the error is %v, want one that says so", name, err)
		}
	}
}

// A start that is interrupted leaves no PostgreSQL behind.
func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := place(t)
	_, stop := start(t, devserver.Config{DataDir: dir})
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := devserver.Start(ctx, devserver.Config{DataDir: dir}); err == nil {
		t.Error("a start that was interrupted succeeded")
	}
	if pid := postmaster(t, dir); pid != "" {
		t.Errorf("PostgreSQL %s still runs", pid)
	}
}

// The death of the database is noticed, and Stop then still works.
func TestDatabaseDies(t *testing.T) {
	t.Parallel()
	dir := place(t)
	s, _ := start(t, devserver.Config{DataDir: dir})
	pid, err := strconv.Atoi(postmaster(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Wait(ctx); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "server.log")) {
		t.Errorf("Wait returned %v, want an error that names the log", err)
	}
}

func TestWarnsWhenOthersCanReachIt(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, stop := start(t, devserver.Config{Temporary: true, Host: "0.0.0.0", Logger: logTo(&log)})
	if got := health(t, s.HTTPURL(), "flovyn:8000"); got != http.StatusOK { // as in a container
		t.Errorf("a server that listens everywhere answers a name of its host with %d", got)
	}
	if !strings.HasPrefix(s.HTTPURL(), "http://127.0.0.1:") {
		t.Errorf("the address %s cannot be connected to", s.HTTPURL())
	}
	stop()
	if !strings.Contains(log.String(), "public knowledge") {
		t.Errorf("the log does not warn:\n%s", log.String())
	}
}
