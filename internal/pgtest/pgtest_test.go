package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/postgres"
)

// holdEnv makes this test program make a place and wait for its death.
const holdEnv = "PGTEST_TEST_HOLDS"

func TestMain(m *testing.M) {
	if os.Getenv(holdEnv) != "" {
		holdUntilKilled()
	}
	Main(m)
}

func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

const countTables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"

func TestNewIsMigratedAndPrivate(t *testing.T) {
	t.Parallel()
	a, b := New(t), New(t)
	if a == b {
		t.Fatal("two tests share a database")
	}
	if n := query[int](t, a, countTables); n == 0 {
		t.Error("the database has no tables")
	}
	if err := execute(t.Context(), a, "CREATE TABLE mine ()"); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, b, countTables+" AND table_name = 'mine'"); n != 0 {
		t.Error("a table of one database is in the other")
	}
	if err := postgres.Migrate(t.Context(), b); err != nil {
		t.Errorf("migrating a migrated database: %v", err)
	}
}

func TestNewEmpty(t *testing.T) {
	t.Parallel()
	if n := query[int](t, NewEmpty(t), countTables); n != 0 {
		t.Errorf("an empty database has %d tables", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			query[int](t, New(t), "SELECT 1")
		})
	}
}

func TestDroppedWithTheTest(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("user", func(t *testing.T) {
		dsn := New(t)
		name = query[string](t, dsn, "SELECT current_database()")
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		// Runs after the drop, which an open session must not prevent.
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	})
	shared.Lock()
	admin := shared.admin
	shared.Unlock()
	if n := query[int](t, admin, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"); n != 0 {
		t.Errorf("database %s is still there", name)
	}
}

func TestServerIsPrivateAndSafeToKill(t *testing.T) {
	t.Parallel()
	srv := Server(t)
	dsn := NewOn(t, srv)
	if err := execute(t.Context(), dsn, "CREATE TABLE kept AS SELECT 42 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, dsn, "SELECT n FROM kept"); got != 42 {
		t.Errorf("a committed row is %d after the server was killed", got)
	}
	query[int](t, New(t), "SELECT 1") // the shared server is another one
}

// TestTemplate makes templates of its own on a server of its own.
func TestTemplate(t *testing.T) {
	t.Parallel()
	srv := Server(t)
	admin := srv.DSN("postgres")
	var mu sync.Mutex
	runs := 0
	migrate := func(ctx context.Context, dsn string) error {
		mu.Lock()
		runs++
		mu.Unlock()
		return execute(ctx, dsn, "CREATE TABLE made ()")
	}
	broken := errors.New("broken migration")
	err := makeTemplate(t.Context(), admin, "tpl", func(ctx context.Context, dsn string) error {
		return errors.Join(execute(ctx, dsn, "CREATE TABLE half ()"), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("a failed migration gives %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := makeTemplate(t.Context(), admin, "tpl", migrate); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs != 1 {
		t.Errorf("the migrations ran %d times, want once", runs)
	}
	if n := query[int](t, srv.DSN("tpl"), countTables); n != 1 {
		t.Errorf("the template has %d tables, want only that of the whole migration", n)
	}
}

// TestExistingServer goes through a second process, which is given this one's
// server as a foreign one.
func TestExistingServer(t *testing.T) {
	t.Parallel()
	admin := Server(t).DSN("postgres")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestNewIsMigratedAndPrivate|TestNewEmpty|TestDroppedWithTheTest)$", "-test.v")
	cmd.Env = append(os.Environ(), "TEST_DATABASE_URL="+admin)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := query[int](t, admin, "SELECT count(*) FROM pg_database WHERE datname LIKE 'flovyn_template_%' AND datistemplate"); n != 1 {
		t.Errorf("the other process made %d templates on this server, want 1", n)
	}
	if n := query[int](t, admin, "SELECT count(*) FROM pg_database WHERE datname LIKE 'flovyn_test_%'"); n != 0 {
		t.Errorf("the other process left %d databases behind", n)
	}
}

func holdUntilKilled() {
	p, err := newPlace()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.dir)
	_, _ = io.Copy(io.Discard, os.Stdin) // open until the other process dies
	_ = p.owner.Close()                  // keeps the lock reachable until here
	os.Exit(0)
}

func TestPlacesOfDeadProcessesAreSwept(t *testing.T) {
	t.Parallel()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"=1")
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	dir := strings.TrimSpace(string(line[:n]))
	if err != nil || !filepath.IsAbs(dir) {
		t.Fatalf("the other process says %q (%v)", dir, err)
	}
	sweepNow := func() {
		t.Helper()
		p, err := newPlace()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.remove(); err != nil {
			t.Fatal(err)
		}
	}
	sweepNow()
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the place of a live process was swept: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	sweepNow()
	if _, err := os.Stat(dir); err == nil {
		t.Error("the place of a dead process is still there")
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	got, err := withDatabase("postgres://u:p%20w@h:1/postgres?sslmode=disable", "x")
	if want := "postgres://u:p%20w@h:1/x?sslmode=disable"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := withDatabase("host=h dbname=postgres", "x"); err == nil {
		t.Error("a keyword string was accepted")
	}
}
