package engine

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// CheckName checks a kind, queue or other name; what must not be empty says so.
func CheckName(field, name string, required bool) error {
	switch {
	case required && name == "":
		return fault.InvalidField(field, "must not be empty")
	case len(name) > flovyn.MaxNameLength:
		return fault.InvalidField(field, "longer than %d bytes", flovyn.MaxNameLength)
	case !storable(name):
		return fault.InvalidField(field, "holds a character that cannot be stored")
	}
	return nil
}

// storable reports whether the database can store a text.
func storable(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// CheckKey checks an idempotency key and its time to live, and fills in the
// default. An empty key is none.
func CheckKey(field, key string, ttl time.Duration) (time.Duration, error) {
	if len(key) > flovyn.MaxIdempotencyKeyLength {
		return 0, fault.InvalidField(field, "longer than %d bytes", flovyn.MaxIdempotencyKeyLength)
	}
	if !storable(key) {
		return 0, fault.InvalidField(field, "holds a character that cannot be stored")
	}
	if ttl == 0 {
		return flovyn.DefaultIdempotencyTTL, nil
	}
	if ttl < flovyn.MinIdempotencyTTL || ttl > flovyn.MaxIdempotencyTTL {
		return 0, fault.InvalidField(field+"_ttl_seconds", "must be between %d and %d",
			int(flovyn.MinIdempotencyTTL.Seconds()), int(flovyn.MaxIdempotencyTTL.Seconds()))
	}
	return ttl, nil
}

// CheckMetadata checks metadata and returns it as JSON, nil when there is none.
func CheckMetadata(metadata map[string]string) ([]byte, error) {
	if len(metadata) == 0 {
		return nil, nil
	}
	if len(metadata) > flovyn.MaxMetadataEntries {
		return nil, fault.InvalidField("metadata", "more than %d entries", flovyn.MaxMetadataEntries)
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		return nil, fault.InvalidField("metadata", "cannot be written as JSON")
	}
	if len(text) > flovyn.MaxMetadataBytes {
		return nil, fault.InvalidField("metadata", "larger than %d bytes", flovyn.MaxMetadataBytes)
	}
	return text, nil
}

// payload checks a payload against the engine's limit.
func (e *Engine) payload(field string, value []byte) ([]byte, error) {
	return history.Payload(field, value, e.cfg.MaxPayload)
}
