package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// TestSearchPlans looks at how lists are found among many rows: by an index that
// holds them in their order, or by one that holds nothing but matches.
func TestSearchPlans(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := pgtest.New(t)
	store, err := postgres.Open(ctx, postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	org := uuid.New()
	for _, sql := range []string{
		`INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, history_month, metadata, created_at, ended_at, updated_at)
		SELECT gen_random_uuid(), '` + org.String() + `', 'kind-' || i % 50, 'default',
			CASE WHEN i % 100 = 0 THEN 'WAITING' WHEN i % 100 = 1 THEN 'FAILED' ELSE 'COMPLETED' END, 1, 0,
			jsonb_build_object('customer', (i % 1000)::text), now() - i * interval '1 minute', CASE WHEN i % 100 > 0 THEN now() END, now()
		FROM generate_series(1, 20000) AS i`,
		`INSERT INTO task_execution (id, org_id, workflow_id, kind, queue, status, max_retries, created_at, ended_at)
		SELECT gen_random_uuid(), '` + org.String() + `', CASE WHEN i % 2 = 0 THEN gen_random_uuid() END, 'kind-' || i % 50, 'default',
			CASE WHEN i % 100 = 1 THEN 'FAILED' ELSE 'COMPLETED' END, 3, now() - i * interval '1 minute', now()
		FROM generate_series(1, 20000) AS i`,
		`VACUUM ANALYZE workflow_execution`, `VACUUM ANALYZE task_execution`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	place := &postgres.Place{Value: time.Now().Add(-15000 * time.Minute), ID: uuid.New()}
	for _, c := range []struct {
		entity fql.Entity
		query  string
		after  *postgres.Place
		index  string
		sorted bool
	}{
		{fql.Workflow, ``, nil, "workflow_execution_org", false},
		{fql.Workflow, ``, place, "workflow_execution_org", false},
		{fql.Workflow, `kind = "kind-7"`, nil, "workflow_execution_kind", false},
		{fql.Workflow, `kind = "kind-7"`, place, "workflow_execution_kind", false},
		{fql.Workflow, `status = "FAILED"`, nil, "workflow_execution_ended_list", false},
		{fql.Workflow, `status = "WAITING"`, nil, "workflow_execution_open_list", false},
		{fql.Workflow, `status NOT IN ("COMPLETED", "FAILED", "CANCELLED")`, nil, "workflow_execution_open_list", false},
		{fql.Workflow, `createdAt > -1h`, nil, "workflow_execution_org", false},
		{fql.Workflow, `metadata.customer = "77"`, nil, "workflow_execution_metadata", true},
		{fql.Workflow, `metadata.customer IN ("77", "78") AND kind = "kind-7"`, nil, "workflow_execution_metadata", true},
		{fql.Task, `workflowId IS NULL`, place, "task_execution_standalone", false},
		{fql.Task, `workflowId IS NULL AND kind = "kind-7"`, nil, "task_execution_standalone_kind", false},
		{fql.Task, `workflowId IS NULL AND status = "FAILED"`, nil, "task_execution_standalone_ended", false},
		{fql.Task, `workflowId IS NOT NULL`, nil, "task_execution_of_workflows", false},
		{fql.Task, `workflowId = "018f0000-0000-7000-8000-00000000000a"`, nil, "task_execution_workflow", true},
	} {
		q, err := fql.Parse(c.entity, c.query)
		if err != nil {
			t.Fatal(err)
		}
		created, _ := c.entity.Field("createdAt")
		page, count, err := store.ExplainSearch(ctx, &postgres.Search{
			Org: flovyn.OrgID(org), Entity: c.entity, Where: q.Where, Order: fql.Order{Field: created, Descending: true},
			Now: time.Now(), Limit: 20, After: c.after,
		})
		if err != nil {
			t.Fatalf("%s: %v", c.query, err)
		}
		if !strings.Contains(page, c.index) || strings.Contains(page, "Sort") != c.sorted || strings.Contains(page, "Seq Scan") {
			t.Errorf("%s of %s:\n%s", c.query, c.entity, page)
		}
		// Few matches are counted as they are found; many, among rows as few as
		// these, as fast in any order.
		if c.sorted && !strings.Contains(count, c.index) {
			t.Errorf("the count of %s of %s:\n%s", c.query, c.entity, count)
		}
	}
}
