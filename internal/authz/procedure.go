package authz

import (
	"maps"
	"slices"
	"strings"
)

// Check is one thing a caller must be allowed to do to call a procedure.
type Check struct {
	// Action is what the procedure does.
	Action Action
	// Type is what it does it to; the door supplies the id and organization.
	Type ResourceType
}

// Rule is what a procedure demands of its caller.
type Rule struct {
	// Public procedures answer everybody, and reveal nothing about anybody.
	Public bool
	// Authenticated procedures answer everybody who was recognized, and are about
	// the caller alone.
	Authenticated bool
	// Checks must all pass. A rule that is neither of the above has at least one.
	Checks []Check
}

// Prefixes of the procedures, by service.
const (
	workflows  = "/flovyn.v1.WorkflowDispatch/"
	queries    = "/flovyn.v1.WorkflowQuery/"
	tasks      = "/flovyn.v1.TaskExecution/"
	workers    = "/flovyn.v1.WorkerLifecycle/"
	agents     = "/flovyn.v1.AgentDispatch/"
	api        = "/flovyn.api.v1."
	health     = "/grpc.health.v1.Health/"
	reflection = "/grpc.reflection.v1.ServerReflection/"
	// reflectionAlpha is what older tools still ask for.
	reflectionAlpha = "/grpc.reflection.v1alpha.ServerReflection/"
)

