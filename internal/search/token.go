package search

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// cursor is what a page token holds.
type cursor struct {
	// Query tells the list it belongs to.
	Query string `json:"q"`
	// Now is when the first page was read, in microseconds of the epoch.
	Now int64 `json:"n"`
	// Total is what was counted.
	Total int `json:"t"`
	// Value and ID are the place; Value is nil when the field is absent.
	Value *string   `json:"v,omitempty"`
	ID    uuid.UUID `json:"i"`
}

// digest tells lists apart.
func digest(s *postgres.Search, q fql.Query) string {
	sum := sha256.Sum256([]byte(s.Org.String() + string(s.Entity) + q.String()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// token names the place where a page ended.
func token(s *postgres.Search, q fql.Query, total int, place postgres.Place) string {
	c := cursor{Query: digest(s, q), Now: s.Now.UnixMicro(), Total: total, ID: place.ID, Value: write(place.Value)}
	b, err := json.Marshal(c)
	if err != nil { // texts and numbers
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// resume lets a search go on at a token, and returns the total that was counted.
func resume(s *postgres.Search, q fql.Query, text string) (total int, err error) {
	invalid := fault.InvalidField("page_token", "is not one that this server gave")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, invalid
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil {
		return 0, invalid
	}
	if c.Query != digest(s, q) {
		return 0, fault.InvalidField("page_token", "belongs to another query or order")
	}
	at := time.UnixMicro(c.Now).UTC()
	value, ok := readValue(q.Order.Field, c.Value)
	if !ok || at.Year() < 2000 || at.Year() > 9999 || c.Total < 0 {
		return 0, invalid
	}
	s.Now, s.After = at, &postgres.Place{Value: value, ID: c.ID}
	return c.Total, nil
}

func write(v any) *string {
	switch v := v.(type) {
	case string:
		return &v
	case int64:
		return new(strconv.FormatInt(v, 10))
	case bool:
		return new(strconv.FormatBool(v))
	case time.Time:
		return new(strconv.FormatInt(v.UnixMicro(), 10))
	default:
		return nil
	}
}

// readValue is the reverse of write, for values of a field.
func readValue(f fql.Field, text *string) (any, bool) {
	if text == nil {
		return nil, f.Optional
	}
	switch f.Type {
	case fql.Number:
		n, err := strconv.ParseInt(*text, 10, 64)
		return n, err == nil
	case fql.Bool:
		b, err := strconv.ParseBool(*text)
		return b, err == nil
	case fql.Time:
		n, err := strconv.ParseInt(*text, 10, 64)
		at := time.UnixMicro(n).UTC()
		return at, err == nil && at.Year() >= 1 && at.Year() <= 9999
	case fql.UUID:
		_, err := uuid.Parse(*text)
		return *text, err == nil
	default:
		return *text, !hasNUL(*text)
	}
}
