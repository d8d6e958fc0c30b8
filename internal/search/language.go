package search

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
)

// maxValues bounds the values that are suggested.
const maxValues = 50

// Complete says what may stand at a position of a query: what the language
// knows, and values that the organization's newest rows have.
func (s *Searcher) Complete(ctx context.Context, org flovyn.OrgID, entity fql.Entity, query string, position int) ([]fql.Suggestion, error) {
	if len(query) > fql.MaxBytes {
		return nil, fault.InvalidField("partial", "is longer than %d bytes", fql.MaxBytes)
	}
	c := fql.Complete(entity, query, position)
	if c.Field == nil {
		return c.Suggestions, nil
	}
	values, err := s.sampled(ctx, org, entity, *c.Field, c.Prefix)
	for _, v := range values {
		c.Suggestions = append(c.Suggestions, fql.Suggestion{Value: fql.QuoteText(v), Label: v, Type: fql.SuggestValue})
	}
	return c.Suggestions, err
}

// Values lists values of a field: all of an enum, for a text those that the
// organization's newest rows have, and none for other types.
func (s *Searcher) Values(ctx context.Context, org flovyn.OrgID, entity fql.Entity, field, prefix string) ([]string, error) {
	f, ok := entity.Field(field)
	if !ok {
		return nil, fault.InvalidField("field", "%s has no field %q", entity, field)
	}
	var values []string
	switch f.Type {
	case fql.Enum:
		values = f.Values
	case fql.Bool:
		values = f.ValueTexts()
	default:
		return s.sampled(ctx, org, entity, f, prefix)
	}
	var matching []string
	for _, v := range values {
		if strings.HasPrefix(v, prefix) {
			matching = append(matching, v)
		}
	}
	return matching, nil
}

func (s *Searcher) sampled(ctx context.Context, org flovyn.OrgID, entity fql.Entity, f fql.Field, prefix string) ([]string, error) {
	if f.Type != fql.Text && f.Type != fql.Meta || hasNUL(prefix) || hasNUL(f.Name) || !utf8.ValidString(prefix) {
		return nil, nil
	}
	return s.store.DistinctValues(ctx, org, entity, f, prefix, maxValues)
}

// hasNUL reports whether a text holds what no text in the database can.
func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }
