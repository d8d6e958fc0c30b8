package rpc

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// audits serves flovyn.api.v1.AuditService.
type audits struct {
	apiv1connect.UnimplementedAuditServiceHandler
	door
}

// defaultAuditLimit is how many records a page has when nobody says it.
const defaultAuditLimit = 50

// endOfTime is later than any record.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// ListAuditRecords lists what was refused and changed, newest first.
func (h audits) ListAuditRecords(ctx context.Context, req *apiv1.ListAuditRecordsRequest) (*apiv1.ListAuditRecordsResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	filter := flovyn.AuditFilter{
		Org: org, Outcome: flovyn.AuditOutcome(req.GetOutcome()), Principal: req.GetPrincipal(), Limit: defaultAuditLimit,
	}
	if req.Limit != nil {
		filter.Limit = int(req.GetLimit())
	}
	if filter.Since, err = timeOf("since", req.GetSince(), time.Unix(0, 0)); err != nil {
		return nil, err
	}
	if filter.Before.At, err = timeOf("until", req.GetUntil(), endOfTime); err != nil {
		return nil, err
	}
	if req.PageToken != nil {
		if filter.Before, err = readAuditPlace(req.GetPageToken()); err != nil {
			return nil, err
		}
	}
	records, next, err := h.audit.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	answer := &apiv1.ListAuditRecordsResponse{}
	for i := range records {
		answer.Records = append(answer.Records, auditRecordOut(&records[i]))
	}
	if next != nil {
		answer.NextPageToken = new(writeAuditPlace(*next))
	}
	return answer, nil
}

func auditRecordOut(r *flovyn.AuditRecord) *apiv1.AuditRecord {
	return &apiv1.AuditRecord{
		Id: r.ID.String(), At: at(r.At), Principal: r.Principal, Procedure: r.Procedure, Action: r.Action, ResourceType: r.ResourceType,
		ResourceId: maybe(r.ResourceID), Outcome: string(r.Outcome), Reason: maybe(r.Reason), RequestId: r.RequestID,
		RemoteAddress: maybe(r.RemoteAddress),
	}
}

// timeOf reads a time that may be absent.
func timeOf(field string, t *timestamppb.Timestamp, absent time.Time) (time.Time, error) {
	if t == nil {
		return absent, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fault.InvalidField(field, "is not a time between the years 1 and 9999")
	}
	return t.AsTime(), nil
}

// placeBytes is the size of a place: a time in microseconds, and an id.
const placeBytes = 8 + 16

func writeAuditPlace(p flovyn.AuditPlace) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(p.At.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(raw, p.ID[:]...))
}

func readAuditPlace(text string) (flovyn.AuditPlace, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != placeBytes {
		return flovyn.AuditPlace{}, fault.InvalidField("page_token", "is not one that a previous page gave")
	}
	when := time.UnixMicro(int64(binary.BigEndian.Uint64(raw)))
	if when.Before(time.Unix(0, 0)) || when.After(endOfTime) {
		return flovyn.AuditPlace{}, fault.InvalidField("page_token", "is not one that a previous page gave")
	}
	return flovyn.AuditPlace{At: when, ID: flovyn.AuditID(uuid.UUID(raw[8:]))}, nil
}
