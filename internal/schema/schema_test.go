package schema

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/fault"
)

func checker(t *testing.T) (*Checker, *bytes.Buffer) {
	t.Helper()
	var logged bytes.Buffer
	c, err := New(slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c, &logged
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	const order = `{"type":"object","required":["id"],"properties":{
		"id":{"type":"integer"},"lines":{"type":"array","items":{"properties":{"a/b":{"type":"string"}}}}}}`
	c, _ := checker(t)
	for value, want := range map[string][]string{
		`{"id":9007199254740993}`:        nil,
		`{"id":1.0}`:                     nil,
		`{}`:                             {"/"},
		`[]`:                             {"/"},
		`{"id":"x","lines":[{"a/b":1}]}`: {"/id", "/lines/0/a~1b"},
	} {
		err := c.Check("t", []byte(order), []byte(value))
		var places []string
		for _, detail := range fault.DetailsOf(err) {
			places = append(places, detail.Path)
			if detail.Message == "" {
				t.Errorf("%s: nothing is said of %s", value, detail.Path)
			}
		}
		if diff := cmp.Diff(want, places); diff != "" || (err != nil) != (want != nil) {
			t.Errorf("%s: %v: %s", value, err, diff)
		}
	}
}

// A schema that is at fault itself keeps nobody from starting anything, and is
// told of once.
func TestSchemaAtFault(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{
		"no JSON": `{`, "no schema": `{"type":7}`, "elsewhere": `{"$ref":"https://example.com/order.json"}`,
		"file": `{"$ref":"file:///etc/passwd"}`, "nowhere": `{"$ref":"#/$defs/absent"}`, "pattern": `{"pattern":"("}`,
		"too large": `{"title":"` + strings.Repeat("x", maxBytes) + `"}`,
	} {
		c, logged := checker(t)
		for range 2 {
			if err := c.Check("order", []byte(schema), []byte(`{}`)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if lines := strings.Count(logged.String(), "\n"); lines != 1 {
			t.Errorf("%s: %d lines logged, want 1:\n%s", name, lines, logged)
		}
	}
}

func TestManyFaults(t *testing.T) {
	t.Parallel()
	c, _ := checker(t)
	err := c.Check("t", []byte(`{"items":{"type":"string"}}`), []byte("["+strings.Repeat("1,", 1000)+"1]"))
	var known *fault.Error
	if !errors.As(err, &known) || known.Kind != fault.Invalid || len(known.Details) != maxFaults {
		t.Errorf("%v with %d details, want %d", err, len(fault.DetailsOf(err)), maxFaults)
	}
}
