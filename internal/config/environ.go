package config

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// variables are the environment's own names of settings.
var variables = map[string]string{
	"DATABASE_URL":                 "database.url",
	"SERVER_PORT":                  "server.http_port",
	"GRPC_SERVER_PORT":             "server.grpc_port",
	"WORKER_TOKEN_SECRET":          "auth.worker_token.secret",
	"WORKER_TOKEN_SECRET_PREVIOUS": "auth.worker_token.previous_secret",
	"ORGS":                         "orgs",
}

// fileVariable names the configuration file.
const fileVariable = "CONFIG_FILE"

// readEnviron picks the settings out of an environment, sorted by variable.
func readEnviron(environ []string) (settings []setting) {
	sorted := slices.Sorted(slices.Values(environ))
	for _, entry := range sorted {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" {
			continue
		}
		path, ours := variablePath(name)
		if ours {
			settings = append(settings, setting{
				path: canonical(path), key: path, value: value, text: true, at: origin{variable: name},
			})
		}
	}
	return settings
}

// variablePath returns the path that a variable spells; ours is false for the
// variables of other programs.
func variablePath(name string) (path string, ours bool) {
	if path, ok := variables[name]; ok {
		return path, true
	}
	first, _, nested := strings.Cut(name, "__")
	if !nested || name != strings.ToUpper(name) || !slices.Contains(topLevel(), strings.ToLower(first)) {
		return "", false
	}
	return strings.ReplaceAll(strings.ToLower(name), "__", "."), true
}

// fileOf returns the file that an environment names, or "".
func fileOf(environ []string) string {
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); name == fileVariable {
			return value
		}
	}
	return ""
}

// textList reads a list as people write one in a variable: an array of TOML or
// JSON, or else words between commas.
func textList(text string) (list []any, err error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") {
		for word := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(word))
		}
		return list, nil
	}
	var holder struct {
		List []any `toml:"list"`
	}
	if toml.Unmarshal([]byte("list = "+text), &holder) == nil {
		return holder.List, nil
	}
	if json.Unmarshal([]byte(text), &list) == nil {
		return list, nil
	}
	// What the parsers say would quote the text, which may hold secrets.
	return nil, errors.New("want an array of TOML or JSON")
}
