package flovyn

import "time"

// Class is a sort of work that workers execute.
type Class string

// The classes of work.
const (
	ClassWorkflow Class = "workflow"
	ClassTask     Class = "task"
	ClassAgent    Class = "agent"
)

// Capability is a kind of work that a worker can execute, with what it says of it.
type Capability struct {
	Class          Class
	Kind           string
	Name           string
	Description    string
	Version        string
	ContentHash    string
	TimeoutSeconds *int32
	Cancellable    bool
	Tags           []string
	// RetryPolicy, InputSchema, OutputSchema and Metadata are JSON or empty.
	RetryPolicy, InputSchema, OutputSchema, Metadata []byte
}

// Registration is what a worker says of itself when it starts.
type Registration struct {
	Org          OrgID
	Name         string
	Version      string
	Type         string
	HostName     string
	ProcessID    string
	Metadata     []byte
	Capabilities []Capability
}

// Worker is a registered worker.
type Worker struct {
	ID         WorkerID
	Org        OrgID
	Name       string
	LastSeenAt time.Time
	// Kinds lists, for each class, what its processes can execute.
	Kinds map[Class][]string
}

// Definition is what is known of a kind from the workers that registered it.
type Definition struct {
	Capability
	FirstSeenAt, LastRegisteredAt time.Time
}
