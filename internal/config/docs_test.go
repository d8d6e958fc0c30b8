package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// The documentation lists every key with its default, and no other.
func TestDocumentationIsComplete(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	collectDefaults(want, "", reflect.ValueOf(*Default()))
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(documentation(t), -1) {
		key, value := row[1], row[2]
		if !strings.Contains(key, ".") {
			continue // a row about something else
		}
		if _, again := got[key]; again {
			t.Errorf("%s is there twice", key)
		}
		if value == "required" { // which is to say that there is no default
			value = "none"
		}
		got[key] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/configuration.md differs from the code (-code +documentation):\n%s", diff)
	}
}

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// collectDefaults notes the keys of a table with their defaults, as people write
// them.
func collectDefaults(defaults map[string]string, prefix string, table reflect.Value) {
	for i := range table.NumField() {
		tag := table.Type().Field(i).Tag.Get("toml")
		if tag == "" {
			continue
		}
		path, field := strings.TrimPrefix(prefix+"."+tag, "."), table.Field(i)
		switch {
		case isTable(field.Type()):
			collectDefaults(defaults, path, field)
		case field.Kind() == reflect.Slice && isTable(field.Type().Elem()):
			collectDefaults(defaults, path+"[]", elementDefaults[field.Type().Elem()])
		default:
			defaults[path] = defaultText(field)
		}
	}
}

func defaultText(field reflect.Value) string {
	if d, ok := reflect.TypeAssert[time.Duration](field); ok {
		return strconv.Itoa(int(d.Seconds()))
	}
	switch field.Kind() {
	case reflect.Bool, reflect.Int:
		return fmt.Sprint(field.Interface())
	case reflect.String:
		if field.Len() > 0 {
			return fmt.Sprintf("%q", field.String())
		}
	}
	return "none"
}

// The documentation and the README say which authenticators there are.
func TestDocumentationOfAuthenticators(t *testing.T) {
	t.Parallel()
	var names []string
	for name, entry := range authenticators {
		if entry.refused == "" {
			names = append(names, "`"+name+"`")
		}
	}
	slices.Sort(names)
	want := "This version has these authenticators: " + strings.Join(names, ", ") + "."
	for name, text := range map[string]string{"docs/configuration.md": documentation(t), "README.md": readme(t)} {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}

// The documentation states the limits that the code has.
func TestDocumentationOfLimits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	limits := string(text)
	seconds := func(d time.Duration) int { return int(d.Seconds()) }
	for _, want := range []string{
		fmt.Sprintf("other name | %d bytes |", flovyn.MaxNameLength),
		fmt.Sprintf("an idempotency key | %d bytes |", flovyn.MaxIdempotencyKeyLength),
		fmt.Sprintf("| %d to %d seconds (30 days), %d seconds (a day)", seconds(flovyn.MinIdempotencyTTL),
			seconds(flovyn.MaxIdempotencyTTL), seconds(flovyn.DefaultIdempotencyTTL)),
		fmt.Sprintf("| %d entries, %d bytes |", flovyn.MaxMetadataEntries, flovyn.MaxMetadataBytes),
		fmt.Sprintf("| %d, and %d unless said otherwise |", flovyn.MaxMaxRetries, flovyn.DefaultMaxRetries),
		fmt.Sprintf("| %d seconds (100 years) |", seconds(flovyn.MaxDelay)),
		fmt.Sprintf("signals of an execution | %d |", flovyn.MaxSignals),
		fmt.Sprintf("at one server | %d of an organization, %d of all |", flovyn.MaxWatchersPerOrg, flovyn.MaxWatchers),
		"the queue `" + flovyn.DefaultQueue + "`",
	} {
		if !strings.Contains(limits, want) {
			t.Errorf("docs/limits.md does not say %q", want)
		}
	}
}

// The example in the README loads, can be built, and is as safe as it looks.
func TestReadmeExample(t *testing.T) {
	t.Parallel()
	_, example, found := strings.Cut(readme(t), "```toml\n")
	example, _, closed := strings.Cut(example, "```\n")
	if !found || !closed {
		t.Fatal("there is no example in the README")
	}
	cfg, err := loadText(t, example)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Buildable(); err != nil {
		t.Error(err)
	}
	if warnings := cfg.Warnings(); len(warnings) > 0 {
		t.Errorf("it is dangerous: %q", warnings)
	}
}