// rules is the table of every procedure the server answers. A test walks the
// compiled descriptors and fails when a method is missing here, or when an
// entry names no method.
var rules = map[string]Rule{
	workflows + "PollWorkflow":             needs(Poll, WorkflowExecution),
	workflows + "SubscribeToNotifications": needs(Poll, WorkflowExecution),
	workflows + "StartWorkflow":            needs(Execute, Workflow),
	// What a worker shows of its code belongs to the definition.
	workflows + "GetVisualWorkflowDefinitionById": needs(View, Workflow),
	// A child is created by its parent's worker, not started by a user.
	workflows + "StartChildWorkflow": needs(Create, WorkflowExecution),
	workflows + "ResolvePromise":     needs(Update, WorkflowExecution),
	workflows + "RejectPromise":      needs(Update, WorkflowExecution),
	// It does either, and which is known only once it is done: ask for both.
	workflows + "SignalWithStartWorkflow": needs(Execute, Workflow).and(Update, WorkflowExecution),
	workflows + "SignalWorkflow":          needs(Update, WorkflowExecution),
	workflows + "GetEvents":               needs(View, WorkflowExecution),
	workflows + "SubmitWorkflowCommands":  needs(Update, WorkflowExecution),
	workflows + "ReportExecutionSpans":    needs(Update, WorkflowExecution),

	queries + "QueryWorkflow": needs(View, WorkflowExecution),

	tasks + "SubmitTask":     needs(Create, TaskExecution),
	tasks + "PollTask":       needs(Poll, TaskExecution),
	tasks + "CompleteTask":   needs(Complete, TaskExecution),
	tasks + "FailTask":       needs(Fail, TaskExecution),
	tasks + "ReportProgress": needs(Update, TaskExecution),
	tasks + "Heartbeat":      needs(Heartbeat, TaskExecution),
	tasks + "CancelTask":     needs(Delete, TaskExecution),
	tasks + "LogMessage":     needs(Update, TaskExecution),
	tasks + "GetState":       needs(View, TaskExecution),
	tasks + "SetState":       needs(Update, TaskExecution),
	tasks + "ClearState":     needs(Update, TaskExecution),
	tasks + "ClearAllState":  needs(Update, TaskExecution),
	tasks + "GetStateKeys":   needs(View, TaskExecution),
	tasks + "StreamTaskData": needs(Update, TaskExecution),

	workers + "RegisterWorker": needs(Create, WorkerRegistration),
	workers + "SendHeartbeat":  needs(Heartbeat, WorkerRegistration),

	agents + "PollAgent":           needs(Poll, AgentExecution),
	agents + "GetEntries":          needs(View, AgentExecution),
	agents + "AppendEntry":         needs(Update, AgentExecution),
	agents + "GetLatestCheckpoint": needs(View, AgentExecution),
	agents + "SubmitCheckpoint":    needs(Update, AgentExecution),
	// The tasks of an agent are part of it, as commands are of a workflow.
	agents + "ScheduleAgentTask":   needs(Update, AgentExecution),
	agents + "CompleteAgent":       needs(Complete, AgentExecution),
	agents + "FailAgent":           needs(Fail, AgentExecution),
	agents + "SuspendAgent":        needs(Update, AgentExecution),
	agents + "ResumeAgent":         needs(Update, AgentExecution),
	agents + "SignalAgent":         needs(Update, AgentExecution),
	agents + "ConsumeSignals":      needs(Update, AgentExecution),
	agents + "HasSignal":           needs(View, AgentExecution),
	agents + "GetAgentTaskResult":  needs(View, AgentExecution),
	agents + "GetAgentTaskResults": needs(View, AgentExecution),
	agents + "GetAgentTaskCount":   needs(View, AgentExecution),
	agents + "CancelAgentTask":     needs(Update, AgentExecution),
	agents + "StreamAgentData":     needs(Update, AgentExecution),
	agents + "SpawnChildAgent":     needs(Create, AgentExecution),
	agents + "SendParentSignal":    needs(Update, AgentExecution),
	agents + "SendChildSignal":     needs(Update, AgentExecution),
	agents + "PollChildEvents":     needs(Poll, AgentExecution),

	CreateOrganization:                          needs(Create, Org),
	api + "OrganizationService/GetOrganization": needs(View, Org),
	api + "IdentityService/WhoAmI":              {Authenticated: true},

	api + "WorkflowExecutionService/StartWorkflowExecution": needs(Execute, Workflow),
	// It returns the result as well.
	api + "WorkflowExecutionService/StartAndWaitWorkflowExecution": needs(Execute, Workflow).and(View, WorkflowExecution),
	api + "WorkflowExecutionService/WaitWorkflowExecution":         needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowExecutions":        needs(List, WorkflowExecution),
	api + "WorkflowExecutionService/GetWorkflowExecution":          needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowEvents":            needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowTasks":             needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowTaskAttempts":      needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowChildren":          needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/ListWorkflowPromises":          needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/GetWorkflowState":              needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/QueryWorkflowExecution":        needs(View, WorkflowExecution),
	api + "WorkflowExecutionService/SignalWorkflowExecution":       needs(Update, WorkflowExecution),
	// As for workers: it does either.
	api + "WorkflowExecutionService/SignalWithStartWorkflowExecution": needs(Execute, Workflow).and(Update, WorkflowExecution),
	api + "WorkflowExecutionService/CancelWorkflowExecution":          needs(Update, WorkflowExecution),
	api + "WorkflowExecutionService/TerminateWorkflowExecution":       needs(Update, WorkflowExecution),
	api + "WorkflowExecutionService/RetryWorkflowExecution":           needs(Update, WorkflowExecution),
	// These two may be about everything in the organization.
	api + "WorkflowExecutionService/ReleaseWorkflowExecutions":         needs(Manage, WorkflowExecution),
	api + "WorkflowExecutionService/TerminateParkedWorkflowExecutions": needs(Manage, WorkflowExecution),

	api + "TaskExecutionService/CreateTaskExecution":   needs(Create, TaskExecution),
	api + "TaskExecutionService/ListTaskExecutions":    needs(List, TaskExecution),
	api + "TaskExecutionService/GetTaskExecution":      needs(View, TaskExecution),
	api + "TaskExecutionService/CancelTaskExecution":   needs(Delete, TaskExecution),
	api + "TaskExecutionService/ListTaskAttempts":      needs(View, TaskExecution),
	api + "TaskExecutionService/ListTaskLogs":          needs(View, TaskExecution),
	api + "TaskExecutionService/ReleaseTaskExecutions": needs(Manage, TaskExecution),

	// A promise is part of its workflow execution.
	api + "PromiseService/GetPromise":     needs(View, WorkflowExecution),
	api + "PromiseService/ResolvePromise": needs(Update, WorkflowExecution),
	api + "PromiseService/RejectPromise":  needs(Update, WorkflowExecution),

	api + "WorkerService/ListWorkers":             needs(List, WorkerRegistration),
	api + "WorkerService/GetWorker":               needs(View, WorkerRegistration),
	api + "WorkerService/ListWorkflowDefinitions": needs(List, Workflow),
	api + "WorkerService/GetWorkflowDefinition":   needs(View, Workflow),
	api + "WorkerService/ListTaskDefinitions":     needs(List, Workflow),
	api + "WorkerService/GetTaskDefinition":       needs(View, Workflow),
	api + "WorkerService/ListQueues":              needs(List, WorkflowExecution).and(List, TaskExecution),

	api + "StreamService/StreamWorkflowExecution":     needs(View, WorkflowExecution),
	api + "StreamService/StreamWorkflowExecutionTree": needs(View, WorkflowExecution),
	api + "StreamService/StreamTaskExecution":         needs(View, TaskExecution),
	api + "StreamService/StreamOrganization":          needs(List, WorkflowExecution).and(List, TaskExecution),

	api + "ScheduleService/CreateSchedule":   needs(Create, Schedule),
	api + "ScheduleService/ListSchedules":    needs(List, Schedule),
	api + "ScheduleService/GetSchedule":      needs(View, Schedule),
	api + "ScheduleService/UpdateSchedule":   needs(Update, Schedule),
	api + "ScheduleService/DeleteSchedule":   needs(Delete, Schedule),
	api + "ScheduleService/PauseSchedule":    needs(Update, Schedule),
	api + "ScheduleService/ResumeSchedule":   needs(Update, Schedule),
	api + "ScheduleService/TriggerSchedule":  needs(Execute, Schedule),
	api + "ScheduleService/ListScheduleRuns": needs(View, Schedule),

	api + "MetadataFieldService/CreateMetadataField": needs(Create, MetadataFieldDefinition),
	api + "MetadataFieldService/ListMetadataFields":  needs(List, MetadataFieldDefinition),
	api + "MetadataFieldService/UpdateMetadataField": needs(Update, MetadataFieldDefinition),
	api + "MetadataFieldService/DeleteMetadataField": needs(Delete, MetadataFieldDefinition),

	api + "SavedQueryService/CreateSavedQuery": needs(Create, SavedQuery),
	api + "SavedQueryService/ListSavedQueries": needs(List, SavedQuery),
	api + "SavedQueryService/GetSavedQuery":    needs(View, SavedQuery),
	api + "SavedQueryService/UpdateSavedQuery": needs(Update, SavedQuery),
	api + "SavedQueryService/DeleteSavedQuery": needs(Delete, SavedQuery),
	// What it finds is a list of any entity, and Execute is also for workers.
	api + "SavedQueryService/ExecuteSavedQuery": needs(View, SavedQuery).
		and(List, WorkflowExecution).and(List, TaskExecution).and(List, Workflow),

	// Its suggestions are values of executions.
	api + "QueryLanguageService/AutocompleteQuery":  needs(List, WorkflowExecution).and(List, TaskExecution),
	api + "QueryLanguageService/ListQueryFields":    needs(List, WorkflowExecution),
	api + "QueryLanguageService/ListQueryOperators": needs(List, WorkflowExecution),
	api + "QueryLanguageService/ListQueryValues":    needs(List, WorkflowExecution).and(List, TaskExecution),

	api + "WorkerTokenService/CreateWorkerToken": needs(Manage, Org),
	api + "WorkerTokenService/ListWorkerTokens":  needs(Manage, Org),
	api + "WorkerTokenService/GetWorkerToken":    needs(Manage, Org),
	api + "WorkerTokenService/RevokeWorkerToken": needs(Manage, Org),

	api + "AuditService/ListAuditRecords": needs(Manage, Org),

	// Orchestrators probe before they have a credential. The answer is one word.
	health + "Check": {Public: true},
	health + "Watch": {Public: true},
	health + "List":  {Public: true},

	// The protocol is published with the SDKs; where reflection is served, it
	// tells nothing new.
	reflection + "ServerReflectionInfo":      {Public: true},
	reflectionAlpha + "ServerReflectionInfo": {Public: true},
}

