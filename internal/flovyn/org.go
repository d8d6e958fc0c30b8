package flovyn

import "time"

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
