package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// Examination is what an operator should know of a database.
type Examination struct {
	// Version is PostgreSQL's, as number (150018) and as text.
	VersionNumber int
	Version       string
	// Settings are those of PostgreSQL that matter here, by name, as this user has
	// them.
	Settings map[string]string
	// Standby tells that the database is a copy that cannot be written to.
	Standby bool
	// Encoding is that of its texts.
	Encoding string
	// Applied and Known are the newest migration that the database has, and that
	// this program has. Applied is 0 for an empty database.
	Applied, Known int64
	// Skew is by how much the database's clock is ahead of this machine's; it is
	// known no better than Doubt.
	Skew, Doubt time.Duration
	// Connections are those that are open, of whoever.
	Connections int
	// InvalidIndexes are of no use to queries, and cost writes all the same.
	InvalidIndexes []string
	// Bloated are tables with more dead rows than living ones, and a great many.
	Bloated []string
	// XactAge is how many transactions the oldest row is behind; at 2 billion
	// PostgreSQL stops.
	XactAge int64
	// LongestTransaction is how long the oldest open transaction has lasted.
	LongestTransaction time.Duration
	// MissingMonths is how many of this month and the next have no partition, and
	// Stray how many events are in none.
	MissingMonths, Stray int
}

// settings are what Examine reads.
var settings = []string{
	"fsync", "full_page_writes", "synchronous_commit", "autovacuum", "max_connections", "superuser_reserved_connections",
	"shared_buffers", "statement_timeout", "idle_in_transaction_session_timeout", "default_transaction_read_only",
}

// Examine looks at a database and changes nothing.
func Examine(ctx context.Context, url string) (*Examination, error) {
	pc, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, pc.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", refusal(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	e := &Examination{Settings: map[string]string{}}
	for _, look := range []func(context.Context, *pgx.Conn) error{e.server, e.clock, e.schema, e.health} {
		if err := look(ctx, conn); err != nil {
			return nil, fmt.Errorf("examining the database: %w", refusal(err))
		}
	}
	return e, nil
}

// refusal keeps what the database itself says, which an operator can use and
// which holds no password; pgx's own words hold the connection string.
func refusal(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	}
	if translated := translate(err); fault.KindOf(translated) != fault.Internal {
		return errors.New(fault.Message(translated))
	}
	return err
}

func (e *Examination) server(ctx context.Context, conn *pgx.Conn) error {
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), pg_is_in_recovery()`).Scan(&e.VersionNumber, &e.Version, &e.Encoding, &e.Standby)
	if err != nil {
		return err
	}
	for _, name := range settings {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return err
		}
		e.Settings[name] = value
	}
	return nil
}

// clock compares the clocks, at the middle of the fastest of some questions.
func (e *Examination) clock(ctx context.Context, conn *pgx.Conn) error {
	for i := range 5 {
		var theirs time.Time
		asked := time.Now() //nolint:forbidigo // compares the clocks
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
			return err
		}
		took := time.Since(asked)
		if i == 0 || took/2 < e.Doubt {
			e.Doubt = took / 2
			e.Skew = theirs.Sub(asked.Add(took / 2))
		}
	}
	return nil
}

func (e *Examination) schema(ctx context.Context, conn *pgx.Conn) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	for _, entry := range entries {
		version, _, _ := strings.Cut(entry.Name(), "_")
		if n, err := strconv.ParseInt(version, 10, 64); err == nil {
			e.Known = max(e.Known, n)
		}
	}
	var migrated, partitioned bool
	err = conn.QueryRow(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL, to_regclass('workflow_event') IS NOT NULL").
		Scan(&migrated, &partitioned)
	if err != nil || !migrated {
		return err
	}
	err = conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&e.Applied)
	if err != nil || !partitioned {
		return err
	}
	return conn.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM generate_series(0, 1) AS ahead, LATERAL (SELECT now() AT TIME ZONE 'UTC' + make_interval(months => ahead) AS at) AS month
			WHERE to_regclass('workflow_event_m' || (extract(year FROM at)::int * 12 + extract(month FROM at)::int - 1)) IS NULL),
		(SELECT count(*) FROM (SELECT FROM workflow_event_default LIMIT 1000) AS stray)`).Scan(&e.MissingMonths, &e.Stray)
}

func (e *Examination) health(ctx context.Context, conn *pgx.Conn) error {
	const tables = `FROM pg_stat_user_tables WHERE schemaname = current_schema() AND n_dead_tup > 100000 AND n_dead_tup > n_live_tup`
	var longest float64
	err := conn.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
		(SELECT coalesce(array_agg(c.relname::text ORDER BY 1), '{}') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace AND c.relkind = 'i'),
		(SELECT coalesce(array_agg(relname::text ORDER BY 1), '{}') `+tables+`),
		(SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()),
		(SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())`).
		Scan(&e.Connections, &e.InvalidIndexes, &e.Bloated, &e.XactAge, &longest)
	e.LongestTransaction = time.Duration(longest * float64(time.Second))
	return err
}
