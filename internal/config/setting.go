package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// An origin is where a setting was made.
type origin struct {
	// file and line are set for a setting from the file.
	file string
	line int
	// variable is set for a setting from the environment.
	variable string
}

func (o origin) String() string {
	switch {
	case o.variable != "":
		return "environment variable " + o.variable
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.file, o.line)
	default:
		return cmp.Or(o.file, "configuration")
	}
}

// A mistake is an error of the operator's, with the place to correct it.
type mistake struct {
	at      origin
	key     string
	message string
}

func (m *mistake) Error() string {
	if m.key == "" {
		return fmt.Sprintf("%s: %s", m.at, m.message)
	}
	return fmt.Sprintf("%s: %s: %s", m.at, m.key, m.message)
}

// A setting is a value for a path, not yet of the path's type.
type setting struct {
	// path is the canonical path; key is how it was spelled.
	path, key string
	// value is as TOML has it; a string when text is set.
	value any
	// text says that the value came from the environment, where everything is.
	text bool
	at   origin
}

// aliases are the older spellings, with the canonical ones: of settings, and of
// whole tables.
var aliases = map[string]string{
	"database_url":         "database.url",
	"server_port":          "server.http_port",
	"grpc_server_port":     "server.grpc_port",
	"auth.better_auth.jwt": "auth.better_auth_jwt",
}

// canonical returns the canonical spelling of a path.
func canonical(key string) string {
	for alias, path := range aliases {
		if key == alias {
			return path
		}
		if rest, ok := strings.CutPrefix(key, alias+"."); ok {
			return path + "." + rest
		}
	}
	return key
}

// merge brings the spellings of one source together: settings made twice must
// agree, and two spellings of a table must be the same table.
func merge(source []setting) (merged []setting, mistakes []error) {
	byPath := map[string]setting{}
	for _, s := range source {
		first, again := byPath[s.path]
		if again && !reflect.DeepEqual(first.value, s.value) {
			mistakes = append(mistakes, &mistake{
				s.at, s.key,
				fmt.Sprintf("differs from %s at %s, which is another spelling of it", first.key, first.at),
			})
		}
		if !again {
			byPath[s.path] = s
			merged = append(merged, s)
		}
	}
	return merged, append(mistakes, halfTables(source)...)
}

// halfTables finds tables that are present in two spellings, of which one lacks
// a setting: which of them was meant to hold cannot be known.
func halfTables(source []setting) (mistakes []error) {
	for alias, table := range aliases {
		old, current := under(source, alias), under(source, table)
		if len(old) == 0 || len(current) == 0 {
			continue
		}
		for _, s := range slices.Concat(old, current) {
			same := func(o setting) bool { return o.path == s.path }
			if !slices.ContainsFunc(old, same) || !slices.ContainsFunc(current, same) {
				mistakes = append(mistakes, &mistake{
					s.at, s.key,
					fmt.Sprintf("%s and %s are two spellings of one table, and only one of them has this", alias, table),
				})
			}
		}
	}
	return mistakes
}

// under returns the settings that were spelled as being in a table.
func under(source []setting, table string) (found []setting) {
	for _, s := range source {
		if strings.HasPrefix(s.key, table+".") && s.at.variable == "" {
			found = append(found, s)
		}
	}
	return found
}
