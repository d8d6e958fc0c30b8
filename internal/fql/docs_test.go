package fql_test

import (
	"os"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/fql"
)

// The tables of docs/fql.md are those of the language.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/fql.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"operators": operatorTable(), "fields": fieldTables()} {
		_, rest, _ := strings.Cut(string(page), "<!-- "+name+" -->\n")
		got, _, ok := strings.Cut(rest, "<!-- end -->")
		if !ok || got != want {
			t.Errorf("docs/fql.md should say of %s:\n%s", name, want)
		}
	}
}

func operatorTable() string {
	var b strings.Builder
	b.WriteString("| operator | meaning |\n|---|---|\n")
	for _, op := range fql.Operators() {
		b.WriteString("| `" + string(op) + "` | " + op.Describe() + " |\n")
	}
	return b.String()
}

func fieldTables() string {
	var b strings.Builder
	for i, entity := range fql.Entities() {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("### " + string(entity) + "\n\n| field | type | |\n|---|---|---|\n")
		for _, f := range entity.Fields() {
			kind := string(f.Type)
			if f.Type == fql.Enum {
				kind = strings.Join(f.Values, ", ")
			}
			text := f.Description
			if f.Optional {
				text += "; may be absent"
			}
			b.WriteString("| `" + f.Name + "` | " + kind + " | " + text + " |\n")
		}
		if entity.HasMetadata() {
			b.WriteString("| `metadata.<key>` | text | An entry of the metadata, by its key; may be absent |\n")
		}
	}
	return b.String()
}
