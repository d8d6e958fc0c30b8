package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a configuration file, read but not understood.
type document struct {
	settings []setting
	// tables are the headers, which may be empty and are checked all the same.
	tables []setting
	// lines are the lines of everything that has a path, list elements included.
	lines map[string]int
}

// readFile reads and parses a file.
func readFile(path string) (*document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parse(path, text)
}

func parse(path string, text []byte) (*document, error) {
	tree := map[string]any{}
	if err := toml.Unmarshal(text, &tree); err != nil {
		var syntax *toml.DecodeError
		if !errors.As(err, &syntax) {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line, _ := syntax.Position()
		return nil, &mistake{origin{file: path, line: line}, strings.Join(syntax.Key(), "."), syntax.Error()}
	}
	d := &document{lines: lines(text)}
	d.flatten(path, "", tree)
	return d, nil
}

// flatten turns nested tables into settings with paths.
func (d *document) flatten(file, prefix string, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := join(prefix, name)
		s := setting{path: canonical(key), key: key, value: table[name], at: origin{file: file, line: d.lines[key]}}
		if inner, ok := table[name].(map[string]any); ok {
			d.tables = append(d.tables, s)
			d.flatten(file, key, inner)
			continue
		}
		d.settings = append(d.settings, s)
	}
}

// bareKey are the characters of names that TOML wants no quotes around.
const bareKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// join extends a path. A quoted name with a dot in it is kept apart from the
// path that it looks like: the only dots of a path are between names.
func join(prefix, name string) string {
	if strings.Trim(name, bareKey) != "" || name == "" {
		name = strings.ReplaceAll(strconv.Quote(name), ".", `\x2e`)
	}
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// locator finds out where things stand. The decoder reports positions only for
// what it cannot decode; mistakes of meaning need them too.
type locator struct {
	text  []byte
	lines map[string]int
	// elements counts the elements of lists of tables written with [[...]].
	elements map[string]int
}

// lines returns the line of every path in a valid document.
func lines(text []byte) map[string]int {
	l := &locator{text: text, lines: map[string]int{}, elements: map[string]int{}}
	p := &unstable.Parser{}
	p.Reset(text)
	prefix := ""
	for p.NextExpression() {
		switch node := p.Expression(); node.Kind {
		case unstable.Table:
			prefix = l.path("", node.Key())
		case unstable.ArrayTable:
			list := l.path("", node.Key())
			prefix = fmt.Sprintf("%s[%d]", list, l.elements[list])
			l.elements[list]++
			l.mark(prefix, last(node.Key()))
		case unstable.KeyValue:
			l.keyValue(prefix, node)
		default: // comments are not reported unless asked for
		}
	}
	return l.lines
}

func (l *locator) keyValue(prefix string, node *unstable.Node) {
	l.value(l.path(prefix, node.Key()), node.Value())
}

// value marks what is inside a list or an inline table.
func (l *locator) value(path string, node *unstable.Node) {
	children := node.Children()
	for i := 0; children.Next(); i++ {
		child := children.Node()
		switch node.Kind {
		case unstable.InlineTable:
			l.keyValue(path, child)
		case unstable.Array:
			element := fmt.Sprintf("%s[%d]", path, i)
			l.mark(element, child)
			l.value(element, child)
		default: // other values have nothing inside
		}
	}
}

// path extends a path by a key, and marks it and every table on the way. Where
// it leads through a list of tables, it means the element that was begun last.
func (l *locator) path(prefix string, key unstable.Iterator) string {
	for key.Next() {
		prefix = join(prefix, string(key.Node().Data))
		l.mark(prefix, key.Node())
		if n := l.elements[prefix]; n > 0 && !key.IsLast() {
			prefix = fmt.Sprintf("%s[%d]", prefix, n-1)
		}
	}
	return prefix
}

// mark notes where a path was first seen.
func (l *locator) mark(path string, node *unstable.Node) {
	if _, seen := l.lines[path]; !seen && node.Raw.Length > 0 {
		l.lines[path] = 1 + strings.Count(string(l.text[:node.Raw.Offset]), "\n")
	}
}

func last(key unstable.Iterator) (node *unstable.Node) {
	for key.Next() {
		node = key.Node()
	}
	return node
}
