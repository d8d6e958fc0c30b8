package devserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/devserver"
	"github.com/flovyn/flovyn-server/internal/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds starts and stops, so that a hanging one fails by name.
const patience = 2 * time.Minute

// place is a data directory that the unprivileged user can reach whom PostgreSQL
// runs as when the tests run as root, unlike that of t.TempDir.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "flovyn-devserver-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

// start runs a dev server; stop ends it, and is called at the end in any case.
func start(t *testing.T, cfg devserver.Config) (s *devserver.Server, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := devserver.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// call makes a call as curl does: JSON over HTTP/1.1.
func call(t *testing.T, url, method, key string, request any) (status int, answer map[string]any) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/flovyn.v1.WorkflowDispatch/"+method, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("the answer is not JSON: %s", text)
	}
	return resp.StatusCode, answer
}

// startWorkflow starts an execution that no worker will take, and returns its id.
func startWorkflow(t *testing.T, url, key string) string {
	t.Helper()
	status, answer := call(t, url, "StartWorkflow", key, map[string]any{
		"orgId": devserver.OrgID.String(), "workflowKind": "remembered", "input": []byte(`{"n":9007199254740993}`),
	})
	id, _ := answer["workflowExecutionId"].(string)
	if status != http.StatusOK || id == "" {
		t.Fatalf("StartWorkflow: %d %v", status, answer)
	}
	return id
}

// postmaster returns the process id that PostgreSQL wrote down, or nothing: there is
// none while it does not run.
func postmaster(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := bytes.Cut(text, []byte("\n"))
	return string(pid)
}

// logTo collects log records.
func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// own runs a PostgreSQL of the operator's own.
func own(t *testing.T) (databaseURL string) {
	t.Helper()
	s, err := pgserver.Start(t.Context(), pgserver.Config{DataDir: place(t), Profile: pgserver.Throwaway})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	if err := s.CreateDatabase(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	return s.DSN("mine")
}
