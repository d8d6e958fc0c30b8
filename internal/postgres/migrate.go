package postgres

import (
	"context"
	"crypto/sha256"
	stdsql "database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that goose speaks to
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/flovyn/flovyn-server/internal/fault"
	sqlfiles "github.com/flovyn/flovyn-server/sql"
)

// migrationLock is the advisory lock under which one server migrates while the
// others wait. The number is arbitrary and only has to stay the same.
const migrationLock = 0x666c6f76796e // "flovyn"

// migrationTries bounds how often a migration is tried that others were in the way of.
const migrationTries = 20

// Migrate brings the schema up to date. Several servers may call it at once.
// It refuses a PostgreSQL older than MinimumVersion.
func Migrate(ctx context.Context, url string) error {
	if err := CheckURL(url); err != nil {
		return err
	}
	db, err := stdsql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", translate(err))
	}
	defer conn.Close()
	if err := checkVersion(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("waiting for another server's migration: %w", err)
	}
	defer func() { // the lock also goes with the connection
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	}()
	return migrateUp(ctx, db)
}

func migrateUp(ctx context.Context, db *stdsql.DB) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(database.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	// While servers are replaced one after the other, those of the previous version
	// work on the tables that are being changed, and the two may wait for each other.
	for tries := 1; ; tries++ {
		_, err := provider.Up(ctx)
		if err == nil {
			return nil
		}
		if tries == migrationTries || fault.KindOf(translate(err)) != fault.Conflict {
			return fmt.Errorf("migrating the database: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("migrating the database: %w", err)
		case <-time.After(time.Duration(tries) * 50 * time.Millisecond):
		}
	}
}

func checkVersion(ctx context.Context, conn *stdsql.Conn) error {
	var number int
	if err := conn.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&number); err != nil {
		return fmt.Errorf("asking the database for its version: %w", err)
	}
	if major := number / 10000; major < MinimumVersion {
		return fmt.Errorf("PostgreSQL %d is too old: version %d or newer is needed", major, MinimumVersion)
	}
	return nil
}

func migrationFiles() (fs.FS, error) {
	files, err := fs.Sub(sqlfiles.Migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return files, nil
}

// MigrationHash names the state of the schema: the same for the same files.
func MigrationHash() (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(sqlfiles.Migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(sqlfiles.Migrations, path)
		fmt.Fprintf(hash, "%s %d\n", path, len(content))
		hash.Write(content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("hashing the migrations: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}
