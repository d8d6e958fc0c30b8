// Package pgtest gives every test a PostgreSQL database of its own.
//
// A package that uses it hands its TestMain over:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		store := open(t, pgtest.New(t)) // empty tables, dropped after the test
//	}
//
// # Where the server comes from
//
// Each test process starts a private server at its first database. That takes a
// third of a second, because the cluster is copied from one that initdb made
// once for all. A single server for all processes of a `go test ./...` would
// spare little of it, and need somebody to stop it: here, Main stops it, the
// kernel does when the process is killed, and the next process clears away the
// files that a killed one left.
//
// TEST_DATABASE_URL names a server to use instead, with a user that may create
// databases.
//
// # Where the databases come from
//
// The migrations run once, in a template that is named after their content, and
// each test gets a copy of it. On a server that outlives the process the template
// serves the next runs too.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/pgserver"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// patience bounds each step of the set-up, so that a hanging server fails the
// test by name instead of the whole run by timeout.
const patience = time.Minute

// shared is the server of this process, started by the first test that needs it.
var shared struct {
	sync.Mutex
	inMain bool
	admin  string // the DSN of the maintenance database
	stop   func() error
	err    error
}

// prefix makes the names of databases unique among the processes that may share
// a server.
var prefix = fmt.Sprintf("flovyn_test_%d_%s_", os.Getpid(), strings.ToLower(rand.Text()[:8]))

var counter atomic.Int64

// Main runs the tests of a package, stops the server they used and fails if they
// left goroutines behind. It does not return.
func Main(m *testing.M, options ...goleak.Option) {
	os.Exit(run(m.Run, options...))
}

// Run is Main for a package whose tests something else runs as well: it returns
// the exit code.
func Run(tests func() int, options ...goleak.Option) int { return run(tests, options...) }

func run(tests func() int, options ...goleak.Option) int {
	shared.Lock()
	shared.inMain = true
	shared.Unlock()
	code := tests()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	// After a failure the leaks are but its consequence.
	if code != 0 {
		return code
	}
	if err := goleak.Find(options...); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	return 0
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	shared.inMain = false
	if shared.stop == nil {
		return nil
	}
	err := shared.stop()
	shared.stop, shared.admin = nil, ""
	return err
}

// New makes a database with all migrations applied and returns its DSN. The
// database is dropped when the test ends, whoever is still connected.
func New(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	admin := adminDSN(ctx, t)
	template, err := migratedTemplate(ctx, admin)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return create(ctx, t, admin, template)
}

// NewEmpty makes a database without any tables, for tests of the migrations.
func NewEmpty(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return create(ctx, t, adminDSN(ctx, t), "template1")
}

// Server starts a server for one test, to be stopped, killed and restarted by
// it. It is safe against that: a commit it acknowledged is there afterwards. Only
// a power cut would lose it, since it does not wait for the disk, unless the
// settings say so.
func Server(t testing.TB, settings ...map[string]string) *pgserver.Server {
	t.Helper()
	all := map[string]string{"fsync": "off", "max_connections": "200", "shared_buffers": "64MB"}
	for _, some := range settings {
		maps.Copy(all, some)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	place, err := newPlace()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := place.remove(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	srv, err := place.start(ctx, pgserver.Config{Settings: all})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := srv.StopImmediate(context.Background()); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return srv
}

// NewOn makes a migrated database on a server of the test's own.
func NewOn(t testing.TB, srv *pgserver.Server) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	name := fmt.Sprint(prefix, counter.Add(1))
	if err := srv.CreateDatabase(ctx, name); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if err := postgres.Migrate(ctx, srv.DSN(name)); err != nil {
		t.Fatalf("pgtest: migrating: %v", err)
	}
	return srv.DSN(name)
}

// adminDSN returns the maintenance database of the server, starting that first.
func adminDSN(ctx context.Context, t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.inMain {
		t.Fatal("pgtest: the package needs `func TestMain(m *testing.M) { pgtest.Main(m) }`, which stops the server")
	}
	if shared.admin == "" && shared.err == nil {
		shared.admin, shared.stop, shared.err = startShared(ctx)
	}
	if shared.err != nil {
		t.Fatalf("pgtest: %v", shared.err)
	}
	return shared.admin
}

func startShared(ctx context.Context) (admin string, stop func() error, err error) {
	if url := os.Getenv("TEST_DATABASE_URL"); url != "" {
		return url, func() error { return nil }, nil
	}
	place, err := newPlace()
	if err != nil {
		return "", nil, err
	}
	srv, err := place.start(ctx, pgserver.Config{Profile: pgserver.Throwaway})
	if err != nil {
		return "", nil, err
	}
	stop = func() error {
		if err := srv.StopImmediate(context.Background()); err != nil {
			return err
		}
		return place.remove()
	}
	return srv.DSN("postgres"), stop, nil
}

// create copies the template and arranges for the copy to be dropped.
func create(ctx context.Context, t testing.TB, admin, template string) string {
	t.Helper()
	name := fmt.Sprint(prefix, counter.Add(1))
	if err := execute(ctx, admin, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)); err != nil {
		t.Fatalf("pgtest: making a database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := execute(ctx, admin, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: dropping the database: %v", err)
		}
	})
	dsn, err := withDatabase(admin, name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return dsn
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
