package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

const (
	// searchTimeout bounds one statement of a search.
	searchTimeout = 30 * time.Second
	// searchConnections bounds how many searches run at once: what people look
	// for never takes a connection from what workers wait for.
	searchConnections = 4
	// MaxTotal is how far matches are counted.
	MaxTotal = 10_000
	// stateQueryCanceled is what a statement ends with whose time is over.
	stateQueryCanceled = "57014"
)

// Search asks for a page of what a query finds.
type Search struct {
	Org    flovyn.OrgID
	Entity fql.Entity
	// Where is nil for everything.
	Where fql.Node
	Order fql.Order
	// Now is what relative times count from.
	Now           time.Time
	Limit, Offset int
	// After is where the page before ended, nil for the first one.
	After *Place
}

// Place is where a row stands in an order: its value of the field, nil when it
// is absent, and its id.
type Place struct {
	Value any
	ID    uuid.UUID
}

// openReads opens the connections of searches. Every search has a plan of its
// own, made for its values and with all the planner knows, unlike the statements
// of the other pool.
func openReads(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	pc, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	pc.MaxConns = searchConnections
	pc.MinConns = 0
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	maps.Copy(pc.ConnConfig.RuntimeParams, map[string]string{
		"application_name":              "flovyn-server-search",
		"default_transaction_read_only": "on",
		"statement_timeout":             strconv.FormatInt(searchTimeout.Milliseconds(), 10),
		"plan_cache_mode":               "force_custom_plan",
		"jit":                           "off",
		// A search keeps one processor of the database busy at most.
		"max_parallel_workers_per_gather": "0",
		// Lists stop early, and their indexes are in memory or on a fast disk.
		"random_page_cost": "1.1",
	})
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerUUID(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("opening the database for searches: %w", translate(err))
	}
	return pool, nil
}

// column is how a field of an entity is read. The texts are of this file alone:
// nothing that a caller writes becomes part of a statement but as a parameter.
type column struct {
	sql string
	// nullable columns sort last.
	nullable bool
}

const (
	workflowColumns = `id, org_id, kind, queue, status, last_seq, history_month, priority_ms, workflow_version, parent_id, child_name,
		worker_id, activations, idempotency_key, metadata, created_at, started_at, ended_at, updated_at`
	taskColumns = `id, org_id, workflow_id, kind, queue, status, execution_count, max_retries, timeout_ms, history_month, scheduled_seq,
		worker_id, progress, progress_details, error, idempotency_key, metadata, created_at, started_at, ended_at`
)

// source is where an entity's rows come from.
type source struct {
	columns string
	// from ends where conditions begin; $1 is the organization.
	from string
	// id is what tells rows apart that are equal in the order.
	id     string
	fields map[string]column
}

var definitionColumns = map[string]column{
	"id": {sql: "id"}, "kind": {sql: "kind"}, "name": {sql: "name"}, "description": {sql: "NULLIF(description, '')", nullable: true},
	"timeoutSeconds": {sql: "timeout_seconds", nullable: true}, "cancellable": {sql: "cancellable"},
	"latestVersion":      {sql: "NULLIF(version, '')", nullable: true},
	"availabilityStatus": {sql: "CASE WHEN workers > 0 THEN 'AVAILABLE' ELSE 'UNAVAILABLE' END"},
	"workerCount":        {sql: "workers"}, "firstSeenAt": {sql: "first_seen_at"}, "lastRegisteredAt": {sql: "last_registered_at"},
}

func definitionSource(class flovyn.Class) source {
	return source{
		columns: `id, kind, name, description, version, content_hash, timeout_seconds, cancellable, tags, retry_policy, input_schema,
			output_schema, metadata, first_seen_at, last_registered_at, workers`,
		from: fmt.Sprintf(`(SELECT d.*, (
				SELECT count(DISTINCT c.worker_id) FROM worker_capability c JOIN worker w ON w.id = c.worker_id AND w.org_id = c.org_id
				WHERE c.org_id = d.org_id AND c.class = d.class AND c.kind = d.kind
				AND w.last_seen_at > clock_timestamp() - interval '%d seconds') AS workers
			FROM definition d WHERE d.class = '%s') AS t WHERE org_id = $1`, int(OnlineWithin.Seconds()), class),
		id: "id", fields: definitionColumns,
	}
}

