package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/flovyn/flovyn-server/internal/pgserver"
)

// databaseName is the database in the private PostgreSQL.
const databaseName = "flovyn"

// DefaultDataDir is where the private database keeps its data unless told
// otherwise.
func DefaultDataDir() string { return filepath.Join(pgserver.DefaultDataDir(), "dev") }

// database is where the state is kept.
type database struct {
	url string
	// about describes it to people, without a password.
	about string
	// private is the PostgreSQL that we run, nil if it is somebody else's.
	private *pgserver.Server
	// remove is a directory to remove at the end, or empty.
	remove string
}

// openDatabase takes the database that is named, or starts a private one.
func openDatabase(ctx context.Context, cfg Config) (*database, error) {
	if cfg.DatabaseURL != "" {
		return &database{url: cfg.DatabaseURL, about: describe(cfg.DatabaseURL)}, nil
	}
	db := &database{}
	dir := cmp.Or(cfg.DataDir, DefaultDataDir())
	if cfg.Temporary {
		var err error
		if db.remove, err = temporaryDir(); err != nil {
			return nil, err
		}
		dir = filepath.Join(db.remove, "pg")
	}
	if err := db.start(ctx, cfg, dir); err != nil {
		return nil, errors.Join(err, db.close(context.WithoutCancel(ctx)))
	}
	return db, nil
}

// temporaryDir makes a directory that the unprivileged user can pass whom
// PostgreSQL runs as when we are root.
func temporaryDir() (string, error) {
	dir, err := os.MkdirTemp("", "flovyn-dev-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("making a temporary data directory: %w", err)
	}
	return dir, nil
}

func (db *database) start(ctx context.Context, cfg Config, dir string) error {
	pg := pgserver.Config{DataDir: dir, NoDownload: cfg.NoDownload, Logger: cfg.Logger}
	if cfg.Temporary {
		pg.Profile = pgserver.Throwaway
	}
	private, err := pgserver.Start(ctx, pg)
	if err != nil {
		return explain(err)
	}
	db.private = private
	if err := private.CreateDatabase(ctx, databaseName); err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	db.url = private.DSN(databaseName)
	db.about = fmt.Sprintf("PostgreSQL %s in %s", private.Version(), private.Dir())
	return nil
}

// explain says what to do about a database that does not start.
func explain(err error) error {
	if _, running := errors.AsType[*pgserver.RunningError](err); running {
		return fmt.Errorf("another dev server is using the data directory, which --data-dir changes: %w", err)
	}
	return fmt.Errorf("starting the database: %w; to use a database of your own, "+
		"name it with --database-url", err)
}

// close stops a private database and returns when its processes have gone.
func (db *database) close(ctx context.Context) error {
	var err error
	if db.private != nil {
		err = db.private.Stop(ctx)
	}
	if db.remove != "" {
		err = errors.Join(err, os.RemoveAll(db.remove))
	}
	return err
}

// exited is closed when a private database has ended, by itself or by close.
func (db *database) exited() <-chan struct{} {
	if db.private == nil {
		return nil
	}
	return db.private.Exited()
}

// log is the file that a private database writes to.
func (db *database) log() string { return filepath.Join(db.private.Dir(), "server.log") }

// describe names a database without what is secret about it. What does not parse
// is not quoted either.
func describe(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Host == "" {
		return "as named by --database-url"
	}
	return u.Host + u.Path
}