// CreateOrganization is the procedure that takes callers whose organization does
// not exist yet.
const CreateOrganization = api + "OrganizationService/CreateOrganization"

// Audited reports whether calls of a procedure leave a record when they succeed:
// those of the management API that change something. What is called Get or List
// changes nothing, also where reading needs the permission to manage.
func Audited(procedure string, rule Rule) bool {
	_, method, _ := strings.Cut(strings.TrimPrefix(procedure, api), "/")
	return strings.HasPrefix(procedure, api) && !strings.HasPrefix(method, "Get") && !strings.HasPrefix(method, "List") &&
		slices.ContainsFunc(rule.Checks, func(c Check) bool { return c.Action != View && c.Action != List })
}

func needs(action Action, on ResourceType) Rule {
	return Rule{Checks: []Check{{action, on}}}
}

func (r Rule) and(action Action, on ResourceType) Rule {
	r.Checks = append(r.Checks, Check{action, on})
	return r
}

// Lookup returns what a procedure, such as
// "/flovyn.v1.WorkflowDispatch/PollWorkflow", demands. Without a rule, ok is
// false and the call must be denied.
func Lookup(procedure string) (rule Rule, ok bool) {
	rule, ok = rules[procedure]
	return rule, ok
}

// PublicProcedures returns, sorted, the procedures that need no credential, for
// the list of paths that authentication leaves alone.
func PublicProcedures() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for procedure, rule := range maps.All(rules) {
			if rule.Public && !yield(procedure) {
				return
			}
		}
	})
}