var sources = map[fql.Entity]source{
	fql.Workflow: {
		columns: workflowColumns, from: "workflow_execution WHERE org_id = $1", id: "id",
		fields: map[string]column{
			"id": {sql: "id"}, "kind": {sql: "kind"}, "status": {sql: "status"}, "queue": {sql: "queue"},
			"version": {sql: "NULLIF(workflow_version, '')", nullable: true}, "createdAt": {sql: "created_at"},
			"startedAt": {sql: "started_at", nullable: true}, "completedAt": {sql: "ended_at", nullable: true},
			"updatedAt": {sql: "updated_at"},
		},
	},
	fql.Task: {
		columns: taskColumns, from: "task_execution WHERE org_id = $1", id: "id",
		fields: map[string]column{
			"id": {sql: "id"}, "kind": {sql: "kind"}, "status": {sql: "status"}, "queue": {sql: "queue"},
			"attempt": {sql: "execution_count"}, "maxRetries": {sql: "max_retries"},
			"workflowId": {sql: "workflow_id", nullable: true}, "createdAt": {sql: "created_at"},
			"startedAt": {sql: "started_at", nullable: true}, "completedAt": {sql: "ended_at", nullable: true},
		},
	},
	fql.WorkflowDefinition: definitionSource(flovyn.ClassWorkflow),
	fql.TaskDefinition:     definitionSource(flovyn.ClassTask),
}

// searchStatement is a search as SQL with its parameters.
type searchStatement struct {
	source source
	entity fql.Entity
	now    time.Time
	where  strings.Builder
	args   []any
}

func compile(q *Search) (*searchStatement, error) {
	src, ok := sources[q.Entity]
	if !ok {
		return nil, fault.Bug("a search for %q", q.Entity)
	}
	s := &searchStatement{source: src, entity: q.Entity, now: q.Now, args: []any{q.Org.UUID()}}
	if q.Where != nil {
		s.where.WriteString(" AND ")
		s.node(q.Where, false)
	}
	return s, nil
}

// arg adds a parameter and returns how it is written.
func (s *searchStatement) arg(v any, sqlType string) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d::%s", len(s.args), sqlType)
}

// node writes a condition, or its opposite. Each part that is written is true or
// not, as Match says; that SQL has a third value never shows, because nothing
// that is written is negated again.
func (s *searchStatement) node(n fql.Node, negative bool) {
	switch n := n.(type) {
	case fql.Not:
		s.node(n.Node, !negative)
	case fql.And:
		s.pair(n.Left, n.Right, " AND ", " OR ", negative)
	case fql.Or:
		s.pair(n.Left, n.Right, " OR ", " AND ", negative)
	case *fql.Condition:
		s.condition(n, negative)
	}
}

func (s *searchStatement) pair(left, right fql.Node, op, opposite string, negative bool) {
	if negative {
		op = opposite
	}
	s.where.WriteByte('(')
	s.node(left, negative)
	s.where.WriteString(op)
	s.node(right, negative)
	s.where.WriteByte(')')
}

func (s *searchStatement) condition(c *fql.Condition, negative bool) {
	op := c.Op
	if negative {
		if opposite, ok := op.Opposite(); ok {
			op, negative = opposite, false
		}
	}
	if c.Field.Type == fql.Enum {
		s.enum(c, op)
		return
	}
	positive := op
	switch op {
	case fql.NotEqual, fql.NotIn, fql.NotContains:
		positive, _ = op.Opposite()
		negative = true
	}
	text := s.compare(c, positive)
	if negative {
		text = "(" + text + ") IS NOT TRUE"
	}
	s.where.WriteString(text)
}

