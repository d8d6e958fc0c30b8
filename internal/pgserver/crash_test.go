package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRecovery stops the server in every way, under a session that is open, and
// expects committed data and no process of the old run.
func TestRecovery(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, end := range map[string]func(*Server) error{
		"stop":           func(s *Server) error { return s.Stop(context.Background()) },
		"stop, no time":  func(s *Server) error { return s.Stop(ended) },
		"stop immediate": func(s *Server) error { return s.StopImmediate(context.Background()) },
		"kill":           func(s *Server) error { return s.Kill(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, config(place(t)))
			execute(t, s, "CREATE TABLE kept AS SELECT 42 AS n")
			session := connect(t, s)
			backend, postmaster := int(session.PgConn().PID()), s.PID()
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			for _, pid := range []int{postmaster, backend} {
				if exists(pid) && holdsCluster(pid, s.dir.data()) {
					t.Errorf("process %d is still there", pid)
				}
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := query[int](t, s, "SELECT n FROM kept"); got != 42 {
				t.Errorf("a committed row is %d", got)
			}
		})
	}
}

func TestExitedTellsOfAKilledServer(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	s := start(t, cfg)
	exited := s.Exited()
	if err := s.proc.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-exited
	// The same owner may start it again without stopping it first.
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, s, "SELECT 1"); got != 1 {
		t.Errorf("SELECT 1 gave %d", got)
	}
}

// TestRecycledProcessID has the id of a dead postmaster belong to a live process
// that is none, as happens in containers.
func TestRecycledProcessID(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	s := start(t, cfg)
	if err := s.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "600")
	other.Dir, other.SysProcAttr = s.Dir(), s.runAs.attributes()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait() // it was killed
	})
	pid := strconv.Itoa(other.Process.Pid)
	for _, path := range []string{
		filepath.Join(s.dir.data(), "postmaster.pid"),
		filepath.Join(s.address.socketDir, ".s.PGSQL.5432.lock"),
	} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\n")
		if err := os.WriteFile(path, []byte(pid+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[int](t, start(t, cfg), "SELECT 1"); got != 1 {
		t.Errorf("SELECT 1 gave %d", got)
	}
}

func TestUnfinishedInitIsDoneAgain(t *testing.T) {
	t.Parallel()
	cfg := config(place(t))
	d, _, err := openDirectory(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.file("data.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.file("data.new"), "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, start(t, cfg), "SELECT 1"); got != 1 {
		t.Errorf("SELECT 1 gave %d", got)
	}
}

// ownerEnv makes this test program start a server there and wait for its death.
const ownerEnv = "PGSERVER_TEST_OWNS"

func ownUntilKilled(dir string) {
	cfg := Config{DataDir: dir, Profile: Throwaway, NoDownload: true, CopyOf: os.Getenv(ownerEnv + "_COPY")}
	if _, err := Start(context.Background(), cfg); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// TestServerDiesWithItsOwner kills a process that runs a server.
func TestServerDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	dir := place(t)
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"="+dir, ownerEnv+"_COPY="+blank)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 512)
	n, err := out.Read(line)
	if err != nil || string(line[:n]) != "ready\n" {
		t.Fatalf("the owner says %q (%v)", line[:n], err)
	}
	pid := directory(dir).postmasterPID()
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	eventually(t, "the server to follow its owner", func() bool { return !exists(pid) })

	cfg := config(dir)
	var s *Server
	eventually(t, "a new owner to take over", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		s, err = Start(ctx, cfg)
		if running := (*RunningError)(nil); err != nil && !errors.As(err, &running) {
			t.Fatal(err)
		}
		return err == nil
	})
	stop(t, s)
}
