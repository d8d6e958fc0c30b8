package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

// TestPlans looks at the plans that the hot statements get before any statistics
// are gathered, which are the ones they keep: each row by its primary key, no
// way through all rows of an organization or of a class.
func TestPlans(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	statements := regexp.MustCompile("(?s)const \\w+ = `-- name: (\\w+) :\\w+\\n(.*?)`")
	files, err := filepath.Glob("internal/pgq/*.sql.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	hot := map[string]bool{
		"ExecutionsLock": true, "TasksLock": true, "PromisesLock": true, "TimersGet": true, "EventsAfter": true, "KeysGet": true,
		"ExecutionsUpdate": true, "TasksUpdate": true, "PromisesUpdate": true, "TimersDelete": true, "KeysDelete": true,
		"ReadyDelete": true, "ExecutionsClaim": true, "TasksClaim": true, "ExecutionGet": true, "TaskGet": true,
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range statements.FindAllStringSubmatch(string(source), -1) {
			name, sql := m[1], m[2]
			if !hot[name] {
				continue
			}
			delete(hot, name)
			plan := explain(t, conn, name, sql)
			for _, detour := range []string{"workflow_execution_org", "task_execution_standalone", "Seq Scan"} {
				if strings.Contains(plan, detour) {
					t.Errorf("%s goes by %s:\n%s", name, detour, plan)
				}
			}
		}
	}
	if len(hot) > 0 {
		t.Errorf("statements that were not found: %v", hot)
	}
}

func explain(t *testing.T, conn *pgx.Conn, name, sql string) string {
	t.Helper()
	prepared, err := conn.Prepare(t.Context(), name, sql)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "PREPARE p"+name+" AS "+sql); err != nil {
		t.Fatal(err)
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL,", len(prepared.ParamOIDs)), ",")
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE p"+name+"("+nulls+")")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
