package search

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// now is the time at which the tests search.
var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// seeds are rows of two organizations: of every kind, status and queue, with and
// without everything that may be absent, several of them at the same time.
const seeds = `
INSERT INTO workflow_execution (id, org_id, kind, queue, status, last_seq, history_month, workflow_version, metadata,
	created_at, started_at, ended_at, updated_at)
SELECT gen_random_uuid(), o.id, 'kind-' || i % 4, CASE WHEN i % 3 = 0 THEN 'default' ELSE 'q_%' || i % 3 END, s.status, 1, 0,
	CASE WHEN i % 5 = 0 THEN '' ELSE 'V' || i % 5 END,
	CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '{"region": "eu", "my key": "A"}'::jsonb WHEN 2 THEN '{"region": "US"}'::jsonb ELSE '{}'::jsonb END,
	$1::timestamptz - i / 2 * interval '7 hours', CASE WHEN i % 2 = 0 THEN $1::timestamptz - i * interval '3 hours' END,
	CASE WHEN s.ended THEN $1::timestamptz - i / 3 * interval '1 hour' END, $1::timestamptz - i % 7 * interval '1 hour'
FROM generate_series(1, 120) AS i, unnest($2::uuid[]) AS o (id),
	LATERAL (SELECT (ARRAY['PENDING','RUNNING','WAITING','COMPLETED','FAILED','CANCELLED'])[i % 6 + 1] AS status, i % 6 > 2 AS ended) AS s;
`

const seedTasks = `
INSERT INTO task_execution (id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, metadata, created_at, started_at, ended_at)
SELECT gen_random_uuid(), o.id, CASE WHEN i % 3 = 0 THEN '018f0000-0000-7000-8000-00000000000a'::uuid END, 'kind-' || i % 4, 'default',
	s.status, i % 4, i % 3, CASE WHEN i % 2 = 0 THEN '{"region": "eu"}'::jsonb END,
	$1::timestamptz - i / 2 * interval '7 hours', CASE WHEN i % 2 = 0 THEN $1::timestamptz END, CASE WHEN s.ended THEN $1::timestamptz END
FROM generate_series(1, 60) AS i, unnest($2::uuid[]) AS o (id),
	LATERAL (SELECT (ARRAY['PENDING','RUNNING','COMPLETED','FAILED','CANCELLED'])[i % 5 + 1] AS status, i % 5 > 1 AS ended) AS s;
`

const seedDefinitions = `
INSERT INTO definition (org_id, class, kind, name, description, version, timeout_seconds, cancellable)
SELECT o.id, c.class, 'kind-' || i, 'Kind ' || i, CASE WHEN i % 2 = 0 THEN 'even' ELSE '' END, CASE WHEN i % 3 = 0 THEN '1' ELSE '' END,
	CASE WHEN i % 2 = 0 THEN i END, i % 4 = 0
FROM generate_series(1, 9) AS i, unnest(ARRAY['workflow', 'task']) AS c (class), unnest($1::uuid[]) AS o (id);
`

const seedWorkers = `
WITH w AS (INSERT INTO worker (id, org_id, name, last_seen_at)
	SELECT gen_random_uuid(), o.id, 'w' || i, now() - CASE WHEN i = 3 THEN interval '1 hour' ELSE interval '1 second' END
	FROM generate_series(1, 3) AS i, unnest($1::uuid[]) AS o (id) RETURNING id, org_id, name)
INSERT INTO worker_capability (worker_id, process, class, kind, org_id)
SELECT w.id, p, 'workflow', k, w.org_id FROM w, unnest(ARRAY['a', 'b']) AS p,
	unnest(CASE w.name WHEN 'w1' THEN ARRAY['kind-1', 'kind-2'] WHEN 'w2' THEN ARRAY['kind-2'] ELSE ARRAY['kind-3'] END) AS k;
`

type bench struct {
	*testing.T
	*Searcher
	org, other flovyn.OrgID
}

