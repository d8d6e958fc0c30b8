// Package authz decides whether an authenticated caller may do something.
//
// A door asks with three values: who (caller.Caller, from the credential), what
// (an Action) and on what (a Resource whose organization was loaded from the
// database, or is named by the request when the thing does not exist yet).
// Which action and resource type belong to which procedure is said once, in the
// table of procedure.go; a procedure without an entry is denied.
//
// Everything is closed when unsure. A caller without an organization, a
// resource without one, an anonymous caller, a policy that fails to evaluate:
// denied. Policies are checked against a schema when they are loaded, and a
// finding keeps the server from starting, because Cedar would otherwise skip
// the failing policy at run time, a prohibition included.
//
// While authentication is switched off there is nobody to decide about: the
// assembly then uses Noop, which says so in the log, and no policy has a rule
// for that mode.
package authz

import (
	"context"
	"fmt"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Action is what a caller wants to do.
type Action string

// The actions. Users administer, workers work; executing is both.
const (
	View      Action = "view"
	List      Action = "list"
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Manage    Action = "manage"
	Execute   Action = "execute"
	Poll      Action = "poll"
	Complete  Action = "complete"
	Fail      Action = "fail"
	Heartbeat Action = "heartbeat"
)

// ResourceType is the sort of thing acted upon.
type ResourceType string

// The types of resource.
const (
	// Org is an organization: its settings, keys and membership.
	Org ResourceType = "Org"
	// Workflow is a kind of workflow or task, a definition.
	Workflow ResourceType = "Workflow"
	// WorkflowExecution is a run of a workflow, with its promises and signals.
	WorkflowExecution ResourceType = "WorkflowExecution"
	// TaskExecution is a unit of work.
	TaskExecution ResourceType = "TaskExecution"
	// AgentExecution is a run of an agent.
	AgentExecution ResourceType = "AgentExecution"
	// WorkerRegistration is a worker as the server knows it. The principal type
	// Worker is another type on purpose; the schema says why.
	WorkerRegistration ResourceType = "WorkerRegistration"
	// Schedule starts workflows at times.
	Schedule ResourceType = "Schedule"
	// MetadataFieldDefinition describes a field of executions' metadata.
	MetadataFieldDefinition ResourceType = "MetadataFieldDefinition"
	// SavedQuery is a query kept under a name.
	SavedQuery ResourceType = "SavedQuery"
)

// The ids of resources that have none of their own.
const (
	// AnyID stands for whichever resource will be handed out, as in a poll.
	AnyID = "any"
	// NewID stands for a resource that is about to be created.
	NewID = "new"
)

// Resource is what is acted upon.
type Resource struct {
	// Type is the sort of thing.
	Type ResourceType
	// ID names it in messages: an identifier, a workflow kind, AnyID or NewID; of an
	// organization about to be created, its slug.
	ID string
	// Org is the organization it belongs to, never taken from the caller. It is
	// zero only for an organization about to be created.
	Org flovyn.OrgID
}

// Request is one question to an authorizer.
type Request struct {
	// Caller is who asks.
	Caller caller.Caller
	// Action is what the caller wants to do.
	Action Action
	// Resource is what the caller wants to do it to.
	Resource Resource
}

// Authorizer answers requests.
type Authorizer interface {
	// Authorize returns nil when the request is permitted, and otherwise a
	// failure of kind fault.Denied.
	Authorize(ctx context.Context, request Request) error
}

// denied is the answer to a request that is not permitted. The reason is for
// the log only.
func denied(r Request, reason string) error {
	cause := fmt.Errorf("%s (%s %q, role %q, org %s; resource of org %s)",
		reason, r.Caller.Kind, r.Caller.ID, r.Caller.Role, r.Caller.Org, r.Resource.Org)
	return fault.Wrap(fault.Denied, cause, "Access denied: %s on %s::%s", r.Action, r.Resource.Type, r.Resource.ID)
}
