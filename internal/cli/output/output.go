// Package output writes what the CLI has to say: tables for people, and JSON,
// JSON lines or YAML for programs.
//
// For programs an answer is the body that the REST API gives, with payloads
// inline. For people it is text that fits the terminal: a table that is too wide
// is shortened, and where even that does not help each row becomes a few lines.
// What does not go to a terminal is never shortened and never coloured.
//
// Texts that others wrote (names, errors, payloads) can hold anything. On the way
// to a person control characters are made visible, so that nobody's data moves
// the cursor or changes the title of a window.
package output

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// Format is how answers are written.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	JSONL Format = "jsonl"
	YAML  Format = "yaml"
)

// Formats are all, in the order in which help names them.
var Formats = []Format{Table, JSON, JSONL, YAML}

// Printer writes answers.
type Printer struct {
	W      io.Writer
	Format Format
	// Color permits colours.
	Color bool
	// Width is that of the terminal; 0 is no terminal, and no limit.
	Width int
	// Quiet leaves only identifiers of what would be tables and sentences.
	Quiet bool
	// Now is the time from which ages count.
	Now time.Time
}

// ForPrograms reports whether answers are for programs to read.
func (p *Printer) ForPrograms() bool { return p.Format != Table }

// Message writes an answer: for programs as it is, in quiet mode as what quiet
// returns, line by line, and for people as text writes it.
func (p *Printer) Message(m proto.Message, quiet []string, text func()) error {
	switch {
	case p.Format == JSON:
		return p.write(append(encode(m, true), '\n'))
	case p.Format == JSONL:
		return p.write(encodeLines(m))
	case p.Format == YAML:
		return p.yaml(encode(m, false))
	case p.Quiet:
		for _, line := range quiet {
			fmt.Fprintln(p.W, Clean(line))
		}
		return nil
	default:
		text()
		return nil
	}
}

// Item writes one of many messages that come one after the other: for programs a
// line of JSON, or a document of YAML.
func (p *Printer) Item(m proto.Message, text func()) error {
	switch p.Format {
	case YAML:
		if err := p.write([]byte("---\n")); err != nil {
			return err
		}
		return p.yaml(encode(m, false))
	case JSON, JSONL:
		return p.write(append(encode(m, false), '\n'))
	default:
		text()
		return nil
	}
}

// Value writes a payload: as it is for people and for JSON.
func (p *Printer) Value(raw []byte) error {
	if len(raw) == 0 {
		raw = []byte("null")
	}
	switch {
	case p.Format == YAML:
		return p.yaml(raw)
	case p.Format == Table && p.Width > 0:
		return p.write([]byte(Clean(string(raw)) + "\n"))
	default:
		return p.write(append(bytes.Clone(raw), '\n'))
	}
}

// Linef writes a line for people.
func (p *Printer) Linef(format string, args ...any) { fmt.Fprintf(p.W, format+"\n", args...) }

func (p *Printer) write(b []byte) error {
	if _, err := p.W.Write(b); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// yaml writes JSON as YAML. JSON is YAML already, but for how it looks: the nodes
// keep their order, and numbers the digits they have.
func (p *Printer) yaml(encoded []byte) error {
	var node yaml.Node
	if err := yaml.Unmarshal(encoded, &node); err != nil {
		return fmt.Errorf("writing the answer as YAML: %w", err)
	}
	block(&node)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return fmt.Errorf("writing the answer as YAML: %w", err)
	}
	return p.write(b.Bytes())
}

// block takes JSON's brackets and quotes from a node, where YAML can do without.
func block(node *yaml.Node) {
	if len(node.Content) > 0 {
		node.Style = 0
	} else if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		node.Style = 0
	}
	for _, child := range node.Content {
		block(child)
	}
}

// Clean makes control characters visible, so that a text stays in its place.
func Clean(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case isControl(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isControl reports whether a character does something to a terminal, or to the
// order in which it shows the others.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// Moment writes a time for people; nothing for the zero time.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// Duration writes a duration as people do: two units at most.
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// Age writes how long ago something was.
func (p *Printer) Age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Duration(p.Now.Sub(t)) + " ago"
}
