package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// KeyScope separates the idempotency keys of different kinds of resource.
type KeyScope string

// The scopes of idempotency keys.
const (
	KeyWorkflow KeyScope = "workflow"
	KeyTask     KeyScope = "task"
	KeyPromise  KeyScope = "promise"
)

// Key names an idempotency key of an organization.
type Key struct {
	Org   OrgID
	Scope KeyScope
	Name  string
}

// KeyTarget is what an idempotency key stands for, and until when.
type KeyTarget struct {
	ID        uuid.UUID
	ExpiresAt time.Time
}
