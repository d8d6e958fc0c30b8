package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// SavedQuery is a query of lists under a name.
type SavedQuery struct {
	ID          uuid.UUID
	Org         OrgID
	Name        string
	Description *string
	// Entity is what it is about, as package fql names it.
	Entity string
	Query  string
	// Shared queries are there for everybody in the organization, others for
	// their maker alone.
	Shared     bool
	CreatedBy  string
	UseCount   int64
	LastUsedAt *time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// MetadataField says what may be expected under a key of executions' metadata.
type MetadataField struct {
	ID          uuid.UUID
	Org         OrgID
	Key         string
	DisplayName string
	Description *string
	Type        MetadataType
	// AllowedValues are those of an enum.
	AllowedValues []string
	// Class and Kind say for which executions it holds; both are empty for all.
	Class Class
	Kind  string
	// Order is where it stands among the others.
	Order int32
}

// MetadataType is what a metadata field holds.
type MetadataType string

// The types of metadata field.
const (
	MetadataEnum    MetadataType = "enum"
	MetadataText    MetadataType = "text"
	MetadataNumber  MetadataType = "number"
	MetadataBoolean MetadataType = "boolean"
)
