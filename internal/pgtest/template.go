package pgtest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/postgres"
)

// templates remembers, for each server, how making its template ended.
var templates = struct {
	sync.Mutex
	made map[string]error
}{made: map[string]error{}}

// migratedTemplate returns the name of a database that has all migrations.
func migratedTemplate(ctx context.Context, admin string) (string, error) {
	hash, err := postgres.MigrationHash()
	if err != nil {
		return "", err
	}
	name := "flovyn_template_" + hash
	templates.Lock()
	defer templates.Unlock()
	err, known := templates.made[admin]
	if !known {
		err = makeTemplate(ctx, admin, name, postgres.Migrate)
		templates.made[admin] = err
	}
	return name, err
}

// makeTemplate makes the template unless a finished one is there. Other processes
// may want the same one, so an advisory lock makes them wait for each other. A
// database is finished when it is marked as a template, the last step; one that
// is not was left by a process that died, and is made again.
func makeTemplate(ctx context.Context, admin, name string, migrate func(context.Context, string) error) (err error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connecting to make the template: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }() // gives back the lock, too
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey(name)); err != nil {
		return fmt.Errorf("locking the template: %w", err)
	}
	var finished bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)", name).Scan(&finished)
	if err != nil {
		return fmt.Errorf("looking for the template: %w", err)
	}
	if finished {
		return nil
	}
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + quote(name) + " WITH (FORCE)",
		"CREATE DATABASE " + quote(name) + " TEMPLATE template0 ENCODING 'UTF8'",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("making the template: %w", err)
		}
	}
	dsn, err := withDatabase(admin, name)
	if err != nil {
		return err
	}
	if err := migrate(ctx, dsn); err != nil {
		return fmt.Errorf("migrating the template: %w", err)
	}
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" IS_TEMPLATE true"); err != nil {
		return fmt.Errorf("finishing the template: %w", err)
	}
	return nil
}

// lockKey turns a name into the number that an advisory lock goes by.
func lockKey(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	return int64(h.Sum64())
}

// withDatabase returns the same connection URL for another database.
func withDatabase(dsn, database string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return "", errors.New("TEST_DATABASE_URL has to be a URL, such as postgres://user:password@localhost:5432/postgres")
	}
	u.Path = "/" + database
	return u.String(), nil
}

// execute runs one statement on a connection of its own. Databases come and go
// seldom enough that a pool, with its goroutines, would cost more than it saves.
func execute(ctx context.Context, dsn, sql string) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
