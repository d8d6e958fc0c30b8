package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/flovyn/flovyn-server"

func TestImportsFollowTheLaw(t *testing.T) {
	t.Parallel()
	tree := readTree(t, filepath.Join("..", ".."))
	if _, ok := tree["fault"]; !ok {
		t.Fatal("internal/fault is not in the tree: the reader looks in the wrong place")
	}
	for _, violation := range slices.Concat(check(tree), empty(tree)) {
		t.Error(violation)
	}
}

// A law about packages that are not there is not the law of this tree.
func TestLawKnowsWhatIsThere(t *testing.T) {
	t.Parallel()
	tree := readTree(t, filepath.Join("..", ".."))
	delete(tree, "history")
	delete(tree, "pgserver")
	want := []string{
		"history has a place and is no package: take it out of internal/archtest/law_test.go",
		"pgserver has a place and is no package: take it out of internal/archtest/law_test.go",
		"the law lets bench import pgserver, and there is no such package",
		"the law lets pgserver import something, and there is no such package",
		"the law lets pgtest import pgserver, and there is no such package",
	}
	if diff := cmp.Diff(want, slices.Compact(empty(tree))); diff != "" {
		t.Errorf("without two packages (-want +got):\n%s", diff)
	}
}

// empty returns where the law speaks of packages that are not in the tree.
func empty(tree map[string][]string) []string {
	var violations []string
	there := func(pattern string) bool {
		for name := range tree {
			if match(pattern, name) {
				return true
			}
		}
		return false
	}
	allowed := func(names []string) {
		for _, name := range names {
			if !there(name) {
				violations = append(violations, "the law lets "+name+" import something, and there is no such package")
			}
		}
	}
	for _, p := range places {
		if !there(p.name) {
			violations = append(violations, p.name+" has a place and is no package: take it out of internal/archtest/law_test.go")
		}
		for _, name := range p.also {
			if !there(name) && tree[p.name] != nil {
				violations = append(violations, "the law lets "+p.name+" import "+name+", and there is no such package")
			}
		}
	}
	for _, m := range monopolies {
		allowed(m.by)
	}
	for _, p := range purities {
		allowed(p.but)
	}
	slices.Sort(violations)
	return violations
}

// Every rule must catch the import it is there for.
func TestLawCatches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tree map[string][]string
		want []string
	}{
		"a lower floor": {tree: map[string][]string{
			"postgres": {module + "/internal/fault", module + "/internal/history", "context"},
		}},
		"a higher floor": {
			tree: map[string][]string{"history": {module + "/internal/postgres"}},
			want: []string{"history imports postgres: floor 1 (rules: values in, values out) " +
				"may import only what is below it, not floor 2 (world: the database, the clock, the network)"},
		},
		"the same floor along an arrow": {tree: map[string][]string{"task": {module + "/internal/engine"}}},
		"the same floor against the arrow": {
			tree: map[string][]string{"engine": {module + "/internal/task"}},
			want: []string{"engine imports task: both are on floor 3 (deeds: the use-cases), and no arrow leads there"},
		},
		"a sibling below a star": {tree: map[string][]string{"authn/statickey": {module + "/internal/authn"}}},
		"the tower reaching in": {
			tree: map[string][]string{"client": {module + "/internal/engine"}},
			want: []string{"client imports engine: the tower (programs that talk to the server over the wire) " +
				"knows the words and the generated protocol, not floor 3 (deeds: the use-cases)"},
		},
		"the server reaching out": {
			tree: map[string][]string{"engine": {module + "/client"}},
			want: []string{"engine imports client: the server does not know its clients"},
		},
		"a homeless package": {
			tree: map[string][]string{"util": nil},
			want: []string{"util has no place: decide where it stands and say so in internal/archtest/law_test.go"},
		},
		"messages below the doors": {
			tree: map[string][]string{"engine": {module + "/gen/flovyn/v1"}},
			want: []string{"engine imports github.com/flovyn/flovyn-server/gen/flovyn/v1: " +
				"below the doors there are no messages, only the nouns of internal/flovyn"},
		},
		"a library in the wrong place": {
			tree: map[string][]string{"engine": {"github.com/jackc/pgx/v5/pgxpool"}},
			want: []string{"engine imports github.com/jackc/pgx/v5/pgxpool: rows and SQL errors do not leave the storage packages"},
		},
		"a library with two importers": {
			tree: map[string][]string{
				"authn/jwt":   {"github.com/lestrrat-go/jwx/v3/jwt"},
				"authn/token": {"github.com/lestrrat-go/jwx/v3/jwk"},
			},
			want: []string{"authn/jwt, authn/token import github.com/lestrrat-go/jwx: " +
				"one package verifies tokens, so that there is one set of checks"},
		},
		"a rule that looks at the world": {
			tree: map[string][]string{"history": {"context", "net/http"}},
			want: []string{
				"history imports context: rules and nouns decide at once; caller rides on a context, and fault recognizes its errors",
				"history imports net/http: rules and nouns know no network",
			},
		},
		"a name that only begins alike": {tree: map[string][]string{"history": {"nettle", "testingx"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, check(test.tree)); diff != "" {
				t.Errorf("check (-want +got):\n%s", diff)
			}
		})
	}
}

