package authz

import (
	"maps"
	"slices"
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
	// Checks must all pass. A rule that is not public has at least one.
	Checks []Check
}

// Prefixes of the procedures, by service.
const (
	workflows  = "/flovyn.v1.WorkflowDispatch/"
	queries    = "/flovyn.v1.WorkflowQuery/"
	tasks      = "/flovyn.v1.TaskExecution/"
	workers    = "/flovyn.v1.WorkerLifecycle/"
	agents     = "/flovyn.v1.AgentDispatch/"
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

	// Orchestrators probe before they have a credential. The answer is one word.
	health + "Check": {Public: true},
	health + "Watch": {Public: true},
	health + "List":  {Public: true},

	// The protocol is published with the SDKs; where reflection is served, it
	// tells nothing new.
	reflection + "ServerReflectionInfo":      {Public: true},
	reflectionAlpha + "ServerReflectionInfo": {Public: true},
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
