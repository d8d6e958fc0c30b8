package search

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// million seeds an organization with a million executions: a hundred kinds, one in
// a hundred failed, each with metadata, and ten thousand open, most of which are
// among the newest.
const million = `
INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, history_month, metadata, created_at, started_at, ended_at, updated_at)
SELECT gen_random_uuid(), $1, 'kind-' || i % 97, 'queue-' || i % 5,
	CASE WHEN o.open THEN (ARRAY['PENDING','RUNNING','WAITING'])[i % 3 + 1] WHEN i % 100 = 1 THEN 'FAILED' ELSE 'COMPLETED' END, 7, 0,
	jsonb_build_object('customer', (i % 50000)::text, 'region', CASE WHEN i % 3 = 0 THEN 'eu' ELSE 'us' END),
	now() - i * interval '3 seconds', now() - i * interval '3 seconds', CASE WHEN NOT o.open THEN now() - i * interval '2 seconds' END, now()
FROM generate_series(1000000, 1, -1) AS i, LATERAL (SELECT i < 8000 OR i % 500 = 0 AS open) AS o`

// BenchmarkLists measures a page of 20 with its total among a million executions.
func BenchmarkLists(b *testing.B) {
	ctx := b.Context()
	dsn := pgtest.NewOn(b, pgtest.Server(b))
	store, err := postgres.Open(ctx, postgres.Config{URL: dsn})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	org := flovyn.OrgID(uuid.New())
	if _, err := conn.Exec(ctx, million, org.UUID()); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "VACUUM ANALYZE workflow_execution"); err != nil {
		b.Fatal(err)
	}
	s := New(store, time.Now)
	lists := []struct{ name, query string }{
		{"all", ``},
		{"kind", `kind = "kind-7"`},
		{"completed", `status = "COMPLETED"`},
		{"failed", `status = "FAILED"`},
		{"waiting", `status = "WAITING"`},
		{"kind-and-failed", `kind = "kind-7" AND status = "FAILED"`},
		{"last-hour", `createdAt > -1h`},
		{"rare-metadata", `metadata.customer = "4711"`},
		{"common-metadata", `metadata.region = "eu"`},
		{"oldest-first", `ORDER BY createdAt`},
		{"contains", `kind ~ "d-7"`},
		{"contains-nothing", `kind ~ "zzz"`},
		{"queue", `queue = "queue-3"`},
		{"last-completed", `status = "COMPLETED" ORDER BY completedAt DESC`},
	}
	for _, list := range lists {
		b.Run(list.name, func(b *testing.B) { measure(b, s, Request{Org: org, Query: list.query, Limit: 20}) })
		b.Run(list.name+"/deep-token", func(b *testing.B) {
			req := Request{Org: org, Query: list.query, Limit: 1000}
			for range 100 {
				page, err := s.Workflows(ctx, req)
				if err != nil {
					b.Fatal(err)
				}
				if page.Next == "" {
					break
				}
				req.Token = page.Next
			}
			req.Limit = 20
			measure(b, s, req)
		})
	}
	b.Run("all/deep-offset", func(b *testing.B) { measure(b, s, Request{Org: org, Limit: 20, Offset: 900_000}) })
}

func measure(b *testing.B, s *Searcher, req Request) {
	b.Helper()
	for b.Loop() {
		if _, err := s.Workflows(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/page")
}
