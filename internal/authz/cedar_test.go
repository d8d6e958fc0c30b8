package authz

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

var (
	ownOrg     = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	foreignOrg = flovyn.OrgID(uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"))

	allActions = []Action{View, List, Create, Update, Delete, Manage, Execute, Poll, Complete, Fail, Heartbeat}
	allTypes   = []ResourceType{
		Org, Workflow, WorkflowExecution, TaskExecution, AgentExecution, WorkerRegistration, Schedule,
		MetadataFieldDefinition, SavedQuery,
	}

	owner      = caller.Caller{Kind: caller.User, ID: "admin", Org: ownOrg, Role: caller.Owner}
	admin      = caller.Caller{Kind: caller.User, ID: "api:test", Org: ownOrg, Role: caller.Admin}
	member     = caller.Caller{Kind: caller.User, ID: "m", Org: ownOrg, Role: caller.Member}
	roleless   = caller.Caller{Kind: caller.User, ID: "n", Org: ownOrg}
	worker     = caller.Caller{Kind: caller.Worker, ID: "worker:test", Org: ownOrg}
	service    = caller.Caller{Kind: caller.Service, ID: "app"}
	orgService = caller.Caller{Kind: caller.Service, ID: "app", Org: ownOrg, Role: caller.Owner}
)

// builtin is the authorizer under test, with what it logs.
func builtin(tb testing.TB) (*Cedar, *bytes.Buffer) {
	tb.Helper()
	var logged bytes.Buffer
	c, err := NewCedar(CedarConfig{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	return c, &logged
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// permitted asks for every check of a procedure's rule, as a door does.
func permitted(t *testing.T, a Authorizer, c caller.Caller, rule Rule, org flovyn.OrgID) bool {
	t.Helper()
	for _, check := range rule.Checks {
		err := a.Authorize(t.Context(), Request{c, check.Action, Resource{check.Type, "x", org}})
		if err != nil {
			if !fault.Is(err, fault.Denied) {
				t.Errorf("%s on %s: kind %v, want denied", check.Action, check.Type, fault.KindOf(err))
			}
			return false
		}
	}
	return true
}

// inMatrix leaves out what needs no permission, and the creation of
// organizations, which is about none yet.
func inMatrix(procedure string, rule Rule) bool {
	return !rule.Public && !rule.Authenticated && procedure != api+"OrganizationService/CreateOrganization"
}

// The procedures that each kind of caller is refused, within its own
// organization; it may call all the others. What SDKs do is never in here for a
// worker, nor what their clients do for an ADMIN's API key.
func TestMatrix(t *testing.T) {
	t.Parallel()
	workersOnly := []string{
		workflows + "PollWorkflow", workflows + "SubscribeToNotifications",
		tasks + "PollTask", tasks + "CompleteTask", tasks + "FailTask", tasks + "Heartbeat",
		workers + "SendHeartbeat",
		agents + "PollAgent", agents + "PollChildEvents", agents + "CompleteAgent", agents + "FailAgent",
	}
	membersNot := append(slices.Clone(workersOnly),
		workflows+"StartChildWorkflow",
		tasks+"SubmitTask", tasks+"ReportProgress", tasks+"CancelTask", tasks+"LogMessage", tasks+"SetState",
		tasks+"ClearState", tasks+"ClearAllState", tasks+"StreamTaskData",
		workers+"RegisterWorker",
		agents+"AppendEntry", agents+"SubmitCheckpoint", agents+"ScheduleAgentTask", agents+"SuspendAgent",
		agents+"ResumeAgent", agents+"SignalAgent", agents+"ConsumeSignals", agents+"CancelAgentTask",
		agents+"StreamAgentData", agents+"SpawnChildAgent", agents+"SendParentSignal", agents+"SendChildSignal",
		api+"WorkflowExecutionService/ReleaseWorkflowExecutions", api+"WorkflowExecutionService/TerminateParkedWorkflowExecutions",
		api+"TaskExecutionService/CreateTaskExecution", api+"TaskExecutionService/CancelTaskExecution",
		api+"TaskExecutionService/ReleaseTaskExecutions",
		api+"ScheduleService/CreateSchedule", api+"ScheduleService/UpdateSchedule", api+"ScheduleService/DeleteSchedule",
		api+"ScheduleService/PauseSchedule", api+"ScheduleService/ResumeSchedule",
		api+"MetadataFieldService/CreateMetadataField", api+"MetadataFieldService/UpdateMetadataField",
		api+"MetadataFieldService/DeleteMetadataField",
		api+"WorkerTokenService/CreateWorkerToken", api+"WorkerTokenService/ListWorkerTokens",
		api+"WorkerTokenService/GetWorkerToken", api+"WorkerTokenService/RevokeWorkerToken",
		api+"AuditService/ListAuditRecords",
	)
	// What clients of the original server do with a worker's key.
	workersAlso := []string{
		api + "WorkflowExecutionService/StartWorkflowExecution", api + "WorkflowExecutionService/StartAndWaitWorkflowExecution",
		api + "WorkflowExecutionService/WaitWorkflowExecution", api + "WorkflowExecutionService/GetWorkflowExecution",
		api + "WorkflowExecutionService/ListWorkflowEvents", api + "WorkflowExecutionService/ListWorkflowTasks",
		api + "WorkflowExecutionService/ListWorkflowTaskAttempts", api + "WorkflowExecutionService/ListWorkflowChildren",
		api + "WorkflowExecutionService/ListWorkflowPromises", api + "WorkflowExecutionService/GetWorkflowState",
		api + "WorkflowExecutionService/QueryWorkflowExecution", api + "WorkflowExecutionService/SignalWorkflowExecution",
		api + "WorkflowExecutionService/SignalWithStartWorkflowExecution", api + "WorkflowExecutionService/CancelWorkflowExecution",
		api + "WorkflowExecutionService/TerminateWorkflowExecution", api + "WorkflowExecutionService/RetryWorkflowExecution",
		api + "TaskExecutionService/CreateTaskExecution", api + "TaskExecutionService/GetTaskExecution",
		api + "TaskExecutionService/CancelTaskExecution", api + "TaskExecutionService/ListTaskAttempts",
		api + "TaskExecutionService/ListTaskLogs",
		api + "PromiseService/GetPromise", api + "PromiseService/ResolvePromise", api + "PromiseService/RejectPromise",
		api + "WorkerService/GetWorkflowDefinition", api + "WorkerService/GetTaskDefinition",
		api + "StreamService/StreamWorkflowExecution", api + "StreamService/StreamWorkflowExecutionTree",
		api + "StreamService/StreamTaskExecution",
		api + "ScheduleService/TriggerSchedule", // starts a workflow or task
	}
	var workersNot, everything []string
	for procedure, rule := range rules {
		if !inMatrix(procedure, rule) {
			continue
		}
		everything = append(everything, procedure)
		if strings.HasPrefix(procedure, api) && !slices.Contains(workersAlso, procedure) {
			workersNot = append(workersNot, procedure)
		}
	}
	a, logged := builtin(t)
	for _, test := range []struct {
		name    string
		caller  caller.Caller
		refused []string
	}{
		{"worker", worker, workersNot},
		{"owner", owner, nil},
		{"admin", admin, workersOnly},
		{"member", member, membersNot},
		{"no role", roleless, everything},
		{"lower-case role", caller.Caller{Kind: caller.User, ID: "l", Org: ownOrg, Role: "owner"}, everything},
		{"worker with a role", caller.Caller{Kind: caller.Worker, ID: "w", Org: ownOrg, Role: caller.Member}, workersNot},
		{"service without an organization", service, everything},
		{"service of the organization", orgService, everything},
		{"anonymous", caller.Caller{Kind: caller.Anonymous}, everything},
		{"anonymous naming an organization", caller.Caller{Kind: caller.Anonymous, Org: ownOrg, Role: caller.Owner}, everything},
		{"trusted", caller.Caller{Kind: caller.Anonymous, Trusted: true, Org: ownOrg}, everything},
		{"no kind", caller.Caller{Org: ownOrg, Role: caller.Owner}, everything},
		{"owner without an organization", caller.Caller{Kind: caller.User, ID: "o", Role: caller.Owner}, everything},
	} {
		for procedure, rule := range rules {
			if !inMatrix(procedure, rule) {
				continue
			}
			want := !slices.Contains(test.refused, procedure)
			if got := permitted(t, a, test.caller, rule, ownOrg); got != want {
				t.Errorf("%s, %s: permitted %v, want %v", test.name, procedure, got, want)
			}
			if permitted(t, a, test.caller, rule, foreignOrg) {
				t.Errorf("%s, %s: permitted in a foreign organization", test.name, procedure)
			}
			if permitted(t, a, test.caller, rule, flovyn.OrgID{}) {
				t.Errorf("%s, %s: permitted on a resource without an organization", test.name, procedure)
			}
		}
	}
	if logged.Len() > 0 {
		t.Errorf("policies failed to evaluate:\n%s", logged)
	}
}

// The whole vocabulary, also what no procedure uses yet: nothing fails to
// evaluate, nothing crosses organizations, and every question conforms to the
// schema.
func TestEveryQuestionConforms(t *testing.T) {
	t.Parallel()
	a, logged := builtin(t)
	vocabulary, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	validator := validate.New(vocabulary)
	for _, c := range []caller.Caller{owner, admin, member, roleless, worker, service, orgService} {
		for _, action := range allActions {
			for _, typ := range allTypes {
				request := Request{c, action, Resource{typ, "x", foreignOrg}}
				creates := c == service && action == Create && typ == Org
				if err := a.Authorize(t.Context(), request); (err == nil) != creates {
					t.Errorf("%s %s, foreign: %s on %s: %v", c.Kind, c.Role, action, typ, err)
				}
				f, reason := gather(request)
				if reason != "" {
					continue
				}
				if err := validator.Entities(types.EntityMap{f.principal.UID: f.principal, f.resource.UID: f.resource}); err != nil {
					t.Errorf("%+v: %v", request, err)
				}
				if err := validator.Request(types.Request{
					Principal: f.principal.UID, Resource: f.resource.UID,
					Action: types.NewEntityUID("Flovyn::Action", types.String(action)),
				}); err != nil {
					t.Errorf("%+v: %v", request, err)
				}
			}
		}
	}
	if logged.Len() > 0 {
		t.Errorf("policies failed to evaluate:\n%s", logged)
	}
}

func TestUsersAdminister(t *testing.T) {
	t.Parallel()
	a, _ := builtin(t)
	for _, test := range []struct {
		caller caller.Caller
		action Action
		typ    ResourceType
		want   bool
	}{
		{admin, Manage, Org, true},
		{member, Manage, Org, false},
		{worker, Manage, Org, false},
		{member, View, Org, true},
		{worker, View, Org, false},
		{admin, List, TaskExecution, true},
		{member, List, TaskExecution, true},
		{admin, Create, Schedule, true},
		{member, Create, Schedule, false},
		{member, Create, SavedQuery, true},
		{member, Delete, SavedQuery, true},
		{worker, Create, SavedQuery, false},
		{worker, List, SavedQuery, false},
		{member, List, Schedule, true},
		{member, Execute, Workflow, true},
		{member, Update, WorkflowExecution, true},
		{member, Update, Workflow, false},
		{worker, Update, Workflow, false},
		{worker, Delete, WorkflowExecution, false},
		{admin, Delete, MetadataFieldDefinition, true},
		{admin, "erase", Workflow, false},
	} {
		err := a.Authorize(t.Context(), Request{test.caller, test.action, Resource{test.typ, "x", ownOrg}})
		if (err == nil) != test.want {
			t.Errorf("%s %s: %s on %s: %v, want permitted %v",
				test.caller.Kind, test.caller.Role, test.action, test.typ, err, test.want)
		}
	}
}

func TestCreatingAnOrganization(t *testing.T) {
	t.Parallel()
	a, _ := builtin(t)
	for name, test := range map[string]struct {
		caller caller.Caller
		org    flovyn.OrgID
		want   bool
	}{
		"service, not numbered yet":           {service, flovyn.OrgID{}, true},
		"service, numbered":                   {service, foreignOrg, true},
		"service of an organization":          {orgService, flovyn.OrgID{}, false},
		"service of an organization, another": {orgService, foreignOrg, false},
		"admin of another":                    {admin, flovyn.OrgID{}, false},
		"owner of another":                    {owner, foreignOrg, false},
		"worker":                              {worker, flovyn.OrgID{}, false},
	} {
		err := a.Authorize(t.Context(), Request{test.caller, Create, Resource{Org, NewID, test.org}})
		if (err == nil) != test.want {
			t.Errorf("%s: %v, want permitted %v", name, err, test.want)
		}
	}
}

func TestDenialSaysWhatAndHidesWhy(t *testing.T) {
	t.Parallel()
	a, _ := builtin(t)
	err := a.Authorize(t.Context(), Request{worker, Manage, Resource{Org, "acme", ownOrg}})
	if got, want := fault.Message(err), "Access denied: manage on Org::acme"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if !strings.Contains(err.Error(), "worker:test") || !strings.Contains(err.Error(), "no policy permits it") {
		t.Errorf("the log would not say who and why: %v", err)
	}
	err = a.Authorize(t.Context(), Request{owner, View, Resource{Workflow, "w", foreignOrg}})
	if !strings.Contains(err.Error(), "guard-same-org") {
		t.Errorf("the log would not name the policy: %v", err)
	}
}

// A caller that names itself like a resource must not lend it its attributes.
func TestPrincipalIsNotMistakenForResource(t *testing.T) {
	t.Parallel()
	a, _ := builtin(t)
	request := Request{worker, Heartbeat, Resource{WorkerRegistration, worker.ID, foreignOrg}}
	if err := a.Authorize(t.Context(), request); err == nil {
		t.Error("permitted on a foreign registration with the caller's own name")
	}
}

func TestBadPoliciesRefuseToLoad(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"syntax":              {`permit (principal, action, resource`, "parsing policies"},
		"nothing":             {`// nothing`, "holds no policy"},
		"unguarded attribute": {`permit (principal is Flovyn::User, action, resource) when { principal.role == "OWNER" };`, "role"},
		"unknown type":        {`permit (principal is Flovyn::Robot, action, resource);`, "Robot"},
		"old name of the organization": {
			`permit (principal, action, resource) when { principal.tenantId == resource.tenantId };`, "tenantId",
		},
		"unknown action": {`permit (principal, action == Flovyn::Action::"destroy", resource);`, "destroy"},
		"the same id": {
			`@id("a") permit (principal is Flovyn::User, action, resource);
			 @id("a") permit (principal is Flovyn::Worker, action, resource);`, `a second policy "a"`,
		},
		"the id of a guard": {`@id("guard-same-org") permit (principal, action, resource);`, `a second policy "guard-same-org"`},
	} {
		_, err := newCedar(discard(), "custom.cedar", []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "custom.cedar") {
			t.Errorf("%s: %v, want an error about %q in custom.cedar", name, err, test.want)
		}
	}
}

// The most careless policy an operator can write still leaves organizations
// apart, and a service without one with nothing but creating one.
func TestGuardsHoldWithCustomPolicies(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "open.cedar")
	if err := os.WriteFile(file, []byte(`permit (principal, action, resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := NewCedar(CedarConfig{PolicyPath: file, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Authorize(t.Context(), Request{roleless, Manage, Resource{Org, "x", ownOrg}}); err != nil {
		t.Errorf("the custom policy is not in force: %v", err)
	}
	for _, c := range []caller.Caller{owner, worker, orgService, service} {
		if err := a.Authorize(t.Context(), Request{c, View, Resource{Workflow, "x", foreignOrg}}); err == nil {
			t.Errorf("%s may view in a foreign organization", c.Kind)
		}
	}
	if _, err := NewCedar(CedarConfig{PolicyPath: file + "x", Log: discard()}); err == nil {
		t.Error("an absent policy file loads")
	}
}

// Validation keeps failing policies out; should one get in, it denies what
// another permits, and is logged.
func TestFailingPolicyDenies(t *testing.T) {
	t.Parallel()
	a, logged := builtin(t)
	list, err := cedar.NewPolicyListFromBytes("bad", []byte(`forbid (principal, action, resource) when { principal.missing == "x" };`))
	if err != nil {
		t.Fatal(err)
	}
	a.policies.Add("failing", list[0])
	err = a.Authorize(t.Context(), Request{owner, View, Resource{Workflow, "w", ownOrg}})
	if !fault.Is(err, fault.Denied) {
		t.Errorf("got %v, want denied", err)
	}
	if !strings.Contains(logged.String(), "level=ERROR") || !strings.Contains(logged.String(), "policy=failing") {
		t.Errorf("not reported: %s", logged)
	}
}

func TestOrgScope(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		caller caller.Caller
		org    flovyn.OrgID
		want   bool
	}{
		"worker":             {worker, ownOrg, true},
		"user without role":  {roleless, ownOrg, true},
		"service":            {orgService, ownOrg, true},
		"foreign":            {owner, foreignOrg, false},
		"two zeros":          {service, flovyn.OrgID{}, false},
		"anonymous":          {caller.Caller{Kind: caller.Anonymous, Org: ownOrg}, ownOrg, false},
		"trusted":            {caller.Caller{Kind: caller.Anonymous, Trusted: true}, ownOrg, false},
		"resource of no org": {owner, flovyn.OrgID{}, false},
	} {
		err := OrgScope{}.Authorize(t.Context(), Request{test.caller, Manage, Resource{Org, "x", test.org}})
		if (err == nil) != test.want || (err != nil && !fault.Is(err, fault.Denied)) {
			t.Errorf("%s: %v, want permitted %v", name, err, test.want)
		}
	}
}

func TestNoopIsLoud(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	noop := NewNoop(t.Context(), slog.New(slog.NewTextHandler(&logged, nil)), "auth.enabled is false")
	if !strings.Contains(logged.String(), "level=ERROR") || !strings.Contains(logged.String(), "auth.enabled is false") {
		t.Errorf("logged %q", &logged)
	}
	if err := noop.Authorize(t.Context(), Request{}); err != nil {
		t.Error(err)
	}
}

// Decisions of the built-in policies are remembered without the names in a
// request, so they must name none.
func TestBuiltInPoliciesNameNobody(t *testing.T) {
	t.Parallel()
	for _, text := range [][]byte{guardText, baseText} {
		for _, uid := range regexp.MustCompile(`Flovyn::(\w+)::"`).FindAllSubmatch(text, -1) {
			if string(uid[1]) != "Action" {
				t.Errorf("a policy names a %s", uid[1])
			}
		}
	}
	a, _ := builtin(t)
	request := Request{member, View, Resource{Workflow, "k", ownOrg}}
	for range 2 {
		if err := a.Authorize(t.Context(), request); err != nil {
			t.Error(err)
		}
		denied := Request{member, Delete, Resource{Schedule, flovyn.NewUUID().String(), ownOrg}}
		if err := a.Authorize(t.Context(), denied); err == nil || !strings.Contains(err.Error(), denied.Resource.ID) {
			t.Errorf("%v", err)
		}
	}
	if a.decided.Len() != 2 {
		t.Errorf("%d decisions are remembered", a.decided.Len())
	}
}

func BenchmarkAuthorize(b *testing.B) {
	a, _ := builtin(b)
	for name, c := range map[string]caller.Caller{"worker": worker, "admin": admin} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			request := Request{c, Update, Resource{WorkflowExecution, "0198c0de-0000-7000-8000-000000000000", ownOrg}}
			for b.Loop() {
				if err := a.Authorize(context.Background(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleCedar_Authorize() {
	a, err := NewCedar(CedarConfig{Log: discard()})
	if err != nil {
		panic(err)
	}
	rule, _ := Lookup("/flovyn.v1.TaskExecution/CancelTask")
	err = a.Authorize(context.Background(), Request{
		Caller: member, Action: rule.Checks[0].Action, Resource: Resource{rule.Checks[0].Type, "t1", ownOrg},
	})
	fmt.Println(fault.Message(err))
	// Output: Access denied: delete on TaskExecution::t1
}
