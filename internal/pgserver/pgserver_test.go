package pgserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestStartInitializesAndStops(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	dir := place(t)
	s := start(t, Config{DataDir: dir, Profile: Throwaway, NoDownload: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "initializing") {
		t.Errorf("the logger was not told of the initialization: %q", log.String())
	}
	if got := query[string](t, s, "SHOW fsync"); got != "off" {
		t.Errorf("fsync is %s for a throwaway server", got)
	}
	if got := query[string](t, s, "SHOW listen_addresses"); got != "" {
		t.Errorf("the server listens on %q besides its socket", got)
	}
	if got := query[string](t, s, "SHOW server_version"); !strings.HasPrefix(got, s.Version()) {
		t.Errorf("the server has version %s, Version says %s", got, s.Version())
	}
	pid := s.PID()
	if pid == 0 || pid != s.dir.postmasterPID() {
		t.Errorf("PID is %d, the pid file says %d", pid, s.dir.postmasterPID())
	}
	stop(t, s)
	stop(t, s)
	if exists(pid) || s.PID() != 0 {
		t.Errorf("process %d is there after Stop, PID says %d", pid, s.PID())
	}
	select {
	case <-s.Exited():
	default:
		t.Error("Exited is open after Stop")
	}
}

func TestDirectoryIsClosedToOthers(t *testing.T) {
	t.Parallel()
	s := start(t, config(place(t)))
	info, err := os.Stat(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory that holds the socket has mode %v", info.Mode())
	}
	if u, err := url.Parse(s.DSN("postgres")); err != nil || u.Query().Get("host") != s.Dir() {
		t.Errorf("the socket is not in %s: %s (%v)", s.Dir(), s.DSN("postgres"), err)
	}
}

func TestDurableKeepsPostgresDefaults(t *testing.T) {
	t.Parallel()
	s := start(t, Config{DataDir: place(t), CopyOf: blank, NoDownload: true})
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "autovacuum"} {
		if got := query[string](t, s, "SHOW "+name); got != "on" {
			t.Errorf("%s is %s for a durable server", name, got)
		}
	}
}

func TestSettingsWinOverProfile(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	cfg.Profile, cfg.Settings = Throwaway, map[string]string{"synchronous_commit": "on", "application_name": "a b"}
	s := start(t, cfg)
	if got := query[string](t, s, "SHOW synchronous_commit"); got != "on" {
		t.Errorf("synchronous_commit is %s, want the setting", got)
	}
	if got := query[string](t, s, "SHOW application_name"); got != "a b" {
		t.Errorf("application_name is %q, want the setting with its space", got)
	}
}

func TestDataSurvivesRestartAndNewOwner(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	s := start(t, cfg)
	execute(t, s, "CREATE TABLE kept AS SELECT 42 AS n")
	dsn := s.DSN("postgres")
	stop(t, s)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.DSN("postgres") != dsn {
		t.Errorf("the DSN changed from %s to %s", dsn, s.DSN("postgres"))
	}
	stop(t, s)
	if got := query[int](t, start(t, cfg), "SELECT n FROM kept"); got != 42 {
		t.Errorf("a new server on the directory finds %d", got)
	}
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	s := start(t, cfg)
	check := func(err error) {
		t.Helper()
		var running *RunningError
		if !errors.As(err, &running) || running.PID != s.PID() || running.DataDir != s.Dir() {
			t.Fatalf("got %v, want a RunningError for process %d in %s", err, s.PID(), s.Dir())
		}
		if !strings.Contains(err.Error(), s.Dir()) {
			t.Errorf("the message does not name the directory: %v", err)
		}
	}
	_, err := Start(t.Context(), cfg)
	check(err)
	check(s.Restart(t.Context()))
	// A postmaster without our lock, as one whose owner was killed.
	_, err = s.dir.clearCrash()
	check(err)
	if got := query[int](t, s, "SELECT 1"); got != 1 {
		t.Error("the first server was disturbed")
	}
}

