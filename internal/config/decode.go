package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	orgIDType    = reflect.TypeFor[flovyn.OrgID]()
)

// maxSeconds bounds every duration: ten years.
const maxSeconds = 10 * 365 * 24 * 60 * 60

// elementDefaults are the elements of lists of tables before anything is set.
var elementDefaults = map[reflect.Type]reflect.Value{
	reflect.TypeFor[Org]():          reflect.ValueOf(Org{Tier: "FREE"}),
	reflect.TypeFor[StaticKey]():    reflect.ValueOf(StaticKey{PrincipalType: caller.User}),
	reflect.TypeFor[OrgRetention](): reflect.ValueOf(OrgRetention{}),
}

// A decoder puts settings into a Config.
type decoder struct {
	root reflect.Value
	// lines are those of the file, by path as it is spelled there.
	lines    map[string]int
	mistakes []error
}

// topLevel returns the names of the tables, and of the list of organizations.
func topLevel() []string { return names(reflect.TypeFor[Config]()) }

// names returns the keys of a table.
func names(table reflect.Type) (keys []string) {
	for field := range table.Fields() {
		if tag := field.Tag.Get("toml"); tag != "" {
			keys = append(keys, tag)
		}
	}
	return keys
}

// isTable reports whether a type is written as a table. An identifier is an
// array of bytes, and a duration a number.
func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct }

// find follows a path into a table. When there is nothing there, known are the
// keys of the last table on the way.
func find(table reflect.Value, path string) (field reflect.Value, known []string) {
	for part := range strings.SplitSeq(path, ".") {
		if !isTable(table.Type()) {
			return reflect.Value{}, []string{"nothing"}
		}
		next, ok := child(table, part)
		if !ok {
			return reflect.Value{}, names(table.Type())
		}
		table = next
	}
	return table, nil
}

func child(table reflect.Value, key string) (reflect.Value, bool) {
	for i := range table.NumField() {
		if tag := table.Type().Field(i).Tag.Get("toml"); tag == key && tag != "" {
			return table.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func (d *decoder) fail(s setting, format string, args ...any) {
	d.mistakes = append(d.mistakes, &mistake{s.at, s.key, fmt.Sprintf(format, args...)})
}

// table checks that a table of the file is one of ours.
func (d *decoder) table(s setting) {
	field, known := find(d.root, s.path)
	switch {
	case !field.IsValid():
		d.unknown(s, known)
	case !isTable(field.Type()):
		d.fail(s, "is no table")
	}
}

// unknown reports a path that names nothing. What is inside an unknown table of
// the file is not reported again.
func (d *decoder) unknown(s setting, known []string) {
	if dot := strings.LastIndex(s.path, "."); dot > 0 && !s.text {
		if parent, _ := find(d.root, s.path[:dot]); !parent.IsValid() {
			return
		}
	}
	d.fail(s, "unknown setting; known here: %s", strings.Join(known, ", "))
}

// set decodes one setting.
func (d *decoder) set(s setting) {
	field, known := find(d.root, s.path)
	switch {
	case !field.IsValid():
		d.unknown(s, known)
	case isTable(field.Type()):
		d.fail(s, "is a table; name one of its settings: %s", strings.Join(names(field.Type()), ", "))
	case field.Kind() == reflect.Slice && isTable(field.Type().Elem()):
		d.tables(field, s)
	default:
		if err := assign(field, s.value, s.text); err != nil {
			d.fail(s, "%s", err)
		}
	}
}

// tables decodes a list of tables.
func (d *decoder) tables(field reflect.Value, s setting) {
	list, err := listOf(s.value, s.text)
	if err != nil {
		d.fail(s, "%s", err)
		return
	}
	for i, item := range list {
		at := d.inside(s, fmt.Sprintf("%s[%d]", s.key, i))
		table, ok := item.(map[string]any)
		if !ok {
			d.fail(at, "want a table")
			continue
		}
		element := reflect.New(field.Type().Elem()).Elem()
		element.Set(elementDefaults[element.Type()])
		d.element(element, table, at)
		field.Set(reflect.Append(field, element))
	}
}

// element decodes one table of a list.
func (d *decoder) element(element reflect.Value, table map[string]any, s setting) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		at := d.inside(s, join(s.key, key))
		field, ok := child(element, key)
		if !ok {
			d.fail(at, "unknown setting; known here: %s", strings.Join(names(element.Type()), ", "))
			continue
		}
		if err := assign(field, table[key], false); err != nil {
			d.fail(at, "%s", err)
		}
	}
}

// inside returns the place of something inside a setting.
func (d *decoder) inside(s setting, key string) setting {
	s.key = key
	if line, ok := d.lines[key]; ok && !s.text {
		s.at.line = line
	}
	return s
}

// assign converts a value to a field's type. Its errors never hold the value.
func assign(field reflect.Value, value any, text bool) error {
	switch {
	case field.Type() == orgIDType:
		return assignOrgID(field, value)
	case field.Type() == durationType:
		seconds, err := number(value, text)
		if err != nil {
			return err
		}
		if seconds < 0 || seconds > maxSeconds {
			return fmt.Errorf("want seconds from 0 to %d", maxSeconds)
		}
		field.SetInt(seconds * int64(time.Second))
		return nil
	}
	switch field.Kind() {
	case reflect.Int:
		n, err := number(value, text)
		if err != nil {
			return err
		}
		field.SetInt(n)
	case reflect.Bool:
		b, err := boolean(value, text)
		if err != nil {
			return err
		}
		field.SetBool(b)
	case reflect.Slice:
		return assignStrings(field, value, text)
	default:
		s, ok := value.(string)
		if !ok {
			return errors.New("want a string")
		}
		field.SetString(s)
	}
	return nil
}

func assignOrgID(field reflect.Value, value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("want a string that is a UUID")
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(id.String()) { // Parse also takes braces and URNs
		return errors.New("want a UUID such as 550e8400-e29b-41d4-a716-446655440000")
	}
	field.Set(reflect.ValueOf(flovyn.OrgID(id)))
	return nil
}

func assignStrings(field reflect.Value, value any, text bool) error {
	list, err := listOf(value, text)
	if err != nil {
		return err
	}
	words := make([]string, len(list))
	for i, item := range list {
		word, ok := item.(string)
		if !ok {
			return errors.New("want a list of strings")
		}
		words[i] = word
	}
	field.Set(reflect.ValueOf(words))
	return nil
}

func listOf(value any, text bool) ([]any, error) {
	if s, ok := value.(string); ok && text {
		return textList(s)
	}
	list, ok := value.([]any)
	if !ok {
		return nil, errors.New("want a list")
	}
	return list, nil
}

func number(value any, text bool) (int64, error) {
	if n, ok := value.(int64); ok {
		return n, nil
	}
	s, ok := value.(string)
	if !ok || !text {
		return 0, errors.New("want a whole number")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil && strings.HasPrefix(s, "tcp://") {
		return 0, errors.New("want a whole number; Kubernetes sets such variables for services " +
			"in the same namespace: rename the service or set enableServiceLinks to false")
	}
	if err != nil {
		return 0, errors.New("want a whole number")
	}
	return n, nil
}

func boolean(value any, text bool) (bool, error) {
	if b, ok := value.(bool); ok {
		return b, nil
	}
	if s, ok := value.(string); ok && text {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		}
	}
	return false, errors.New("want true or false")
}