func setUp(t *testing.T) *bench {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	b := &bench{T: t, org: flovyn.OrgID(uuid.New()), other: flovyn.OrgID(uuid.New())}
	b.Searcher = New(store, func() time.Time { return now })
	conn, err := pgx.Connect(t.Context(), dsn)
	b.must(err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	orgs := []uuid.UUID{b.org.UUID(), b.other.UUID()}
	_, err = conn.Exec(t.Context(), seeds, now, orgs)
	b.must(err)
	_, err = conn.Exec(t.Context(), seedTasks, now, orgs)
	b.must(err)
	_, err = conn.Exec(t.Context(), seedDefinitions, orgs)
	b.must(err)
	_, err = conn.Exec(t.Context(), seedWorkers, orgs)
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func all(query string, org flovyn.OrgID) Request { return Request{Org: org, Query: query, Limit: 1000} }

// vocabulary are values for fields, by which some rows are found and others not.
var vocabulary = map[string][]string{
	"id":                 {`"018f0000-0000-7000-8000-00000000000a"`},
	"kind":               {`"kind-1"`, `"kind-2"`, `"KIND"`, `"%"`, `"nothing"`, `""`, `"' OR 1=1 --"`},
	"name":               {`"Kind 1"`, `"kind"`},
	"description":        {`"even"`, `"E"`},
	"queue":              {`"default"`, `"q_%1"`, `"_"`, `"%"`},
	"version":            {`"V1"`, `"v"`},
	"latestVersion":      {`"1"`},
	"attempt":            {`0`, `1`, `2`, `-9223372036854775808`},
	"maxRetries":         {`1`, `9223372036854775807`},
	"timeoutSeconds":     {`2`, `6`},
	"workerCount":        {`0`, `1`, `2`},
	"cancellable":        {`true`, `false`},
	"availabilityStatus": {`"AVAILABLE"`, `"UNAVAILABLE"`},
	"workflowId":         {`"018f0000-0000-7000-8000-00000000000a"`, `"018f0000-0000-7000-8000-00000000000b"`},
	"status":             {`"RUNNING"`, `"FAILED"`, `"COMPLETED"`, `"PENDING"`},
	"metadata.region":    {`"eu"`, `"us"`, `"US"`},
	`metadata."my key"`:  {`"A"`, `"a"`},
	"metadata.absent":    {`""`},
}

var moments = []string{`-7d`, `NOW()`, `TODAY()`, `"2026-03-09T22:00:00Z"`, `-35h`}

func drawQuery(t *rapid.T, entity fql.Entity, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "node") {
		case 0:
			return "(" + drawQuery(t, entity, depth-1) + " AND " + drawQuery(t, entity, depth-1) + ")"
		case 1:
			return "(" + drawQuery(t, entity, depth-1) + " OR " + drawQuery(t, entity, depth-1) + ")"
		case 2:
			return "NOT " + drawQuery(t, entity, depth-1)
		}
	}
	var names []string
	for _, f := range entity.Fields() {
		names = append(names, f.Name)
	}
	if entity.HasMetadata() {
		names = append(names, "metadata.region", `metadata."my key"`, "metadata.absent")
	}
	name := rapid.SampledFrom(names).Draw(t, "field")
	f, ok := entity.Field(strings.ReplaceAll(name, `"`, ""))
	if !ok {
		t.Fatal(name)
	}
	values := vocabulary[name]
	if f.Type == fql.Time {
		values = moments
	}
	op := rapid.SampledFrom(f.Type.Operators()).Draw(t, "op")
	condition := name + " " + string(op)
	switch op {
	case fql.IsNull, fql.IsNotNull:
		return condition
	case fql.In, fql.NotIn:
		return condition + " (" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(values), 1, 3).Draw(t, "values"), ", ") + ")"
	default:
		return condition + " " + rapid.SampledFrom(values).Draw(t, "value")
	}
}

// What the database finds is what Match says, for any query.
func TestSearchMeansWhatMatchSays(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	metadata := func(raw []byte, f fql.Field) any {
		var m map[string]string
		_ = json.Unmarshal(raw, &m)
		if v, ok := m[f.MetadataKey()]; ok {
			return v
		}
		return nil
	}
	workflows, err := b.Workflows(ctx, all("", b.org))
	b.must(err)
	tasks, err := b.Tasks(ctx, all("workflowId IS NULL OR workflowId IS NOT NULL", b.org))
	b.must(err)
	if len(workflows.Items) != 120 || len(tasks.Items) != 60 {
		t.Fatal(len(workflows.Items), len(tasks.Items))
	}
	rapid.Check(t, func(t *rapid.T) {
		entity := rapid.SampledFrom(fql.Entities()).Draw(t, "entity")
		query := drawQuery(t, entity, 3)
		switch entity {
		case fql.Workflow:
			got, err := b.Workflows(ctx, all(query, b.org))
			compare(t, query, got, err, workflows.Items, entity, func(w *flovyn.WorkflowExecution, f fql.Field) any {
				if f.Type == fql.Meta {
					return metadata(w.Metadata, f)
				}
				return workflowValue(w, f)
			})
		case fql.Task:
			query = "(workflowId IS NULL OR workflowId IS NOT NULL) AND " + query
			got, err := b.Tasks(ctx, all(query, b.org))
			compare(t, query, got, err, tasks.Items, entity, func(w *flovyn.TaskExecution, f fql.Field) any {
				if f.Type == fql.Meta {
					return metadata(w.Metadata, f)
				}
				return taskValue(w, f)
			})
		default:
			class := flovyn.ClassWorkflow
			if entity == fql.TaskDefinition {
				class = flovyn.ClassTask
			}
			every, err := b.Definitions(ctx, class, all("", b.org))
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.Definitions(ctx, class, all(query, b.org))
			compare(t, query, got, err, every.Items, entity, definitionValue)
		}
	})
}

