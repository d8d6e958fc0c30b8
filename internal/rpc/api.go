package rpc

import (
	"strconv"
	"strings"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// registerAPI adds the services of the management API.
func registerAPI(server *connect.Server, d door) {
	apiv1connect.RegisterOrganizationServiceHandler(server, organizations{door: d})
	apiv1connect.RegisterIdentityServiceHandler(server, identity{door: d})
	apiv1connect.RegisterWorkflowExecutionServiceHandler(server, workflowExecutions{door: d})
	apiv1connect.RegisterTaskExecutionServiceHandler(server, taskExecutions{door: d})
	apiv1connect.RegisterPromiseServiceHandler(server, promises{door: d})
	apiv1connect.RegisterWorkerServiceHandler(server, workers{door: d})
	apiv1connect.RegisterStreamServiceHandler(server, streams{door: d})
	apiv1connect.RegisterScheduleServiceHandler(server, schedules{door: d})
	apiv1connect.RegisterMetadataFieldServiceHandler(server, metadataFields{door: d})
	apiv1connect.RegisterSavedQueryServiceHandler(server, savedQueries{door: d})
	apiv1connect.RegisterQueryLanguageServiceHandler(server, queryLanguage{door: d})
	apiv1connect.RegisterWorkerTokenServiceHandler(server, workerTokens{door: d})
	apiv1connect.RegisterAuditServiceHandler(server, audits{door: d})
}

// at is a time as messages carry it; the zero time is absent.
func at(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// maybeAt is at for a time that may be absent.
func maybeAt(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return at(*t)
}

// maybe is a text as messages carry it; the empty text is absent.
func maybe(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// maybeID is an identifier as messages carry it; the nil UUID is absent.
func maybeID(id uuid.UUID) *string {
	if id == uuid.Nil {
		return nil
	}
	return new(id.String())
}

// durationUnits are what a duration as people write it ends in.
var durationUnits = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour,
}

// durationText reads a duration as people write it: 30s, 5m, 2h or 7d.
func durationText(field, text string) (time.Duration, error) {
	wrong := func() error {
		return fault.InvalidField(field, "%q is not a duration such as 30s, 5m, 2h or 7d", text)
	}
	if text == "" {
		return 0, wrong()
	}
	last := len(text) - 1
	unit, ok := durationUnits[text[last]]
	// Unsigned, and with no more digits than fit.
	n, err := strconv.ParseUint(text[:last], 10, 31)
	if !ok || err != nil || n > uint64(flovyn.MaxDelay/unit) {
		return 0, wrong()
	}
	return time.Duration(n) * unit, nil
}

// keyTTLText reads the lifetime of an idempotency key; none stands for the
// default.
func keyTTLText(field string, text *string) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	ttl, err := durationText(field, *text)
	if err == nil && (ttl < flovyn.MinIdempotencyTTL || ttl > flovyn.MaxIdempotencyTTL) {
		err = fault.InvalidField(field, "%s is not between %s and %s: give 30s, 5m, 2h or 7d", *text, "1s", "30d")
	}
	return ttl, err
}

// logID names a line of a log.
func logID(n int64) string { return strconv.FormatInt(n, 10) }

// reservedMetadata begins the keys that the server keeps for itself.
const reservedMetadata = "_flovyn_"

// checkMetadata refuses keys that are the server's own.
func checkMetadata(metadata map[string]string) error {
	for key := range metadata {
		if strings.HasPrefix(key, reservedMetadata) {
			return fault.InvalidField("metadata", "%q begins with %s, which is reserved", key, reservedMetadata)
		}
	}
	return nil
}
