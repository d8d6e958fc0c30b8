// Package schema checks JSON values against the JSON Schemas that workers
// register with what they can execute.
//
// A schema is a help for those who start something: it says at once, and where,
// that an input is not what the code expects. It never stands in the way by a
// fault of its own. One that cannot be compiled (malformed, too large, pointing
// to another document: nothing is ever fetched) checks nothing and says so in the
// log, once.
package schema

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/flovyn/flovyn-server/internal/fault"
)

const (
	// remember is how many compiled schemas are kept.
	remember = 1000
	// maxBytes bounds the schemas that are used.
	maxBytes = 256 << 10
	// maxFaults bounds the faults that are told of one value.
	maxFaults = 20
	// place is under which name the compiler knows the schema.
	place = "flovyn:///schema.json"
)

// Checker checks values. It is safe for concurrent use.
type Checker struct {
	log *slog.Logger
	// compiled holds nil for a schema that cannot be used.
	compiled *lru.Cache[[sha256.Size]byte, *jsonschema.Schema]
	printer  *message.Printer
}

// New makes a checker.
func New(log *slog.Logger) (*Checker, error) {
	compiled, err := lru.New[[sha256.Size]byte, *jsonschema.Schema](remember)
	if err != nil {
		return nil, fmt.Errorf("making room for compiled schemas: %w", err)
	}
	return &Checker{log: log, compiled: compiled, printer: message.NewPrinter(language.English)}, nil
}

// Check returns what is wrong with a JSON value: a fault of kind Invalid that
// names every place, as a JSON pointer into the value ("/" for the value as a
// whole). of says whose schema it is, for the log.
func (c *Checker) Check(of string, schema, value []byte) error {
	compiled := c.compile(of, schema)
	if compiled == nil {
		return nil
	}
	// Numbers stay as they are written.
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return fault.InvalidField("input", "not a valid JSON value in UTF-8")
	}
	err = compiled.Validate(decoded)
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		c.log.Warn("an input schema cannot be used", "of", of, "error", err)
		return nil
	}
	var places []fault.Detail
	c.collect(wrong, &places)
	return fault.InvalidInput("Input validation failed", places)
}

// compile returns a schema ready to use, nil when it checks nothing.
func (c *Checker) compile(of string, schema []byte) *jsonschema.Schema {
	if len(schema) == 0 {
		return nil
	}
	key := sha256.Sum256(schema)
	if compiled, ok := c.compiled.Get(key); ok {
		return compiled
	}
	compiled, err := compile(schema)
	if err != nil {
		c.log.Warn("an input schema cannot be used: inputs are not checked against it", "of", of, "error", err)
	}
	c.compiled.Add(key, compiled)
	return compiled
}

// nowhere fetches nothing.
type nowhere struct{}

// Load refuses.
func (nowhere) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not fetched", url) }

func compile(schema []byte) (*jsonschema.Schema, error) {
	if len(schema) > maxBytes {
		return nil, fmt.Errorf("%d bytes exceed %d", len(schema), maxBytes)
	}
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(nowhere{})
	if err := compiler.AddResource(place, decoded); err != nil {
		return nil, err
	}
	return compiler.Compile(place)
}

// collect takes the faults that have no causes of their own: the others only say
// that something below them is wrong.
func (c *Checker) collect(e *jsonschema.ValidationError, places *[]fault.Detail) {
	if len(e.Causes) == 0 && len(*places) < maxFaults {
		found := fault.Detail{Path: pointer(e.InstanceLocation), Message: e.ErrorKind.LocalizedString(c.printer)}
		if !slices.Contains(*places, found) {
			*places = append(*places, found)
		}
		return
	}
	for _, cause := range e.Causes {
		c.collect(cause, places)
	}
}

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes a place as a JSON pointer.
func pointer(location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteByte('/')
		b.WriteString(escapes.Replace(token))
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}
