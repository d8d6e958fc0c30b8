package docs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// pages are all documents, by their path from the top.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "deploy/*/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found[file] = string(text)
		}
	}
	if len(found) < 8 {
		t.Fatalf("only %d documents", len(found))
	}
	return found
}

// anchor is what a heading is called in links.
func anchor(heading string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

// Links between the documents lead to files and headings that are there.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for file, text := range all {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %s leads nowhere", file, link[1])
					continue
				}
			}
			if fragment == "" {
				continue
			}
			headed := false
			for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(all[path], -1) {
				headed = headed || anchor(heading[1]) == fragment
			}
			if !headed {
				t.Errorf("%s: %s has no such heading", file, link[1])
			}
		}
	}
}

// Files that the documents name are there.
func TestFiles(t *testing.T) {
	t.Parallel()
	for file, text := range pages(t) {
		for _, name := range regexp.MustCompile("`(deploy/[a-z][\\w./-]*)`").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", "..", name[1])); err != nil {
				t.Errorf("%s: there is no %s", file, name[1])
			}
		}
	}
}

// Examples in a language that can be checked are valid.
func TestExamples(t *testing.T) {
	t.Parallel()
	checked := 0
	for file, text := range pages(t) {
		for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```").FindAllStringSubmatch(text, -1) {
			language, body := block[1], block[2]
			var err error
			var value any
			switch language {
			case "toml":
				err = toml.Unmarshal([]byte(body), &value)
			case "yaml":
				err = yaml.Unmarshal([]byte(body), &value)
			case "json":
				err = json.Unmarshal([]byte(body), &value)
			case "sh", "bash":
				cmd := exec.CommandContext(t.Context(), "bash", "-n")
				cmd.Stdin = bytes.NewReader([]byte(body))
				var said []byte
				if said, err = cmd.CombinedOutput(); err != nil {
					t.Logf("%s", said)
				}
			default:
				continue
			}
			checked++
			if err != nil {
				t.Errorf("%s: this %s is not valid: %v\n%s", file, language, err, body)
			}
		}
	}
	if checked < 5 {
		t.Errorf("only %d examples", checked)
	}
}