func TestSimultaneousStarts(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	var wg sync.WaitGroup
	servers, errs := make([]*Server, 4), make([]error, 4)
	for i := range servers {
		wg.Go(func() { servers[i], errs[i] = Start(t.Context(), cfg) })
	}
	wg.Wait()
	won := 0
	for i, s := range servers {
		var running *RunningError
		switch {
		case errs[i] == nil:
			won++
			stop(t, s)
		case !errors.As(errs[i], &running):
			t.Errorf("a loser got %v", errs[i])
		}
	}
	if won != 1 {
		t.Errorf("%d starts succeeded, want 1", won)
	}
}

func TestTCPNeedsThePassword(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	cfg.TCP = true
	s := start(t, cfg)
	u, err := url.Parse(s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, s, "SELECT 1"); got != 1 || u.Hostname() != "127.0.0.1" {
		t.Errorf("SELECT 1 over %s gave %d", u.Redacted(), got)
	}
	old := s.address.password
	s.address.password = "wrong"
	if err := s.CreateDatabase(t.Context(), "x"); err == nil {
		t.Error("a wrong password was accepted")
	}
	s.address.password = old
	stop(t, s)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := s.DSN("postgres"); again != u.String() {
		t.Errorf("the DSN changed over Restart, from %s to %s", u, again)
	}
}

func TestCreateDatabase(t *testing.T) {
	t.Parallel()
	s := start(t, config(place(t)))
	const name = `odd "name"/?&`
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.CreateDatabase(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := query[int](t, s, `SELECT count(*) FROM pg_database WHERE datname LIKE 'odd%'`); got != 1 {
		t.Errorf("there are %d databases", got)
	}
}

func TestLongPathsGetAShortSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(filepath.Dir(place(t)), strings.Repeat("long", 30), "pg")
	s := start(t, config(dir))
	if got := query[int](t, s, "SELECT 1"); got != 1 {
		t.Errorf("SELECT 1 gave %d", got)
	}
	socketDir := s.address.socketDir
	t.Cleanup(func() {
		if err := os.RemoveAll(socketDir); err != nil {
			t.Error(err)
		}
	})
	if socketDir == s.Dir() || len(socketDir) > 80 {
		t.Errorf("the socket is in %s", socketDir)
	}
	if err := os.Chmod(socketDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dir.socketDir(s.runAs); err == nil {
		t.Error("a socket directory that is open to others was accepted")
	}
	if err := os.Chmod(socketDir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	cfg.Settings = map[string]string{"shared_buffers": "nonsense"}
	_, err := Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "server.log") {
		t.Fatalf("got %v, want the log's end and its place", err)
	}
	delete(cfg.Settings, "shared_buffers")
	if got := query[int](t, start(t, cfg), "SELECT 1"); got != 1 {
		t.Error("the directory is unusable after a failed start")
	}
}

func TestCanceledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, cfg); err == nil {
		t.Fatal("Start succeeded although its context had ended")
	}
	if pid := directory(cfg.DataDir).postmasterPID(); pid != 0 && exists(pid) {
		t.Errorf("process %d is running", pid)
	}
	start(t, cfg)
}

func TestCopyOfRunningServerIsRefused(t *testing.T) {
	t.Parallel()
	source := start(t, config(place(t)))
	cfg := config(place(t))
	cfg.CopyOf = source.Dir()
	if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestForeignDirectoriesAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ file, want string }{
		"somebody's files":     {"letter.txt", "neither empty nor"},
		"a PostgreSQL cluster": {"PG_VERSION", "itself a PostgreSQL cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := place(t)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte("15\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Start(t.Context(), config(dir)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			after, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if before.Mode() != after.Mode() {
				t.Errorf("the mode changed from %v to %v", before.Mode(), after.Mode())
			}
		})
	}
}

func TestOtherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	s := start(t, cfg)
	stop(t, s)
	if err := os.WriteFile(filepath.Join(s.dir.data(), "PG_VERSION"), []byte("14\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, binDir := range []string{"", s.install.BinDir} {
		cfg.BinDir = binDir
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 14") {
			t.Errorf("with BinDir %q: got %v, want the version of the cluster", binDir, err)
		}
	}
}
