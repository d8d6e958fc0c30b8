package flovyn

import "time"

// Limits that hold everywhere. Those that an operator may change are fields of
// the engine's configuration; these are part of the contract.
const (
	// MaxNameLength bounds kinds, queues, worker ids, timer ids, signal names
	// and every other name, in bytes.
	MaxNameLength = 512
	// MaxIdempotencyKeyLength bounds an idempotency key, in bytes.
	MaxIdempotencyKeyLength = 255
	// DefaultIdempotencyTTL is how long a key lives when the caller does not say.
	DefaultIdempotencyTTL = 24 * time.Hour
	// MinIdempotencyTTL and MaxIdempotencyTTL bound what a caller may say.
	MinIdempotencyTTL = time.Second
	MaxIdempotencyTTL = 30 * 24 * time.Hour
	// MaxMetadataEntries and MaxMetadataBytes bound the metadata of an execution.
	MaxMetadataEntries = 50
	MaxMetadataBytes   = 64 << 10
	// DefaultMaxRetries allows four attempts of a task that does not say.
	DefaultMaxRetries = 3
	// MaxMaxRetries bounds what a caller may say.
	MaxMaxRetries = 1000
	// DefaultQueue is where work goes that names no queue.
	DefaultQueue = "default"
	// MaxDelay bounds timers and timeouts: about a hundred years, well inside
	// what a timestamp can hold.
	MaxDelay = 100 * 365 * 24 * time.Hour
	// MaxSignals bounds the signals of one execution.
	MaxSignals = 10_000
	// MaxWatchers bounds those who watch live streams or wait for results on one
	// server, and MaxWatchersPerOrg those of one organization.
	MaxWatchers       = 20_000
	MaxWatchersPerOrg = 12_000
	// MaxTreeWatched bounds the executions that one watcher of an execution and its
	// children follows.
	MaxTreeWatched = 100
)
