package postgres

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// WriteAudit stores audit records. Those that are stored already are left alone.
func (s *Store) WriteAudit(ctx context.Context, records []flovyn.AuditRecord) error {
	insert := &pgq.AuditInsertParams{}
	for i := range records {
		r := &records[i]
		insert.Ids = append(insert.Ids, r.ID.UUID())
		insert.Ats = append(insert.Ats, r.At)
		insert.OrgIds = append(insert.OrgIds, r.Org.UUID())
		insert.Principals = append(insert.Principals, r.Principal)
		insert.Procedures = append(insert.Procedures, r.Procedure)
		insert.Actions = append(insert.Actions, r.Action)
		insert.ResourceTypes = append(insert.ResourceTypes, r.ResourceType)
		insert.ResourceIds = append(insert.ResourceIds, r.ResourceID)
		insert.Outcomes = append(insert.Outcomes, string(r.Outcome))
		insert.Reasons = append(insert.Reasons, r.Reason)
		insert.RequestIds = append(insert.RequestIds, r.RequestID)
		insert.RemoteAddresses = append(insert.RemoteAddresses, r.RemoteAddress)
	}
	return translate(s.q.AuditInsert(ctx, s.pool, insert))
}

// AuditRecords returns records of an organization, newest first.
func (s *Store) AuditRecords(ctx context.Context, f flovyn.AuditFilter) ([]flovyn.AuditRecord, error) {
	rows, err := s.q.AuditList(ctx, s.pool, &pgq.AuditListParams{
		OrgID: f.Org.UUID(), Since: f.Since, BeforeAt: f.Before.At, BeforeID: f.Before.ID.UUID(),
		Outcome: string(f.Outcome), Principal: f.Principal, Max: int32(f.Limit),
	})
	if err != nil {
		return nil, translate(err)
	}
	records := make([]flovyn.AuditRecord, len(rows))
	for i, r := range rows {
		records[i] = flovyn.AuditRecord{
			ID: flovyn.AuditID(r.ID), At: r.At, Org: f.Org, Principal: r.Principal, Procedure: r.Procedure, Action: r.Action,
			ResourceType: r.ResourceType, ResourceID: r.ResourceID, Outcome: flovyn.AuditOutcome(r.Outcome), Reason: r.Reason,
			RequestID: r.RequestID, RemoteAddress: r.RemoteAddress,
		}
	}
	return records, nil
}

// DeleteAuditRecords deletes up to limit records older than age and returns how
// many.
func (s *Store) DeleteAuditRecords(ctx context.Context, age time.Duration, limit int) (int, error) {
	n, err := s.q.AuditDeleteOlder(ctx, s.pool, age, int32(limit))
	return int(n), translate(err)
}
