package wake_test

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// terminateListeners cuts the connections that wait for notifications.
func terminateListeners(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()")
	return err
}
