package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// orgREST calls the REST API of the test organization with a key.
type orgREST struct {
	*testing.T
	server *servertest.Server
	client *http.Client
	key    string
}

func restOf(t *testing.T, s *servertest.Server, key string) orgREST {
	t.Helper()
	client := overHTTP1(t)
	client.Timeout = time.Minute
	return orgREST{t, s, client, key}
}

// call returns the status and the body of an answer.
func (r orgREST) call(method, path, body string) (int, string) {
	r.Helper()
	header := map[string]string{"Authorization": "Bearer " + r.key}
	if body != "" {
		header["Content-Type"] = "application/json"
	}
	answer := request(r.T, r.client, method, r.server.HTTP+"/api/orgs/"+servertest.OrgSlug+path, header, body)
	return answer.status, answer.body
}

// want calls and compares the status, and returns the body as an object.
func (r orgREST) want(status int, method, path, body string) map[string]any {
	r.Helper()
	got, answer := r.call(method, path, body)
	if got != status {
		r.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	if answer == "" {
		return nil
	}
	return decode(r.T, answer)
}

// refused calls and compares the status and the beginning of the message.
func (r orgREST) refused(status int, message, method, path, body string) {
	r.Helper()
	if text := fmt.Sprint(r.want(status, method, path, body)["error"]); !strings.HasPrefix(text, message) {
		r.Errorf("%s %s: %s, want %s", method, path, text, message)
	}
}

func field[T any](t *testing.T, object map[string]any, name string) T {
	t.Helper()
	v, ok := object[name].(T)
	if !ok {
		t.Fatalf("%s is %#v in %v", name, object[name], object)
	}
	return v
}

// Schedules and lists by REST: what a schedule starts is found by queries, page
// by page, and by saved queries.
func TestSchedulesAndLists(t *testing.T) {
	t.Parallel()
	r := restOf(t, servertest.New(t), servertest.AdminKey)
	const schedule = `{"name": "nightly", "scheduleType": {"type": "recurring", "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
		"target": {"type": "workflow", "workflowKind": "report", "input": {"id": 9007199254740993}, "metadata": {"region": "eu"}}}`
	made := r.want(http.StatusCreated, "POST", "/schedules", schedule)
	id := field[string](t, made, "id")
	if field[bool](t, made, "enabled") != true || !strings.HasSuffix(field[string](t, made, "nextRunAtLocal"), "30:00") ||
		field[string](t, made, "missedRunPolicy") != "skip" || !strings.Contains(field[string](t, made, "createdBy"), ":") {
		t.Error(made)
	}
	if _, body := r.call("GET", "/schedules/"+id, ""); !strings.Contains(body, "9007199254740993") {
		t.Error("the input is not what it was:", body)
	}
	r.refused(http.StatusConflict, "a schedule with this name exists", "POST", "/schedules", schedule)
	r.refused(http.StatusBadRequest, "schedule_type.cron: minute", "POST", "/schedules", strings.Replace(schedule, "30 2", "77 2", 1))
	r.refused(http.StatusBadRequest, "schedule_type.timezone:", "POST", "/schedules", strings.Replace(schedule, "Berlin", "Atlantis", 1))
	r.refused(http.StatusBadRequest, "schedule_type.run_at:", "POST", "/schedules",
		`{"name": "past", "scheduleType": {"type": "once", "runAt": "2020-01-01T00:00:00Z"}, "target": {"type": "task", "taskKind": "t"}}`)
	const runs = 5
	for range runs {
		run := r.want(http.StatusOK, "POST", "/schedules/"+id+"/trigger", "{}")
		if field[string](t, run, "status") != "running" || field[string](t, run, "targetId") == "" {
			t.Error(run)
		}
	}
	if list := r.want(http.StatusOK, "GET", "/schedules/"+id+"/runs?limit=2", ""); field[float64](t, list, "total") != runs || len(field[[]any](t, list, "runs")) != 2 {
		t.Error(list)
	}
	if paused := r.want(http.StatusOK, "POST", "/schedules/"+id+"/pause", "{}"); field[bool](t, paused, "enabled") {
		t.Error(paused)
	}
	r.want(http.StatusOK, "POST", "/schedules/"+id+"/resume", "{}")
	if changed := r.want(http.StatusOK, "PUT", "/schedules/"+id, `{"name": "renamed"}`); field[string](t, changed, "name") != "renamed" {
		t.Error(changed)
	}
	query := url.QueryEscape(`kind = "report" AND metadata.region = "eu" ORDER BY createdAt`)
	seen := map[string]bool{}
	next := ""
	for {
		page := r.want(http.StatusOK, "GET", "/workflow-executions?status=PENDING&limit=2&query="+query+next, "")
		if field[float64](t, page, "total") != runs {
			t.Error(page)
		}
		for _, w := range field[[]any](t, page, "workflows") {
			execution, _ := w.(map[string]any)
			seen[field[string](t, execution, "id")] = true
			if field[map[string]any](t, execution, "metadata")["region"] != "eu" {
				t.Error(execution)
			}
		}
		token, _ := page["nextPageToken"].(string)
		if token == "" || len(seen) > runs {
			break
		}
		next = "&pageToken=" + url.QueryEscape(token)
	}
	if len(seen) != runs {
		t.Errorf("the pages have %d executions", len(seen))
	}
	r.refused(http.StatusBadRequest, "query: at character 6: kind does not take <; expected", "GET", "/workflow-executions?query="+url.QueryEscape(`kind <> 1`), "")
	r.refused(http.StatusBadRequest, "status: want one of", "GET", "/workflow-executions?status=DONE", "")
	r.refused(http.StatusBadRequest, "page_token:", "GET", "/workflow-executions?pageToken=x", "")
	if tasks := r.want(http.StatusOK, "GET", "/task-executions", ""); field[float64](t, tasks, "total") != 0 {
		t.Error(tasks)
	}
	savedQueriesByREST(t, r, runs)
	r.want(http.StatusNoContent, "DELETE", "/schedules/"+id, "")
	r.refused(http.StatusNotFound, "schedule not found", "GET", "/schedules/"+id, "")
	// A member may look and run, and not change.
	member := restOf(t, r.server, servertest.MemberKey)
	member.want(http.StatusForbidden, "POST", "/schedules", schedule)
	member.want(http.StatusOK, "GET", "/schedules", "")
	// Another organization is as good as none.
	stranger := restOf(t, r.server, servertest.ForeignAdminKey)
	stranger.want(http.StatusNotFound, "GET", "/workflow-executions", "")
}

func savedQueriesByREST(t *testing.T, r orgREST, found int) {
	t.Helper()
	saved := r.want(http.StatusCreated, "POST", "/saved-queries", `{"name": "reports", "entity": "workflow", "query": "kind = \"report\"", "isShared": true}`)
	id := field[string](t, saved, "id")
	r.refused(http.StatusConflict, "a saved query with this name exists", "POST", "/saved-queries", `{"name": "reports", "entity": "task"}`)
	r.refused(http.StatusBadRequest, "query: at character 1:", "POST", "/saved-queries", `{"name": "bad", "entity": "task", "query": "nonsense"}`)
	result := r.want(http.StatusOK, "POST", "/saved-queries/"+id+"/execute", `{"limit": 3}`)
	if field[float64](t, result, "total") != float64(found) || len(field[[]any](t, result, "workflows")) != 3 || field[string](t, result, "entity") != "workflow" {
		t.Error(result)
	}
	private := r.want(http.StatusCreated, "POST", "/saved-queries", `{"name": "mine", "entity": "taskDefinition", "query": ""}`)
	member := restOf(t, r.server, servertest.MemberKey)
	if list := member.want(http.StatusOK, "GET", "/saved-queries", ""); field[float64](t, list, "total") != 1 {
		t.Error("a member sees", list)
	}
	member.refused(http.StatusNotFound, "saved query not found", "GET", "/saved-queries/"+field[string](t, private, "id"), "")
	if list := r.want(http.StatusOK, "GET", "/saved-queries?entity=workflow", ""); field[float64](t, list, "total") != 1 {
		t.Error(list)
	}
	got := r.want(http.StatusOK, "PUT", "/saved-queries/"+id, `{"query": "kind = \"other\"", "description": "d"}`)
	if field[string](t, got, "query") != `kind = "other"` || field[string](t, got, "lastUsedAt") == "" {
		t.Error(got)
	}
	r.refused(http.StatusBadRequest, "query:", "PUT", "/saved-queries/"+id, `{"query": "nonsense"}`)
	r.want(http.StatusNoContent, "DELETE", "/saved-queries/"+id, "")
	r.refused(http.StatusNotFound, "saved query not found", "GET", "/saved-queries/"+id, "")
}

// Metadata fields of a kind stand in the place of global ones.
func TestMetadataFields(t *testing.T) {
	t.Parallel()
	r := restOf(t, servertest.New(t), servertest.AdminKey)
	global := r.want(http.StatusCreated, "POST", "/metadata-fields", `{"key": "region", "fieldType": "enum", "allowedValues": ["eu", "us"], "displayOrder": 2}`)
	if field[string](t, global, "scope") != "global" || field[string](t, global, "displayName") != "region" {
		t.Error(global)
	}
	r.want(http.StatusCreated, "POST", "/metadata-fields", `{"key": "env", "fieldType": "text", "displayOrder": 1}`)
	own := r.want(http.StatusCreated, "POST", "/metadata-fields", `{"key": "region", "fieldType": "text", "workflowKind": "report", "displayOrder": 3}`)
	for body, message := range map[string]string{
		`{"key": "region", "fieldType": "text"}`:                                  "a metadata field with this key and scope exists",
		`{"key": "x", "fieldType": "enum"}`:                                       "allowed_values: an enum needs",
		`{"key": "x", "fieldType": "text", "allowedValues": ["a"]}`:               "allowed_values: only an enum",
		`{"key": "x", "fieldType": "enum", "allowedValues": ["a", "a"]}`:          `allowed_values: "a" is there twice`,
		`{"key": "x", "fieldType": "date"}`:                                       "field_type",
		`{"key": "x", "fieldType": "text", "workflowKind": "a", "taskKind": "b"}`: "task_kind: give a workflow kind or a task kind",
		`{"key": "_flovyn_x", "fieldType": "text"}`:                               "key: keys that begin with _flovyn_ are reserved",
	} {
		status := http.StatusBadRequest
		if strings.HasSuffix(message, "exists") {
			status = http.StatusConflict
		}
		r.refused(status, message, "POST", "/metadata-fields", body)
	}
	scopes := func(query string) string {
		var all []string
		for _, f := range field[[]any](t, r.want(http.StatusOK, "GET", "/metadata-fields"+query, ""), "fields") {
			one, _ := f.(map[string]any)
			all = append(all, fmt.Sprint(one["key"], " ", one["scope"]))
		}
		return strings.Join(all, ", ")
	}
	for query, want := range map[string]string{
		"":                      "env global, region global",
		"?workflow_kind=report": "env global, region workflow:report",
		"?workflowKind=other":   "env global, region global",
		"?task_kind=report":     "env global, region global",
	} {
		if got := scopes(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	changed := r.want(http.StatusOK, "PUT", "/metadata-fields/"+field[string](t, global, "id"), `{"fieldType": "number", "displayName": "Region"}`)
	if field[string](t, changed, "fieldType") != "number" || field[string](t, changed, "displayName") != "Region" || changed["allowedValues"] != nil && len(field[[]any](t, changed, "allowedValues")) > 0 {
		t.Error(changed)
	}
	r.want(http.StatusNoContent, "DELETE", "/metadata-fields/"+field[string](t, own, "id"), "")
	r.refused(http.StatusNotFound, "metadata field not found", "DELETE", "/metadata-fields/"+field[string](t, own, "id"), "")
}

// The language explains itself, and definitions are searched by it.
func TestQueryLanguage(t *testing.T) {
	t.Parallel()
	r := restOf(t, servertest.New(t), servertest.AdminKey)
	conn, err := pgx.Connect(t.Context(), r.server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), `INSERT INTO definition (org_id, class, kind, name, version)
		SELECT $1, c, 'kind-' || i, 'Kind', i FROM unnest(ARRAY['workflow', 'task']) AS c, generate_series(1, 3) AS i`, servertest.Org.UUID()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/fql/fields?entity=workflow":                       `"name":"metadata.<key>"`,
		"/fql/fields?entity=task":                           `"values":["PENDING","RUNNING","COMPLETED","FAILED","CANCELLED"]`,
		"/fql/operators":                                    `"value":"!~"`,
		"/fql/operators?entity=task&field=attempt":          `"value":"\u003e="`,
		"/fql/values?entity=workflow&field=status&prefix=C": `["COMPLETED","CANCELLED"]`,
		"/fql/values?entity=taskDefinition&field=kind":      `["kind-1","kind-2","kind-3"]`,
		"/workflow-definitions?query=kind+%3D+%22kind-2%22": `"latestVersion":"2"`,
		"/task-definitions?query=workerCount+%3D+0&limit=1": `"availabilityStatus":"UNAVAILABLE"`,
		"/workflow-definitions?query=ORDER+BY+kind+DESC":    `"kind":"kind-3"`,
	} {
		status, body := r.call("GET", path, "")
		compact := strings.NewReplacer(`": `, `":`, `, `, `,`, ">", `\u003e`, `\u003c`, "<").Replace(body)
		if status != http.StatusOK || !strings.Contains(strings.ReplaceAll(compact, `\u003e`, ">"), strings.ReplaceAll(want, `\u003e`, ">")) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	status, body := r.call("POST", "/fql/autocomplete", `{"entity": "workflowDefinition", "partial": "kind = \"kind-2"}`)
	if status != http.StatusOK || !strings.Contains(body, `kind-2`) || strings.Contains(body, "kind-1") {
		t.Error(status, body)
	}
	r.refused(http.StatusBadRequest, "entity", "GET", "/fql/fields?entity=nothing", "")
	r.refused(http.StatusBadRequest, "field: task has no field", "GET", "/fql/values?entity=task&field=nothing", "")
	r.refused(http.StatusBadRequest, "query: at character 1: taskDefinition has no field latestVersion", "GET", "/task-definitions?query=latestVersion+%3D+%221%22", "")
}
