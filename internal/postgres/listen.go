package postgres

import (
	"context"
	"fmt"
)

// channel carries hints between replicas.
const channel = "flovyn_wake"

// Notify sends hints to every replica, this one included. It runs in a
// transaction of its own: a NOTIFY inside a step would take a database-wide
// lock until that step's commit.
func (s *Store) Notify(ctx context.Context, payloads []string) error {
	return s.notify(ctx, channel, payloads)
}

func (s *Store) notify(ctx context.Context, channel string, payloads []string) error {
	_, err := s.pool.Exec(ctx, "SELECT pg_notify($1, p) FROM unnest($2::text[]) AS p", channel, payloads)
	if err != nil {
		return fmt.Errorf("notifying the other servers: %w", translate(err))
	}
	return nil
}

// Listen receives hints on a connection of its own until ctx ends or the
// connection is lost. ready is called once hints can no longer be missed.
func (s *Store) Listen(ctx context.Context, ready func(), receive func(payload string)) error {
	return s.listen(ctx, channel, ready, receive)
}

func (s *Store) listen(ctx context.Context, channel string, ready func(), receive func(payload string)) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting for notifications: %w", translate(err))
	}
	conn := pooled.Hijack() // it must not go back to the pool while listening
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listening for notifications: %w", translate(err))
	}
	ready()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("waiting for notifications: %w", translate(err))
		}
		receive(n.Payload)
	}
}
