package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// AuditID identifies an audit record.
type AuditID uuid.UUID

// UUID returns the identifier's 16 bytes.
func (id AuditID) UUID() uuid.UUID { return uuid.UUID(id) }

func (id AuditID) String() string { return uuid.UUID(id).String() }

// AuditOutcome says how an audited request ended.
type AuditOutcome string

// The outcomes.
const (
	// AuditAllowed is a change that was made.
	AuditAllowed AuditOutcome = "allowed"
	// AuditDenied is a request of somebody who is not known, or may not do this.
	AuditDenied AuditOutcome = "denied"
	// AuditFailed is a change that was permitted and did not come about.
	AuditFailed AuditOutcome = "failed"
)

// AuditRecord is one refused request, or one change of state.
type AuditRecord struct {
	ID AuditID
	At time.Time
	// Org is that of the caller; zero when nobody was recognized.
	Org OrgID
	// Principal is the caller as "type:id"; empty when nobody was recognized.
	Principal string
	// Procedure is what was called, or the path.
	Procedure string
	// Action and ResourceType are in the words of the policies; ResourceID is what
	// the request named, or what came into being.
	Action, ResourceType, ResourceID string
	Outcome                          AuditOutcome
	// Reason says why a request was denied or failed.
	Reason string
	// RequestID is the one that the client was given.
	RequestID string
	// RemoteAddress is the other end of the connection.
	RemoteAddress string
}

// AuditPlace is a place in the order of audit records, newest first.
type AuditPlace struct {
	At time.Time
	ID AuditID
}

// AuditFilter selects audit records of an organization.
type AuditFilter struct {
	Org OrgID
	// Outcome and Principal select when they are not empty.
	Outcome   AuditOutcome
	Principal string
	// Since is the earliest time; Before is the place to go on from.
	Since  time.Time
	Before AuditPlace
	Limit  int
}
