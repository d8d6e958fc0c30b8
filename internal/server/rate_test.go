package server_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// An organization that calls too fast is told when to come again; others, and the
// workers who hand in what they did, are not.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(c *config.Config) { c.Engine.MaxRequestsPerOrg = 1 })
	client := overHTTP1(t)
	call := func(key, procedure, body string) reply {
		t.Helper()
		header := map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"}
		return request(t, client, http.MethodPost, s.HTTP+procedure, header, body)
	}
	nothing := `{"workflowExecutionId":"` + uuid.NewString() + `"}`
	events := func(key string) reply {
		t.Helper()
		return call(key, "/flovyn.v1.WorkflowDispatch/GetEvents", nothing)
	}
	var refused reply
	for range 100 { // twice as many as in a second may come at once
		if refused = events(servertest.AdminKey); refused.status == http.StatusTooManyRequests {
			break
		}
		if refused.status != http.StatusNotFound {
			t.Fatalf("answered %+v", refused)
		}
	}
	if refused.status != http.StatusTooManyRequests || refused.header.Get("Retry-After") != "1" {
		t.Fatalf("not refused as it should be: %+v", refused)
	}
	if code := decode(t, refused.body)["code"]; code != "resource_exhausted" {
		t.Errorf("code %v", code)
	}
	if other := events(servertest.ForeignAdminKey); other.status != http.StatusNotFound {
		t.Errorf("another organization is answered %+v", other)
	}
	for range 10 {
		got := call(servertest.WorkerKey, "/flovyn.v1.TaskExecution/CompleteTask", `{"taskExecutionId":"`+uuid.NewString()+`","output":"MQ=="}`)
		if got.status != http.StatusNotFound {
			t.Fatalf("a result is answered %+v", got)
		}
	}
}
