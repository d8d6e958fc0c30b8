// Package metadata keeps what an organization says about the metadata of its
// executions: which keys there are, and what stands under them. It helps people
// who fill in and search, and refuses nothing: an execution may have any other
// key and value.
package metadata

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// reserved is how keys begin that executions cannot have.
const reserved = "_flovyn_"

// Fields keeps fields. Methods are safe for concurrent use.
type Fields struct{ store *postgres.Store }

// New makes the keeper of fields.
func New(store *postgres.Store) *Fields { return &Fields{store} }

// Create stores a field. The display name defaults to the key.
func (k *Fields) Create(ctx context.Context, f flovyn.MetadataField) (flovyn.MetadataField, error) {
	if strings.TrimSpace(f.Key) == "" {
		return f, fault.InvalidField("key", "is required")
	}
	if strings.HasPrefix(f.Key, reserved) {
		return f, fault.InvalidField("key", "keys that begin with %s are reserved", reserved)
	}
	if f.DisplayName == "" {
		f.DisplayName = f.Key
	}
	if err := check(&f); err != nil {
		return f, err
	}
	f.ID = flovyn.NewUUID()
	return k.store.InsertMetadataField(ctx, &f)
}

// check refuses an enum without values, and values without an enum.
func check(f *flovyn.MetadataField) error {
	types := []flovyn.MetadataType{flovyn.MetadataEnum, flovyn.MetadataText, flovyn.MetadataNumber, flovyn.MetadataBoolean}
	switch {
	case !slices.Contains(types, f.Type):
		return fault.InvalidField("field_type", "want one of enum, text, number, boolean")
	case f.Type == flovyn.MetadataEnum && len(f.AllowedValues) == 0:
		return fault.InvalidField("allowed_values", "an enum needs at least one value")
	case f.Type != flovyn.MetadataEnum && len(f.AllowedValues) > 0:
		return fault.InvalidField("allowed_values", "only an enum has allowed values")
	}
	for i, v := range f.AllowedValues {
		if slices.Contains(f.AllowedValues[:i], v) {
			return fault.InvalidField("allowed_values", "%q is there twice", v)
		}
	}
	return nil
}

// List returns the fields that hold for a kind, those of the kind in the place
// of global ones of the same key; without a class, the global ones.
func (k *Fields) List(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string) ([]flovyn.MetadataField, error) {
	return k.store.MetadataFields(ctx, org, class, kind)
}

// Change is what becomes different of a field; nil and empty stay as they are.
type Change struct {
	DisplayName, Description *string
	Type                     flovyn.MetadataType
	AllowedValues            []string
	Order                    *int32
}

// Update changes a field. When it is no enum any more, it has no values either.
func (k *Fields) Update(ctx context.Context, org flovyn.OrgID, id uuid.UUID, c Change) (flovyn.MetadataField, error) {
	return k.store.ChangeMetadataField(ctx, org, id, func(f *flovyn.MetadataField) error {
		if c.DisplayName != nil {
			f.DisplayName = *c.DisplayName
		}
		if c.Description != nil {
			f.Description = c.Description
		}
		if c.Type != "" {
			if f.Type = c.Type; f.Type != flovyn.MetadataEnum {
				f.AllowedValues = nil
			}
		}
		if len(c.AllowedValues) > 0 {
			f.AllowedValues = c.AllowedValues
		}
		if c.Order != nil {
			f.Order = *c.Order
		}
		return check(f)
	})
}

// Delete deletes a field. Metadata that executions have stays.
func (k *Fields) Delete(ctx context.Context, org flovyn.OrgID, id uuid.UUID) error {
	return k.store.DeleteMetadataField(ctx, org, id)
}
