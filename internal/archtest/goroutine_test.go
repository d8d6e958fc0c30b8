package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// watchedElsewhere start goroutines and have no tests of their own: what starts
// them in tests is watched.
var watchedElsewhere = map[string]string{
	"cli":             "the tests of cmd/flovyn run its commands, as processes that must end",
	"cli/dashboard":   "the tests of cmd/flovyn run it in a terminal, as a process that must end",
	"devcommand":      "the tests of cmd/flovyn-server run it",
	"upkeep":          "the tests of engine and server run its loops",
	"trace/tracetest": "the tests of whoever traces run its receiver",
}

// Whoever starts goroutines has tests that fail when one is left behind.
func TestGoroutinesAreWatched(t *testing.T) {
	t.Parallel()
	starts, watched := map[string]bool{}, map[string]bool{}
	root := filepath.Join("..", "..")
	for _, top := range []string{"internal", "cmd", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata") {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(dir), "internal/")
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			starts[name] = starts[name] || startsGoroutines(file)
			watched[name] = watched[name] || strings.HasSuffix(path, "_test.go") && watches(file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !starts["wake"] || !watched["wake"] || starts["fault"] {
		t.Fatal("the test does not see what is there")
	}
	for _, name := range slices.Sorted(maps.Keys(starts)) {
		if starts[name] && !watched[name] && watchedElsewhere[name] == "" {
			t.Errorf("%s starts goroutines: give its tests `func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }` or pgtest.Main", name)
		}
	}
}

// startsGoroutines reports whether a file has a go statement or calls something's
// method Go.
func startsGoroutines(file *ast.File) (found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			if selector, ok := n.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "Go" {
				found = true
			}
		}
		return !found
	})
	return found
}

// watches reports whether a file has a TestMain, and goleak or pgtest, whose Main
// looks for goroutines.
func watches(file *ast.File) bool {
	main, leaks := false, false
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		main = main || ok && f.Recv == nil && f.Name.Name == "TestMain"
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			leaks = leaks || ok && (x.Name == "goleak" || x.Name == "pgtest" && (n.Sel.Name == "Main" || n.Sel.Name == "Run"))
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.Ident)
			leaks = leaks || ok && f.Name == "Main" && file.Name.Name == "pgtest"
		}
		return true
	})
	return main && leaks
}