func compare[T any](t *rapid.T, query string, got Page[T], err error, items []*T, entity fql.Entity, value func(*T, fql.Field) any) {
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	q, err := fql.Parse(entity, query)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := entity.Field("id")
	var want []string
	for _, item := range items {
		// Times of definitions are those of the database.
		if q.Match(now, func(f fql.Field) any { return value(item, f) }) {
			want = append(want, fmt.Sprint(value(item, id)))
		}
	}
	var found []string
	for _, item := range got.Items {
		found = append(found, fmt.Sprint(value(item, id)))
	}
	slices.Sort(want)
	slices.Sort(found)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Fatalf("%s:\n%s", query, diff)
	}
	if got.Total != len(found) || got.TotalIsCapped || got.Next != "" {
		t.Fatalf("%s: total %d of %d, %v %q", query, got.Total, len(found), got.TotalIsCapped, got.Next)
	}
}

// Pages by token and pages by offset are the whole list, in any order.
func TestPages(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	for _, f := range fql.Workflow.Fields() {
		for _, direction := range []string{"ASC", "DESC"} {
			query := `queue != "q_%1" ORDER BY ` + f.Name + " " + direction
			whole, err := b.Workflows(ctx, all(query, b.org))
			b.must(err)
			want := ids(whole.Items)
			var byToken, byOffset []string
			token := ""
			for {
				page, err := b.Workflows(ctx, Request{Org: b.org, Query: query, Limit: 7, Token: token})
				b.must(err)
				byToken = append(byToken, ids(page.Items)...)
				if page.Total != len(want) {
					t.Errorf("%s: total %d, want %d", query, page.Total, len(want))
				}
				next, err := b.Workflows(ctx, Request{Org: b.org, Query: query, Limit: 7, Offset: len(byOffset)})
				b.must(err)
				byOffset = append(byOffset, ids(next.Items)...)
				if token = page.Next; token == "" || len(byToken) > len(want) {
					break
				}
			}
			if diff := cmp.Diff(want, byToken); diff != "" {
				t.Errorf("%s by token:\n%s", query, diff)
			}
			if diff := cmp.Diff(want, byOffset); diff != "" {
				t.Errorf("%s by offset:\n%s", query, diff)
			}
			checkOrder(t, query, f, direction == "DESC", whole.Items)
		}
	}
}

func checkOrder(t *testing.T, query string, f fql.Field, descending bool, items []*flovyn.WorkflowExecution) {
	t.Helper()
	for i := 1; i < len(items); i++ {
		a, b := workflowValue(items[i-1], f), workflowValue(items[i], f)
		if a == nil && b != nil {
			t.Errorf("%s: absent values do not come last", query)
		}
		before, ok := a.(time.Time)
		after, _ := b.(time.Time)
		if ok && b != nil && (descending && before.Before(after) || !descending && before.After(after)) {
			t.Errorf("%s: %v before %v", query, a, b)
		}
	}
}

func ids(items []*flovyn.WorkflowExecution) []string {
	var all []string
	for _, w := range items {
		all = append(all, w.ID.String())
	}
	return all
}

