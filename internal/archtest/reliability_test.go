package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")

// The promises of docs/reliability.md are worth as much as the tests it names.
func TestReliabilityNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	named := namedTest.FindAllStringSubmatch(string(text), -1)
	if len(named) < 50 {
		t.Fatalf("%d tests are named: the reader misses them", len(named))
	}
	for _, m := range named {
		pkg, name := m[1], m[2]
		if known[pkg] == nil {
			known[pkg] = testsOf(t, filepath.Join("..", filepath.FromSlash(pkg)))
		}
		if !known[pkg][name] {
			t.Errorf("docs/reliability.md names %s.%s, which is not there", pkg, name)
		}
	}
}

// Every row of its tables names one.
func TestReliabilityHasATestForEachRow(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(strings.TrimSpace(line), "| tests |") {
			continue
		}
		rows++
		if !namedTest.MatchString(line) {
			t.Errorf("without a test: %s", line)
		}
	}
	if rows < 40 {
		t.Errorf("%d rows: the reader misses them", rows)
	}
}

// testsOf returns the names of the tests in a directory.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}