// check returns what in the tree breaks the law. A tree maps the name of a
// package to the import paths of its files.
func check(tree map[string][]string) []string {
	var violations []string
	for name, imports := range tree {
		from, ok := placeOf(name)
		if !ok {
			violations = append(violations,
				name+" has no place: decide where it stands and say so in internal/archtest/law_test.go")
			continue
		}
		for _, imported := range imports {
			violations = append(violations, checkImport(name, from, imported)...)
		}
	}
	violations = append(violations, checkSingleImporters(tree)...)
	slices.Sort(violations)
	return slices.Compact(violations)
}

func checkImport(name string, from place, imported string) []string {
	var violations []string
	blame := func(reason string) {
		violations = append(violations, fmt.Sprintf("%s imports %s: %s", name, shortName(imported), reason))
	}
	if under(imported, module) {
		to, ok := placeOf(shortName(imported))
		if ok && !matchAny(from.also, shortName(imported)) {
			if reason := floorReason(from.floor, to); reason != "" {
				blame(reason)
			}
		}
	}
	for _, m := range monopolies {
		if under(imported, m.of) && len(m.by) > 0 && !matchAny(m.by, name) {
			violations = append(violations, fmt.Sprintf("%s imports %s: %s", name, imported, m.reason))
		}
	}
	for _, p := range purities {
		if under(imported, p.of) && slices.Contains(p.floors, from.floor) && !matchAny(p.but, name) {
			blame(p.reason)
		}
	}
	return violations
}

// floorReason says why a package on one floor may not import another place, or
// nothing when it may.
func floorReason(from floor, to place) string {
	generated := to.name == "gen/*"
	switch {
	case from == tower && to.floor != words:
		if to.floor == tower {
			return "no arrow leads there in the tower"
		}
		return fmt.Sprintf("%s knows the words and the generated protocol, not %s", from, to.floor)
	case from == tower, generated && from > words:
		return "" // who may import the generated protocol is a monopoly
	case to.floor == tower:
		return "the server does not know its clients"
	case to.floor == from:
		return fmt.Sprintf("both are on %s, and no arrow leads there", from)
	case to.floor > from:
		return fmt.Sprintf("%s may import only what is below it, not %s", from, to.floor)
	default:
		return ""
	}
}

// checkSingleImporters enforces the monopolies that belong to whoever has them.
func checkSingleImporters(tree map[string][]string) []string {
	var violations []string
	for _, m := range monopolies {
		if len(m.by) > 0 {
			continue
		}
		var importers []string
		for name, imports := range tree {
			if slices.ContainsFunc(imports, func(imported string) bool { return under(imported, m.of) }) {
				importers = append(importers, name)
			}
		}
		if len(importers) > 1 {
			slices.Sort(importers)
			violations = append(violations,
				fmt.Sprintf("%s import %s: %s", strings.Join(importers, ", "), m.of, m.reason))
		}
	}
	return violations
}

// placeOf finds where a package stands; the most exact place wins.
func placeOf(name string) (place, bool) {
	var found place
	for _, p := range places {
		if match(p.name, name) && len(p.name) > len(found.name) {
			found = p
		}
	}
	return found, found.name != ""
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, name) })
}

// match reports whether a name is the pattern, or lies below a pattern that
// ends in a star.
func match(pattern, name string) bool {
	if dir, star := strings.CutSuffix(pattern, "*"); star {
		return strings.HasPrefix(name, dir) && name != dir
	}
	return pattern == name
}

// under reports whether an import path is a package or lies below it.
func under(imported, root string) bool {
	return imported == root || strings.HasPrefix(imported, root+"/")
}

// shortName is the name by which the law calls a package of this module; other
// import paths stay what they are.
func shortName(imported string) string {
	if !under(imported, module) {
		return imported
	}
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"), "internal/")
}

// readTree parses the imports of every Go file that is not a test. It reads the
// files itself, whatever their build tags, and so that `go test` knows to run
// the test again when one of them changes.
func readTree(t *testing.T, root string) map[string][]string {
	t.Helper()
	tree := map[string][]string{}
	walk := func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != root && skipped(root, file, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		imports, err := readImports(file)
		name := shortName(path.Join(module, filepath.ToSlash(dir)))
		tree[name] = append(tree[name], imports...)
		return err
	}
	if err := filepath.WalkDir(root, walk); err != nil {
		t.Fatal(err)
	}
	return tree
}

// skipped names the folders that hold no package of the server: hidden ones,
// test data, and the modules of the tools and of others.
func skipped(root, dir, name string) bool {
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" {
		return true
	}
	relative, err := filepath.Rel(root, dir)
	return err == nil && (relative == "tools" || relative == "third_party" || relative == "bin")
}

func readImports(file string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("reading the imports of %s: %w", file, err)
	}
	var imports []string
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("reading the imports of %s: %w", file, err)
		}
		imports = append(imports, imported)
	}
	return imports, nil
}