// A token goes with its query, its order and its organization, and with nothing else.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	const query = `kind ~ "kind" ORDER BY completedAt`
	page, err := b.Workflows(ctx, Request{Org: b.org, Query: query, Limit: 5})
	b.must(err)
	if page.Next == "" {
		t.Fatal("there is no second page")
	}
	spoil := func(change func(map[string]any)) string {
		raw, err := base64.RawURLEncoding.DecodeString(page.Next)
		b.must(err)
		var fields map[string]any
		b.must(json.Unmarshal(raw, &fields))
		change(fields)
		raw, err = json.Marshal(fields)
		b.must(err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	for name, req := range map[string]Request{
		"query":        {Org: b.org, Query: `kind ~ "k" ORDER BY completedAt`, Token: page.Next},
		"order":        {Org: b.org, Query: query + " DESC", Token: page.Next},
		"organization": {Org: b.other, Query: query, Token: page.Next},
		"sugar":        {Org: b.org, Query: query, Equal: []Equal{{"kind", "kind-1"}}, Token: page.Next},
		"offset":       {Org: b.org, Query: query, Token: page.Next, Offset: 5},
		"no base64":    {Org: b.org, Query: query, Token: "%"},
		"no JSON":      {Org: b.org, Query: query, Token: "AAAA"},
		"value":        {Org: b.org, Query: query, Token: spoil(func(f map[string]any) { f["v"] = "x" })},
		"far value":    {Org: b.org, Query: query, Token: spoil(func(f map[string]any) { f["v"] = "9223372036854775807" })},
		"clock":        {Org: b.org, Query: query, Token: spoil(func(f map[string]any) { f["n"] = -1 << 60 })},
		"total":        {Org: b.org, Query: query, Token: spoil(func(f map[string]any) { f["t"] = -5 })},
	} {
		req.Limit = 5
		if _, err := b.Workflows(ctx, req); !fault.Is(err, fault.Invalid) || len(fault.DetailsOf(err)) != 1 || fault.DetailsOf(err)[0].Path != "page_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Spaces do not make another query.
	if _, err := b.Workflows(ctx, Request{Org: b.org, Query: "  " + query, Limit: 5, Token: page.Next}); err != nil {
		t.Error(err)
	}
}

func TestShortConditions(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	page, err := b.Workflows(ctx, Request{Org: b.org, Query: `createdAt > -7d`, Limit: 100, Equal: []Equal{{"status", "FAILED"}, {"kind", "kind-0"}}})
	b.must(err)
	if len(page.Items) == 0 {
		t.Error("nothing was found")
	}
	for _, w := range page.Items {
		if w.Status != flovyn.WorkflowFailed || w.Kind != "kind-0" || w.CreatedAt.Before(now.Add(-7*24*time.Hour)) {
			t.Errorf("found %+v", w)
		}
	}
	if _, err := b.Workflows(ctx, Request{Org: b.org, Limit: 1, Equal: []Equal{{"status", "DONE"}}}); !fault.Is(err, fault.Invalid) ||
		!strings.HasPrefix(fault.Message(err), "status: want one of PENDING") {
		t.Error(err)
	}
	if _, err := b.Workflows(ctx, Request{Org: b.org, Limit: 1, Query: "kind ="}); !fault.Is(err, fault.Invalid) ||
		!strings.HasPrefix(fault.Message(err), "query: at character 7: expected a text") {
		t.Error(err)
	}
	standalone, err := b.Tasks(ctx, all("", b.org))
	b.must(err)
	if standalone.Total != 40 {
		t.Errorf("%d tasks of no workflow", standalone.Total)
	}
	ofWorkflow, err := b.Tasks(ctx, all(`workflowId = "018f0000-0000-7000-8000-00000000000a"`, b.org))
	b.must(err)
	if ofWorkflow.Total != 20 {
		t.Errorf("%d tasks of the workflow", ofWorkflow.Total)
	}
}

func TestValuesAndCompletion(t *testing.T) {
	t.Parallel()
	b := setUp(t)
	ctx := t.Context()
	for _, c := range []struct {
		entity fql.Entity
		field  string
		prefix string
		want   string
	}{
		{fql.Workflow, "kind", "", "kind-0 kind-1 kind-2 kind-3"},
		{fql.Workflow, "kind", "kind-1", "kind-1"},
		{fql.Workflow, "kind", "\x00", ""},
		{fql.Workflow, "metadata.region", "", "US eu"},
		{fql.Workflow, "status", "C", "COMPLETED CANCELLED"},
		{fql.Workflow, "createdAt", "", ""},
		{fql.Task, "kind", "kind-3", "kind-3"},
		{fql.TaskDefinition, "cancellable", "", "true false"},
		{fql.TaskDefinition, "name", "Kind 9", "Kind 9"},
	} {
		got, err := b.Values(ctx, b.org, c.entity, c.field, c.prefix)
		b.must(err)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s of %s: %s, want %s", c.field, c.entity, text, c.want)
		}
	}
	if _, err := b.Values(ctx, b.org, fql.Workflow, "nothing", ""); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	suggestions, err := b.Complete(ctx, b.org, fql.Workflow, `kind = "kind-2`, 14)
	b.must(err)
	if len(suggestions) != 1 || suggestions[0].Value != `"kind-2"` {
		t.Error(suggestions)
	}
	// Nobody sees what others have.
	if got, err := b.Values(ctx, flovyn.OrgID(uuid.New()), fql.Workflow, "kind", ""); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}
