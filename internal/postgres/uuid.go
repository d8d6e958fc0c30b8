package postgres

import (
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// registerUUID lets pgx send and read uuid.UUID in binary. Without it every
// identifier takes the way of database/sql, through text and reflection, which
// was a quarter of the server's work in a group commit.
func registerUUID(types *pgtype.Map) {
	types.TryWrapEncodePlanFuncs = append([]pgtype.TryWrapEncodePlanFunc{wrapUUIDEncode}, types.TryWrapEncodePlanFuncs...)
	types.TryWrapScanPlanFuncs = append([]pgtype.TryWrapScanPlanFunc{wrapUUIDScan}, types.TryWrapScanPlanFuncs...)
}

// binaryUUID speaks pgx's interfaces for identifiers.
type binaryUUID uuid.UUID

// UUIDValue returns the identifier for sending.
func (u binaryUUID) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: u, Valid: true}, nil
}

// ScanUUID takes an identifier that was read.
func (u *binaryUUID) ScanUUID(v pgtype.UUID) error {
	if !v.Valid {
		return errors.New("a null identifier where there must be one")
	}
	*u = v.Bytes
	return nil
}

type uuidEncodePlan struct{ next pgtype.EncodePlan }

func wrapUUIDEncode(value any) (pgtype.WrappedEncodePlanNextSetter, any, bool) {
	id, ok := value.(uuid.UUID)
	if !ok {
		return nil, nil, false
	}
	return &uuidEncodePlan{}, binaryUUID(id), true
}

// SetNext is part of pgx's chain of plans.
func (p *uuidEncodePlan) SetNext(next pgtype.EncodePlan) { p.next = next }

// Encode appends the identifier.
func (p *uuidEncodePlan) Encode(value any, buf []byte) ([]byte, error) {
	return p.next.Encode(binaryUUID(value.(uuid.UUID)), buf) //nolint:errcheck // the plan was made for this type
}

type uuidScanPlan struct{ next pgtype.ScanPlan }

func wrapUUIDScan(target any) (pgtype.WrappedScanPlanNextSetter, any, bool) {
	id, ok := target.(*uuid.UUID)
	if !ok {
		return nil, nil, false
	}
	return &uuidScanPlan{}, (*binaryUUID)(id), true
}

// SetNext is part of pgx's chain of plans.
func (p *uuidScanPlan) SetNext(next pgtype.ScanPlan) { p.next = next }

// Scan reads the identifier.
func (p *uuidScanPlan) Scan(src []byte, target any) error {
	return p.next.Scan(src, (*binaryUUID)(target.(*uuid.UUID))) //nolint:errcheck // the plan was made for this type
}
