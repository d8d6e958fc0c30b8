package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	sqlfiles "github.com/flovyn/flovyn-server/sql"
)

// While servers are replaced one after the other, those of the previous version
// go on working on the schema that the first new one has made. The tests below
// hold that up by what is kept of the previous version in testdata/previous: its
// statements and the sums of its migrations. `make upgrade` does it with the
// previous version's server itself.

// released returns the names and sums of the previous version's migrations.
func released(t *testing.T) (sums map[string]string, version int64) {
	t.Helper()
	text, err := os.ReadFile("testdata/previous/migrations.sha256")
	if err != nil {
		t.Fatal(err)
	}
	sums = map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
		number, _, _ := strings.Cut(name, "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		version = max(version, n)
	}
	return sums, version
}

// A released migration has run somewhere: what it says must not change.
func TestReleasedMigrationsAreNotEdited(t *testing.T) {
	t.Parallel()
	sums, version := released(t)
	files, err := fs.ReadDir(sqlfiles.Migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := fs.ReadFile(sqlfiles.Migrations, "migrations/"+file.Name())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if want, ok := sums[file.Name()]; ok && want != hex.EncodeToString(sum[:]) {
			t.Errorf("%s was released and has been edited since", file.Name())
		}
		number, _, _ := strings.Cut(file.Name(), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err != nil || n <= version && sums[file.Name()] == "" {
			t.Errorf("%s comes before version %d, which was released without it", file.Name(), version)
		}
		delete(sums, file.Name())
	}
	for name := range sums {
		t.Errorf("%s was released and is gone", name)
	}
}

// previous returns a database of the previous version and one of this version.
func previous(t *testing.T) (before, now *pgx.Conn) {
	t.Helper()
	_, version := released(t)
	dsn := pgtest.NewEmpty(t)
	if err := postgres.MigrateTo(t.Context(), dsn, version); err != nil {
		t.Fatal(err)
	}
	return connectTo(t, dsn), connectTo(t, pgtest.New(t))
}

func connectTo(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// Every statement of the previous version means the same on the new schema: it
// takes the same parameters and answers with the same columns.
func TestPreviousStatementsRunOnTheNewSchema(t *testing.T) {
	t.Parallel()
	before, now := previous(t)
	text, err := os.ReadFile("testdata/previous/queries.sql")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for part := range strings.SplitSeq(string(text), "-- name: ") {
		name, query, ok := strings.Cut(part, "\n")
		if !ok || n == 0 && strings.HasPrefix(part, "--") {
			continue // what stands before the first
		}
		n++
		was, err := before.Prepare(t.Context(), name, query)
		if err != nil {
			t.Errorf("%s on the old schema: %v", name, err)
			continue
		}
		is, err := now.Prepare(t.Context(), name, query)
		if err != nil {
			t.Errorf("%s on the new schema: %v", name, err)
			continue
		}
		if diff := cmp.Diff(shapeOf(was), shapeOf(is)); diff != "" {
			t.Errorf("%s means something else on the new schema (-old +new):\n%s", name, diff)
		}
	}
	if n < 50 {
		t.Errorf("only %d statements were found", n)
	}
}

// shapeOf lists the types of a statement's parameters, and its columns.
func shapeOf(statement *pgconn.StatementDescription) []string {
	shape := []string{fmt.Sprint(statement.ParamOIDs)}
	for _, field := range statement.Fields {
		shape = append(shape, fmt.Sprint(field.Name, " ", field.DataTypeOID))
	}
	return shape
}

// What the previous version writes is still accepted: its tables have all their
// columns, none of them demands more than before, new ones are filled in by
// themselves, and nothing new forbids a row.
func TestPreviousRowsFitTheNewSchema(t *testing.T) {
	t.Parallel()
	before, now := previous(t)
	was, is := columns(t, before), columns(t, now)
	tables := map[string]bool{}
	for name, old := range was {
		tables[old.table] = true
		column, ok := is[name]
		switch {
		case !ok:
			t.Errorf("column %s is gone", name)
		case column.kind != old.kind:
			t.Errorf("column %s was %s and is %s", name, old.kind, column.kind)
		case column.required && !old.required:
			t.Errorf("column %s must be filled in now", name)
		}
	}
	for name, column := range is {
		if _, old := was[name]; !old && tables[column.table] && column.required {
			t.Errorf("column %s is new and must be filled in", name)
		}
	}
	// A rule for new columns alone holds for what they are filled in with.
	old := constraints(t, before)
	for name, c := range constraints(t, now) {
		if old[name].table == "" && slices.ContainsFunc(c.columns, func(column string) bool { return was[c.table+"."+column].kind != "" }) {
			t.Errorf("%s of %s is new and may refuse what the previous version writes", name, c.table)
		}
	}
}

type column struct {
	table, kind string
	// required tells that a row must bring a value.
	required bool
}

func columns(t *testing.T, conn *pgx.Conn) map[string]column {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT table_name, column_name, data_type,
		is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER'
		FROM information_schema.columns WHERE table_schema = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]column{}
	var c column
	var name string
	_, err = pgx.ForEachRow(rows, []any{&c.table, &name, &c.kind, &c.required}, func() error {
		all[c.table+"."+name] = c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type constraint struct {
	table   string
	columns []string
}

// constraints are checks, foreign keys and unique indexes, with what they are
// about.
func constraints(t *testing.T, conn *pgx.Conn) map[string]constraint {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT name, rel::regclass::text, array_agg(attname::text)
		FROM (SELECT conname::text AS name, conrelid AS rel, unnest(conkey) AS key FROM pg_constraint
			WHERE conrelid <> 0 AND connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'u', 'x')
			UNION SELECT indexrelid::regclass::text, indrelid, unnest(indkey::smallint[]) FROM pg_index
			JOIN pg_class ON pg_class.oid = indexrelid WHERE indisunique AND relnamespace = 'public'::regnamespace) AS c
		JOIN pg_attribute ON attrelid = rel AND attnum = key GROUP BY name, rel`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]constraint{}
	var name string
	var c constraint
	if _, err := pgx.ForEachRow(rows, []any{&name, &c.table, &c.columns}, func() error {
		all[name] = constraint{c.table, slices.Clone(c.columns)}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// A migration that meets steps of the previous version's servers may end up with
// one of them waiting for the other. It is then tried again.
func TestMigrateAmongSteps(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, version := released(t)
	dsn := pgtest.NewEmpty(t)
	if err := postgres.MigrateTo(ctx, dsn, version); err != nil {
		t.Fatal(err)
	}
	step, observer := connectTo(t, dsn), connectTo(t, dsn)
	run := func(sql string) {
		t.Helper()
		if _, err := step.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	run("SET deadlock_timeout = '1h'") // so that it is the migration that finds out
	run("BEGIN")
	run("SELECT * FROM task_execution FOR UPDATE")
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(ctx, dsn) }()
	for waits := false; !waits; {
		err := observer.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE datname = current_database() AND NOT granted)`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	run("SELECT * FROM workflow_execution FOR UPDATE")
	run("COMMIT")
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
}
