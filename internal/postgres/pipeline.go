package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// statement runs exactly one generated query.
type statement func(ctx context.Context, db pgq.DBTX) error

// batchSender is a connection or a transaction.
type batchSender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// pipeline sends all statements in one round trip. Generated code calls a
// database and reads its answer at once; so each statement runs twice, first
// against a recorder that only notes the query, then against the answers.
func pipeline(ctx context.Context, db batchSender, statements []statement) error {
	rec := &recorder{batch: &pgx.Batch{}}
	for _, s := range statements {
		if err := s(ctx, rec); err != nil && !errors.Is(err, errRecorded) {
			return err
		}
	}
	results := db.SendBatch(ctx, rec.batch)
	for _, s := range statements {
		if err := s(ctx, replayer{results}); err != nil {
			_ = results.Close() // the statement's error is the cause
			return err
		}
	}
	return results.Close()
}

// plain is a statement without generated code, such as BEGIN.
func plain(sql string) statement {
	return func(ctx context.Context, db pgq.DBTX) error {
		_, err := db.Exec(ctx, sql)
		return err
	}
}

var errRecorded = errors.New("query recorded")

type recorder struct{ batch *pgx.Batch }

// Exec notes a query.
func (r *recorder) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	r.batch.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

// Query notes a query.
func (r *recorder) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	r.batch.Queue(sql, args...)
	return nil, errRecorded
}

// QueryRow notes a query.
func (r *recorder) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	r.batch.Queue(sql, args...)
	return recordedRow{}
}

type recordedRow struct{}

// Scan has nothing to read.
func (recordedRow) Scan(...any) error { return errRecorded }

type replayer struct{ results pgx.BatchResults }

// Exec reads the next answer.
func (r replayer) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return r.results.Exec()
}

// Query reads the next answer.
func (r replayer) Query(context.Context, string, ...any) (pgx.Rows, error) {
	return r.results.Query()
}

// QueryRow reads the next answer.
func (r replayer) QueryRow(context.Context, string, ...any) pgx.Row {
	return r.results.QueryRow()
}
