package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// ParkedQuery selects parked executions, or parked tasks, of an organization.
// Everything that is set must match.
type ParkedQuery struct {
	IDs   []uuid.UUID
	Kind  string
	Queue string
	// All says that a query that sets none of these means everything.
	All bool
	// AfterAt and AfterID are ParkedAt and id of the last one of the page before.
	AfterAt time.Time
	AfterID uuid.UUID
	// Limit bounds the page.
	Limit int
}