// enum asks for values that are there: negative conditions for all others, so
// that both are found the same way.
func (s *searchStatement) enum(c *fql.Condition, op fql.Op) {
	given := map[string]bool{}
	for _, v := range c.Values {
		given[v.At(s.now).(string)] = true //nolint:errcheck // checked by fql
	}
	want := func(v string) bool { return given[v] }
	switch op {
	case fql.NotEqual, fql.NotIn:
		want = func(v string) bool { return !given[v] }
	case fql.IsNotNull:
		want = func(string) bool { return true }
	case fql.IsNull:
		want = func(string) bool { return false }
	}
	var open, ended []string
	for _, v := range c.Field.Values {
		switch {
		case !want(v):
		case c.Field.Name == "status" && flovyn.WorkflowStatus(v).Terminal():
			ended = append(ended, v)
		default:
			open = append(open, v)
		}
	}
	sql := s.source.fields[c.Field.Name].sql
	// Ended and open work are in indexes of their own.
	var parts []string
	if len(ended) > 0 {
		parts = append(parts, "ended_at IS NOT NULL AND "+s.oneOf(sql, ended))
	}
	if len(open) > 0 {
		part := s.oneOf(sql, open)
		if c.Field.Name == "status" {
			part = "ended_at IS NULL AND " + part
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		parts = []string{"FALSE"}
	}
	s.where.WriteString("((" + strings.Join(parts, ") OR (") + "))")
}

func (s *searchStatement) oneOf(sql string, values []string) string {
	if len(values) == 1 {
		return sql + " = " + s.arg(values[0], "text")
	}
	return sql + " = ANY (" + s.arg(values, "text[]") + ")"
}

// sqlTypes are the types of parameters.
var sqlTypes = map[fql.Type]string{
	fql.Text: "text", fql.Meta: "text", fql.Enum: "text", fql.Number: "bigint", fql.Bool: "boolean",
	fql.Time: "timestamptz", fql.UUID: "uuid",
}

func (s *searchStatement) compare(c *fql.Condition, op fql.Op) string {
	sqlType, sql := sqlTypes[c.Field.Type], s.source.fields[c.Field.Name].sql
	if c.Field.Type == fql.Meta {
		sql = "(metadata ->> " + s.arg(c.Field.MetadataKey(), "text") + ")"
	}
	switch op {
	case fql.IsNull, fql.IsNotNull:
		return sql + " " + string(op)
	case fql.Contains:
		return sql + " ILIKE " + s.arg("%"+escapeLike.Replace(c.Values[0].At(s.now).(string))+"%", sqlType) //nolint:errcheck // checked by fql
	case fql.Equal, fql.In:
		return s.equal(c, sql, sqlType)
	default:
		return sql + " " + string(op) + " " + s.arg(c.Values[0].At(s.now), sqlType)
	}
}

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (s *searchStatement) equal(c *fql.Condition, sql, sqlType string) string {
	var params []string
	for _, v := range c.Values {
		params = append(params, s.arg(v.At(s.now), sqlType))
	}
	text := sql + " = " + params[0]
	if len(params) > 1 {
		text = sql + " IN (" + strings.Join(params, ", ") + ")"
	}
	if c.Field.Type != fql.Meta {
		return text
	}
	key := s.arg(c.Field.MetadataKey(), "text")
	terms := make([]string, len(params))
	for i, p := range params {
		terms[i] = "metadata_term($1::uuid, " + key + ", " + p + ")"
	}
	// Entries of one number are told apart in a CASE, of which the planner does
	// not believe that it makes matches rarer.
	return "(metadata IS NOT NULL AND metadata_terms(org_id, metadata) && ARRAY[" + strings.Join(terms, ", ") +
		"] AND CASE WHEN " + text + " THEN TRUE ELSE FALSE END)"
}

// page returns the statement of a page of the query's order, and a row more, by
// which it shows whether there is another page.
func (s *searchStatement) page(q *Search) (sql string, args []any) {
	col := s.source.fields[q.Order.Field.Name]
	direction, tie, beyond, beyondTie := "", " DESC", ">", "<"
	if q.Order.Descending {
		direction, tie, beyond, beyondTie = " DESC", "", "<", ">"
	}
	order := col.sql + direction
	if col.nullable {
		order += " NULLS LAST"
	}
	p := searchStatement{source: s.source, args: s.args}
	if q.After != nil {
		p.after(col, *q, beyond, beyondTie)
	}
	sql = "SELECT " + s.source.columns + " FROM " + s.source.from + s.where.String() + p.where.String() +
		" ORDER BY " + order + ", " + s.source.id + tie +
		" LIMIT " + p.arg(int64(q.Limit)+1, "bigint") + " OFFSET " + p.arg(int64(q.Offset), "bigint")
	return sql, p.args
}

// after writes that rows stand beyond a place. The ends of the range stand apart
// from the rest, so that an index is entered at the place.
func (s *searchStatement) after(col column, q Search, beyond, beyondTie string) {
	id := s.arg(q.After.ID, "uuid")
	if q.After.Value == nil {
		fmt.Fprintf(&s.where, " AND %s IS NULL AND %s %s %s", col.sql, s.source.id, beyondTie, id)
		return
	}
	value := s.arg(q.After.Value, sqlTypes[q.Order.Field.Type])
	sql := fmt.Sprintf("%s %s= %s AND (%s %s %s OR %s %s %s)",
		col.sql, beyond, value, col.sql, beyond, value, s.source.id, beyondTie, id)
	if col.nullable {
		sql = sql + " OR " + col.sql + " IS NULL"
	}
	s.where.WriteString(" AND (" + sql + ")")
}

// count returns the statement that counts matches, and one more than MaxTotal.
func (s *searchStatement) count() string {
	return fmt.Sprintf("SELECT count(*) FROM (SELECT FROM %s%s LIMIT %d) AS matches", s.source.from, s.where.String(), MaxTotal+1)
}

// search returns a page of rows, at most one more than asked for.
func search[R any](ctx context.Context, s *Store, q *Search) ([]*R, error) {
	st, err := compile(q)
	if err != nil {
		return nil, err
	}
	sql, args := st.page(q)
	rows, err := s.reads.Query(ctx, sql, args...)
	if err != nil {
		return nil, searchFailure(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByNameLax[R])
	return found, searchFailure(err)
}

func searchFailure(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == stateQueryCanceled {
		return fault.Wrap(fault.Exhausted, err, "the query took longer than %s; ask for less, by kind, status or createdAt", searchTimeout)
	}
	return translate(err)
}

// SearchWorkflows returns a page of workflow executions, and one more when there
// are more.
func (s *Store) SearchWorkflows(ctx context.Context, q *Search) ([]*flovyn.WorkflowExecution, error) {
	rows, err := search[pgq.WorkflowExecution](ctx, s, q)
	return each(rows, executionOf), err
}

// SearchTasks returns a page of tasks, and one more when there are more.
func (s *Store) SearchTasks(ctx context.Context, q *Search) ([]*flovyn.TaskExecution, error) {
	rows, err := search[pgq.TaskExecution](ctx, s, q)
	return each(rows, taskOf), err
}

// definitionRow is a definition with how many workers for it are online.
type definitionRow struct {
	pgq.Definition
	Workers int64
}

// SearchDefinitions returns a page of definitions, and one more when there are
// more.
func (s *Store) SearchDefinitions(ctx context.Context, q *Search) ([]*DefinitionView, error) {
	class := flovyn.ClassWorkflow
	if q.Entity == fql.TaskDefinition {
		class = flovyn.ClassTask
	}
	rows, err := search[definitionRow](ctx, s, q)
	return each(rows, func(r *definitionRow) *DefinitionView {
		return &DefinitionView{definitionOf(class, &r.Definition), r.ID, q.Org, int32(r.Workers)}
	}), err
}

func each[R, V any](rows []R, convert func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = convert(r)
	}
	return values
}

// CountMatches counts what a search finds in all, up to one more than MaxTotal.
func (s *Store) CountMatches(ctx context.Context, q *Search) (int, error) {
	st, err := compile(q)
	if err != nil {
		return 0, err
	}
	var n int
	err = s.reads.QueryRow(ctx, st.count(), st.args...).Scan(&n)
	return n, searchFailure(err)
}

// maxSampled is among how many of the newest rows values are looked for.
const maxSampled = 5000

// DistinctValues returns values that newest rows have in a text field and that
// begin with a prefix, in order.
func (s *Store) DistinctValues(ctx context.Context, org flovyn.OrgID, entity fql.Entity, f fql.Field, prefix string, limit int) ([]string, error) {
	q := &Search{Org: org, Entity: entity}
	st, err := compile(q)
	if err != nil {
		return nil, err
	}
	sql := st.source.fields[f.Name].sql
	newest := "created_at"
	if f.Type == fql.Meta {
		sql = "metadata ->> " + st.arg(f.MetadataKey(), "text")
	}
	if entity == fql.WorkflowDefinition || entity == fql.TaskDefinition {
		newest = "last_registered_at"
	}
	rows, err := s.reads.Query(ctx, fmt.Sprintf(
		`SELECT DISTINCT value COLLATE "C" FROM (SELECT %s AS value FROM %s ORDER BY %s DESC LIMIT %d) AS newest
		WHERE value IS NOT NULL AND starts_with(value, %s) ORDER BY 1 LIMIT %s`,
		sql, st.source.from, newest, maxSampled, st.arg(prefix, "text"), st.arg(int64(limit), "bigint")), st.args...)
	if err != nil {
		return nil, searchFailure(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return values, searchFailure(err)
}
