package fql_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flovyn/flovyn-server/internal/fql"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		``:                       ``,
		`  ` + "\n\t":            ``,
		`kind = "a"`:             `kind = "a"`,
		`kind="a"and queue!="b"`: `kind = "a" AND queue != "b"`,
		`kind = "a" OR kind = "b" AND kind = "c"`:     `kind = "a" OR kind = "b" AND kind = "c"`,
		`(kind = "a" OR kind = "b") AND kind = "c"`:   `(kind = "a" OR kind = "b") AND kind = "c"`,
		`(((kind = "a")))`:                            `kind = "a"`,
		`not kind = "a" and kind = "b"`:               `NOT kind = "a" AND kind = "b"`,
		`NOT (kind = "a" OR kind = "b")`:              `NOT (kind = "a" OR kind = "b")`,
		`kind = "a" AND (kind = "b" AND kind = "c")`:  `kind = "a" AND (kind = "b" AND kind = "c")`,
		`status in ("FAILED","CANCELLED")`:            `status IN ("FAILED", "CANCELLED")`,
		`status NOT  IN ("FAILED")`:                   `status NOT IN ("FAILED")`,
		`kind ~ "a\"b\\c"`:                            `kind ~ "a\"b\\c"`,
		`kind !~ "ä\n"`:                               "",
		`version is null OR version IS NOT NULL`:      `version IS NULL OR version IS NOT NULL`,
		`createdAt > -7d AND createdAt<=NOW()`:        `createdAt > -7d AND createdAt <= NOW()`,
		`createdAt >= today( )`:                       `createdAt >= TODAY()`,
		`createdAt > "2026-01-31"`:                    `createdAt > "2026-01-31T00:00:00Z"`,
		`createdAt > "2026-01-31T12:00:00.5+02:00"`:   `createdAt > "2026-01-31T10:00:00.5Z"`,
		`metadata.region = "eu"`:                      `metadata.region = "eu"`,
		`metadata."my key" = "eu"`:                    `metadata."my key" = "eu"`,
		`metadata."region" = "eu"`:                    `metadata.region = "eu"`,
		`metadata.a.b-c:d/e = "eu"`:                   `metadata.a.b-c:d/e = "eu"`,
		`metadata.and = "eu"`:                         `metadata.and = "eu"`,
		`ORDER BY createdAt`:                          `ORDER BY createdAt`,
		`order by createdAt desc`:                     `ORDER BY createdAt DESC`,
		`kind = "a" ORDER BY kind ASC`:                `kind = "a" ORDER BY kind`,
		`id = "018f0000-0000-7000-8000-00000000000A"`: `id = "018f0000-0000-7000-8000-00000000000a"`,
	} {
		q, err := fql.Parse(fql.Workflow, query)
		if want == "" && strings.TrimSpace(query) != "" {
			if err == nil {
				t.Errorf("%s: parsed as %s", query, q)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got := q.String(); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entity   fql.Entity
		query    string
		position int
		message  string
	}{
		{fql.Workflow, `kind`, 4, "expected =, !=, IN, NOT IN, ~, !~, IS NULL or IS NOT NULL, found the end"},
		{fql.Workflow, `kind =`, 6, "expected a text in double quotes for kind, found the end"},
		{fql.Workflow, `kind = a`, 7, "expected a text in double quotes for kind, found a"},
		{fql.Workflow, `kind = 'a'`, 7, `unexpected character '\''; texts stand in double quotes`},
		{fql.Workflow, `kind = "a`, 7, "expected a double quote at the end of this text"},
		{fql.Workflow, `kind = "ä" AND Kind = "b"`, 15, "workflow has no field Kind; did you mean kind?"},
		{fql.Workflow, `kind > "a"`, 5, "kind does not take >; expected"},
		{fql.Workflow, `createdAt ~ "a"`, 10, "createdAt does not take ~"},
		{fql.Workflow, `status = "DONE"`, 9, `expected one of "PENDING", "RUNNING"`},
		{fql.Workflow, `createdAt > "yesterday"`, 12, "expected a time such as"},
		{fql.Workflow, `createdAt > 7d`, 12, "a relative time begins with a minus sign"},
		{fql.Workflow, `createdAt > -7x`, 14, "expected a unit of time"},
		{fql.Workflow, `createdAt > -99999999d`, 12, "longer ago than a hundred years"},
		{fql.Workflow, `createdAt > -9223372036854775808d`, 12, "longer ago than a hundred years"},
		{fql.Workflow, `createdAt > NOW`, 12, "found NOW"},
		{fql.Workflow, `kind = "a" kind = "b"`, 11, "expected AND, OR, ORDER BY or the end of the query, found kind"},
		{fql.Workflow, `(kind = "a"`, 11, "expected AND, OR or a closing parenthesis, found the end"},
		{fql.Workflow, `status IN "FAILED"`, 10, "expected an opening parenthesis, found a text"},
		{fql.Workflow, `status IN ("FAILED" "FAILED")`, 20, "expected a comma or a closing parenthesis"},
		{fql.Workflow, `status IN ()`, 11, "expected one of"},
		{fql.Workflow, `version IS 1`, 11, "expected NULL, found 1"},
		{fql.Workflow, `ORDER kind`, 6, "expected BY, found kind"},
		{fql.Workflow, `ORDER BY metadata.a`, 9, "metadata.a cannot be ordered by"},
		{fql.Workflow, `ORDER BY kind, status`, 13, "expected the end of the query, found ,"},
		{fql.Workflow, `metadata. = "a"`, 9, "expected a key of the metadata"},
		{fql.Workflow, `metadata."" = "a"`, 9, "expected a key of the metadata"},
		{fql.Workflow, `AND`, 0, "expected a field, found AND"},
		{fql.Workflow, `attempt = 1`, 0, "workflow has no field attempt; expected one of id, kind"},
		{fql.Task, `attempt = "1"`, 10, "expected a whole number for attempt, found a text"},
		{fql.Task, `attempt = 1.5`, 11, "expected a whole number"},
		{fql.Task, `attempt = 99999999999999999999`, 10, "this number is too large"},
		{fql.Task, `workflowId = "x"`, 13, "expected a UUID in double quotes"},
		{fql.TaskDefinition, `metadata.a = "1"`, 0, "taskDefinition has no field metadata.a"},
		{fql.TaskDefinition, `cancellable = 1`, 14, "expected true or false"},
		{fql.TaskDefinition, `latestVersion = "1"`, 0, "taskDefinition has no field latestVersion"},
	} {
		_, err := fql.Parse(c.entity, c.query)
		failure, ok := errors.AsType[*fql.Error](err)
		if !ok {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if failure.Position != c.position || !strings.Contains(failure.Message, c.message) {
			t.Errorf("%s: %d %s, want %d %s", c.query, failure.Position, failure.Message, c.position, c.message)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	list := func(n int) string { return `kind IN ("a"` + strings.Repeat(`, "a"`, n-1) + `)` }
	chain := func(n int) string { return `kind ~ "a"` + strings.Repeat(` OR kind ~ "a"`, n-1) }
	nested := func(n int) string { return strings.Repeat("(", n-1) + `kind ~ "a"` + strings.Repeat(")", n-1) }
	long := func(n int) string { return `kind = "` + strings.Repeat("a", n-len(`kind = ""`)) + `"` }
	for name, c := range map[string]struct {
		make  func(int) string
		limit int
	}{
		"values":     {list, fql.MaxValues},
		"conditions": {chain, fql.MaxConditions},
		"depth":      {nested, fql.MaxDepth},
		"bytes":      {long, fql.MaxBytes},
	} {
		if _, err := fql.Parse(fql.Workflow, c.make(c.limit)); err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		}
		if _, err := fql.Parse(fql.Workflow, c.make(c.limit+1)); err == nil {
			t.Errorf("%s beyond the limit were taken", name)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 29, 1, 30, 0, 0, time.FixedZone("", 7200))
	for clock, want := range map[fql.Clock]string{
		{}:                      "2026-03-28T23:30:00Z",
		{Today: true}:           "2026-03-28T00:00:00Z",
		{Number: 7, Unit: 'd'}:  "2026-03-21T23:30:00Z",
		{Number: 90, Unit: 'm'}: "2026-03-28T22:00:00Z",
		{Number: 30, Unit: 's'}: "2026-03-28T23:29:30Z",
		{Number: 24, Unit: 'h'}: "2026-03-27T23:30:00Z",
		{Number: 52, Unit: 'w'}: "2025-03-29T23:30:00Z",
	} {
		if got := clock.At(now).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", clock, got, want)
		}
	}
}

// What is printed is read as the same query.
func TestPrintedQueriesAreReadTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entity := rapid.SampledFrom(fql.Entities()).Draw(t, "entity")
		q := fql.Draw(t, entity)
		text := q.String()
		got, err := fql.Parse(entity, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(q, got, cmp.AllowUnexported(fql.Value{})); diff != "" {
			t.Fatalf("%s:\n%s", text, diff)
		}
	})
}

// A negative operator is the opposite of the positive one, absent fields included.
func TestOpposites(t *testing.T) {
	t.Parallel()
	f, _ := fql.Workflow.Field("version")
	for _, op := range f.Type.Operators() {
		opposite, ok := op.Opposite()
		if !ok {
			t.Fatal(op)
		}
		for _, value := range []any{nil, "a", "B"} {
			item := func(fql.Field) any { return value }
			c := fql.Condition{Field: f, Op: op, Values: []fql.Value{fql.ValueOf("a")}}
			o := fql.Condition{Field: f, Op: opposite, Values: c.Values}
			if (fql.Query{Where: &c}).Match(time.Time{}, item) == (fql.Query{Where: &o}).Match(time.Time{}, item) {
				t.Errorf("%s and %s of %v", op, opposite, value)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, query := range []string{
		``, `kind = "a" AND NOT (status IN ("FAILED") OR createdAt > -7d) ORDER BY createdAt DESC`,
		`metadata."a b" !~ "x\\"`, `attempt >= 1`, `version IS NOT NULL`, `createdAt < TODAY()`, `cancellable = true`,
	} {
		for i := range fql.Entities() {
			f.Add(query, i, 3)
		}
	}
	f.Fuzz(func(t *testing.T, query string, entity, position int) {
		e := fql.Entities()[uint(entity)%uint(len(fql.Entities()))]
		fql.Complete(e, query, position)
		q, err := fql.Parse(e, query)
		if err != nil {
			failure, ok := errors.AsType[*fql.Error](err)
			if !ok || failure.Message == "" || failure.Position < 0 || failure.Position > len([]rune(query)) {
				t.Fatalf("%#v", err)
			}
			return
		}
		text := q.String()
		if len(text) > fql.MaxBytes { // printed with more space
			return
		}
		again, err := fql.Parse(e, text)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", query, text, err)
		}
		if fmt.Sprintf("%#v", again.String()) != fmt.Sprintf("%#v", text) {
			t.Fatalf("%q printed as %q and %q", query, text, again)
		}
	})
}

func TestComplete(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		want  string
		field string
	}{
		{``, "id kind status queue version createdAt startedAt completedAt updatedAt metadata. NOT ORDER BY", ""},
		{`st`, "status startedAt", ""},
		{`status `, "= != IN NOT IN IS NULL IS NOT NULL", ""},
		{`status =`, `"PENDING" "RUNNING" "WAITING" "COMPLETED" "FAILED" "CANCELLED"`, "status"},
		{`status = "C`, `"COMPLETED" "CANCELLED"`, "status"},
		{`status IN ("FAILED", "C`, `"COMPLETED" "CANCELLED"`, "status"},
		{`status IN ("FAILED" `, `, )`, ""},
		{`status IN ("FAILED") `, `AND OR ORDER BY`, ""},
		{`status = "FAILED" a`, `AND`, ""},
		{`status = "FAILED" AND (ki`, `kind`, ""},
		{`kind = `, ``, "kind"},
		{`createdAt > `, `-1h -24h -7d NOW() TODAY()`, "createdAt"},
		{`createdAt > NOW() `, `AND OR ORDER BY`, ""},
		{`version IS `, `NULL NOT NULL`, ""},
		{`version NOT `, `IN`, ""},
		{`version IS NULL ORDER `, `BY`, ""},
		{`ORDER BY kind `, `ASC DESC`, ""},
		{`ORDER BY compl`, `completedAt`, ""},
		{`nonsense nonsense `, ``, ""},
		{`? `, ``, ""},
	} {
		got := fql.Complete(fql.Workflow, c.query, len([]rune(c.query)))
		var values []string
		for _, s := range got.Suggestions {
			values = append(values, s.Value)
		}
		field := ""
		if got.Field != nil {
			field = got.Field.Name
		}
		if text := strings.Join(values, " "); text != c.want || field != c.field {
			t.Errorf("%s: %s of %q, want %s of %q", c.query, text, field, c.want, c.field)
		}
	}
	if got := fql.Complete(fql.Workflow, `kind = "a"`, 2); len(got.Suggestions) != 1 || got.Suggestions[0].Value != "kind" {
		t.Error("what follows the cursor counts:", got)
	}
}
