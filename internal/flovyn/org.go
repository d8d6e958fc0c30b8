package flovyn

import "time"

// DefaultTier is the tier of organizations of which nobody says another.
const DefaultTier = "FREE"

// Organization is a tenant: the unit of isolation.
type Organization struct {
	ID     OrgID
	Slug   string
	Name   string
	Tier   string
	Region string
	// CreatedAt and UpdatedAt are set by the database.
	CreatedAt, UpdatedAt time.Time
}
