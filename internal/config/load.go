package config

import (
	"errors"
	"maps"
	"reflect"
	"strings"
)

// Load reads the file at path, or the one that CONFIG_FILE names when path is
// empty, or none; applies the environment; and checks the result. The error
// joins everything that is wrong.
func Load(path string, environ []string) (*Config, error) {
	cfg, err := read(path, environ)
	if err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// LoadDatabase reads as Load does and answers only where the state is kept, for
// commands that need nothing else: whatever is understood may make no sense.
func LoadDatabase(path string, environ []string) (Database, error) {
	cfg, err := read(path, environ)
	if err != nil {
		return Database{}, err
	}
	k := &checker{Config: cfg}
	k.database()
	return cfg.Database, errors.Join(k.mistakes...)
}

// read reads without judging what it read.
func read(path string, environ []string) (*Config, error) {
	if path == "" {
		path = fileOf(environ)
	}
	file := &document{}
	if path != "" {
		var err error
		if file, err = readFile(path); err != nil {
			return nil, err
		}
	}
	return assemble(path, file, readEnviron(environ), insecure(environ))
}

// assemble decodes a file's settings and then the environment's, which thereby
// win.
func assemble(path string, file *document, environ []setting, insecure bool) (*Config, error) {
	cfg := Default()
	cfg.insecureDev = insecure
	cfg.file, cfg.origins = path, map[string]origin{}
	d := &decoder{root: reflect.ValueOf(cfg).Elem(), lines: file.lines}
	for _, table := range file.tables {
		d.table(table)
	}
	fromFile, mistakes := merge(file.settings)
	fromEnviron, more := merge(environ)
	d.mistakes = append(d.mistakes, append(mistakes, more...)...)
	for _, s := range fromFile {
		d.set(s)
	}
	for key, line := range file.lines {
		cfg.origins[canonical(key)] = origin{file: path, line: line}
	}
	for _, s := range fromEnviron {
		cfg.override(d, s)
	}
	if len(d.mistakes) > 0 {
		return nil, errors.Join(d.mistakes...)
	}
	return cfg, nil
}

// override decodes a setting of the environment. A list replaces the file's; so
// do the places of its elements.
func (c *Config) override(d *decoder, s setting) {
	if field, _ := find(d.root, s.path); field.IsValid() && field.Kind() == reflect.Slice {
		field.SetZero()
	}
	maps.DeleteFunc(c.origins, func(path string, _ origin) bool { return strings.HasPrefix(path, s.path+"[") })
	c.origins[s.path] = s.at
	d.set(s)
}

// originOf returns where a setting was made, or else what it is a part of.
func (c *Config) originOf(path string) origin {
	for path != "" {
		if at, ok := c.origins[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return origin{file: c.file}
}
