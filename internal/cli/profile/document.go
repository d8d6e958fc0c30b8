package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A pair is a key and its text, as a line of a table.
type pair struct{ key, value string }

func (p pair) line() string { return p.key + " = " + quote(p.value) }

// quote writes a text as TOML's basic string, which is JSON's for what is
// printable.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	return strings.TrimSpace(b.String())
}

// A document is the text of a file of profiles, which can be changed without
// touching what this program does not know.
type document struct {
	text   string
	values map[string]any
}

func parse(text []byte) (*document, error) {
	d := &document{text: string(text), values: map[string]any{}}
	if err := toml.Unmarshal(text, &d.values); err != nil {
		if place := new(toml.DecodeError); errors.As(err, &place) {
			row, column := place.Position()
			return nil, fmt.Errorf("line %d, column %d: %s", row, column, strings.TrimPrefix(place.Error(), "toml: "))
		}
		return nil, err
	}
	return d, nil
}

// names returns the profiles there are, the default one first.
func (d *document) names() []string {
	var names []string
	if _, ok := d.values[Default].(map[string]any); ok {
		names = append(names, Default)
	}
	profiles, _ := d.values["profiles"].(map[string]any)
	return append(names, slices.Sorted(maps.Keys(profiles))...)
}

// table returns the values of a profile; ok is false when there is none.
func (d *document) table(name string) (values map[string]any, ok bool) {
	parent := d.values
	if name != Default {
		parent, _ = d.values["profiles"].(map[string]any)
	}
	values, ok = parent[name].(map[string]any)
	return values, ok
}

func header(name string) string {
	if name == Default {
		return "[" + Default + "]"
	}
	return "[profiles." + name + "]"
}

var (
	headerLine = regexp.MustCompile(`^\s*\[`)
	keyLine    = regexp.MustCompile(`^\s*"?([A-Za-z0-9_-]+)"?\s*=`)
)

// isHeader reports whether a line begins the table of a profile, however it is
// spaced.
func isHeader(line, name string) bool {
	line, _, _ = strings.Cut(line, "#")
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", `"`, "", "'", "").Replace(line) == header(name)
}

// set gives the keys of a profile these values, takes away those of known that
// are not among them, and leaves everything else.
func (d *document) set(name string, known []string, pairs []pair) error {
	lines := strings.SplitAfter(d.text, "\n")
	start := slices.IndexFunc(lines, func(line string) bool { return isHeader(line, name) })
	var edited string
	if start < 0 {
		edited = d.appended(name, pairs)
	} else {
		end := start + 1
		for end < len(lines) && !headerLine.MatchString(lines[end]) {
			end++
		}
		section := editSection(lines[start+1:end], known, pairs)
		if len(pairs) == 0 && strings.TrimSpace(strings.Join(section, "")) == "" {
			lines = slices.Concat(lines[:start], lines[end:]) // nothing is left of it
		} else {
			lines = slices.Concat(lines[:start+1], section, lines[end:])
		}
		edited = strings.Join(lines, "")
	}
	return d.replace(edited, name, known, pairs)
}

// appended is the text with a new table in the end.
func (d *document) appended(name string, pairs []pair) string {
	if len(pairs) == 0 {
		return d.text
	}
	edited := d.text
	if edited != "" {
		edited = strings.TrimRight(edited, "\n") + "\n\n"
	}
	edited += header(name) + "\n"
	var lines strings.Builder
	for _, p := range pairs {
		lines.WriteString(p.line() + "\n")
	}
	edited += lines.String()
	return edited
}

// editSection changes the lines below a header.
func editSection(lines, known []string, pairs []pair) []string {
	var edited []string
	written := 0 // how many of pairs there are by now
	last := 0    // after the last line that is ours
	for _, line := range lines {
		key := ""
		if m := keyLine.FindStringSubmatch(line); len(m) > 1 && slices.Contains(known, m[1]) {
			key = m[1]
		}
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.key == key })
		switch {
		case key == "":
			edited = append(edited, line)
			continue
		case i < 0:
			continue // it goes
		}
		// What comes before it in the order and is not there yet goes first.
		for ; written <= i; written++ {
			edited = append(edited, pairs[written].line()+"\n")
		}
		last = len(edited)
	}
	var rest []string
	for _, p := range pairs[written:] {
		rest = append(rest, p.line()+"\n")
	}
	if last > 0 || len(edited) == 0 {
		return slices.Insert(edited, last, rest...)
	}
	return append(rest, edited...)
}

// replace takes the edited text if it says exactly what it should: a file that is
// written in a way which the editing does not understand stays as it is.
func (d *document) replace(edited, name string, known []string, pairs []pair) error {
	got, err := parse([]byte(edited))
	if err == nil {
		want := d.expected(name, known, pairs)
		prune(got.values, name)
		if reflect.DeepEqual(want, got.values) {
			*d = document{text: edited, values: got.values}
			return nil
		}
	}
	return fmt.Errorf("the table %s is written in a way that cannot be changed here; edit it by hand", header(name))
}

// expected is what the values should be after the change.
func (d *document) expected(name string, known []string, pairs []pair) map[string]any {
	want := clone(d.values)
	parent := want
	if name != Default {
		parent, _ = want["profiles"].(map[string]any)
		if parent == nil {
			parent = map[string]any{}
			want["profiles"] = parent
		}
	}
	table, _ := parent[name].(map[string]any)
	if table == nil {
		table = map[string]any{}
		parent[name] = table
	}
	for _, key := range known {
		delete(table, key)
	}
	for _, p := range pairs {
		table[p.key] = p.value
	}
	prune(want, name)
	return want
}

// prune takes empty tables away, which mean nothing.
func prune(values map[string]any, name string) {
	parent := values
	if name != Default {
		parent, _ = values["profiles"].(map[string]any)
	}
	if table, ok := parent[name].(map[string]any); ok && len(table) == 0 {
		delete(parent, name)
	}
	if profiles, ok := values["profiles"].(map[string]any); ok && len(profiles) == 0 {
		delete(values, "profiles")
	}
}

func clone(values map[string]any) map[string]any {
	copied := maps.Clone(values)
	for key, value := range copied {
		if table, ok := value.(map[string]any); ok {
			copied[key] = clone(table)
		}
	}
	return copied
}
