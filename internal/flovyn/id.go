// Package flovyn holds the product's nouns: typed identifiers, statuses with
// their transitions, records and limits. It knows no clock, network or SQL.
package flovyn

import (
	"fmt"

	"github.com/google/uuid"
)

// Distinct identifier types, so that the compiler reviews argument order.
type (
	// OrgID identifies an organization, the unit of isolation.
	OrgID uuid.UUID
	// ExecutionID identifies a workflow execution.
	ExecutionID uuid.UUID
	// TaskID identifies a task execution.
	TaskID uuid.UUID
	// PromiseID identifies a durable promise.
	PromiseID uuid.UUID
	// WorkerID identifies a registered worker.
	WorkerID uuid.UUID
)

// UUID returns the identifier's 16 bytes.
func (id OrgID) UUID() uuid.UUID { return uuid.UUID(id) }

// UUID returns the identifier's 16 bytes.
func (id ExecutionID) UUID() uuid.UUID { return uuid.UUID(id) }

// UUID returns the identifier's 16 bytes.
func (id TaskID) UUID() uuid.UUID { return uuid.UUID(id) }

// UUID returns the identifier's 16 bytes.
func (id PromiseID) UUID() uuid.UUID { return uuid.UUID(id) }

// UUID returns the identifier's 16 bytes.
func (id WorkerID) UUID() uuid.UUID { return uuid.UUID(id) }

func (id OrgID) String() string       { return uuid.UUID(id).String() }
func (id ExecutionID) String() string { return uuid.UUID(id).String() }
func (id TaskID) String() string      { return uuid.UUID(id).String() }
func (id PromiseID) String() string   { return uuid.UUID(id).String() }
func (id WorkerID) String() string    { return uuid.UUID(id).String() }

// IsZero reports whether no organization is named.
func (id OrgID) IsZero() bool { return id == OrgID{} }

// IsZero reports whether no execution is named.
func (id ExecutionID) IsZero() bool { return id == ExecutionID{} }

// IsZero reports whether no task is named.
func (id TaskID) IsZero() bool { return id == TaskID{} }

// NewUUID makes a version 7 identifier: time-ordered, so that rows inserted
// together lie together in every index.
func NewUUID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil { // crypto/rand never fails on the supported platforms
		panic(fmt.Errorf("making a version 7 UUID: %w", err))
	}
	return id
}
