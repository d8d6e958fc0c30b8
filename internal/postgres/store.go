package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// MinimumVersion is the oldest PostgreSQL major version that is supported.
const MinimumVersion = 15

// Config says how to reach the database.
type Config struct {
	// URL is a PostgreSQL connection string; it may hold a password and is
	// never logged.
	URL string
	// MaxConnections bounds the pool. Default 16: what batching gains levels
	// off there.
	MaxConnections int32
	// HistoryCacheBytes bounds the memory of recent histories. Default 64 MiB.
	HistoryCacheBytes int64
	// Committed is told of every group commit: how many steps it had, how long it
	// took, and whether it failed. Optional.
	Committed func(steps int, took time.Duration, err error)
	// Changed is told, after a commit, what it changed. It must return at once.
	// Optional.
	Changed func([]Change)
	Logger  *slog.Logger
}

// Store is a connection to the database. Methods are safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	// reads are the connections of searches.
	reads *pgxpool.Pool
	q     *pgq.Queries
	log   *slog.Logger
	told  func(steps int, took time.Duration, err error)
	saw   func([]Change)
	cache *historyCache
	queue chan *step
	stop  context.CancelFunc
	lanes sync.WaitGroup
	// closed tells that no step is taken any more, drained that none is left.
	closed, drained chan struct{}
}

// Open connects to the database, which must be migrated, and starts the group
// commit. Close releases everything.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.HistoryCacheBytes == 0 {
		cfg.HistoryCacheBytes = 64 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Changed == nil {
		cfg.Changed = func([]Change) {}
	}
	if cfg.Committed == nil {
		cfg.Committed = func(int, time.Duration, error) {}
	}
	cache, err := newHistoryCache(cfg.HistoryCacheBytes)
	if err != nil {
		return nil, err
	}
	pool, err := openPool(ctx, cfg)
	if err != nil {
		return nil, err
	}
	reads, err := openReads(ctx, cfg)
	if err != nil {
		pool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		pool: pool, reads: reads, q: pgq.New(), log: cfg.Logger, told: cfg.Committed, saw: cfg.Changed, cache: cache,
		queue: make(chan *step, maxBatch), stop: stop, closed: make(chan struct{}), drained: make(chan struct{}),
	}
	for range lanes {
		s.lanes.Go(func() { s.lane(background) })
	}
	return s, nil
}

// CheckURL says what is wrong with a connection string, which it does not quote.
// It reaches for no database.
func CheckURL(url string) error {
	_, err := parseURL(url)
	return err
}

func parseURL(url string) (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		// pgx's own message quotes the connection string.
		return nil, errors.New("the database URL is not a valid PostgreSQL connection string")
	}
	return pc, nil
}

func openPool(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	pc, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	pc.MaxConns = cfg.MaxConnections
	if pc.MaxConns == 0 {
		pc.MaxConns = 16
	}
	// Statements are prepared once and planned once. Every one of them is meant
	// to use its index, also before the first statistics are gathered.
	pc.ConnConfig.RuntimeParams["application_name"] = "flovyn-server"
	pc.ConnConfig.RuntimeParams["jit"] = "off"
	pc.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pc.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	pc.ConnConfig.RuntimeParams["enable_hashjoin"] = "off"
	pc.ConnConfig.RuntimeParams["enable_mergejoin"] = "off"
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerUUID(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", translate(err))
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connecting to the database: %w", translate(err))
	}
	return pool, nil
}

// Close waits for commits under way and closes all connections. Steps that
// come later are refused.
func (s *Store) Close() {
	close(s.closed)
	s.stop()
	s.lanes.Wait()
	close(s.drained)
	s.reads.Close()
	s.pool.Close()
}

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return translate(s.pool.Ping(ctx))
}

// Now returns the database's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, translate(err)
}

// Connections returns how many connections are in use, idle, and allowed.
func (s *Store) Connections() (used, idle, most int) {
	stat := s.pool.Stat()
	return int(stat.AcquiredConns()), int(stat.IdleConns()), int(stat.MaxConns())
}

// CacheUse returns how often a history was in memory when it was needed, how often
// not, and the bytes of those that are.
func (s *Store) CacheUse() (hits, misses, bytes int64) {
	return s.cache.hits.Load(), s.cache.misses.Load(), s.cache.bytes.Load()
}

// inTx runs fn in one transaction, for changes off the hot path.
func (s *Store) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return translate(pgx.BeginFunc(ctx, s.pool, fn))
}

// row turns a generated query's result into a value or a translated error.
func row[R, V any](r *R, err error, convert func(*R) V) (V, error) {
	if err != nil {
		var zero V
		return zero, translate(err)
	}
	return convert(r), nil
}
