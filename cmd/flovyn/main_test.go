package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestProgram(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"version":            {[]string{"version"}, 0, "flovyn dev", ""},
		"version, as a flag": {[]string{"--version"}, 0, "flovyn dev\n", ""},
		"help":               {nil, 0, "can do\nnothing else yet", ""},
		"an unknown command": {[]string{"destroy"}, 2, "", "destroy"},
	} {
		var out, errs bytes.Buffer
		code := program(test.args, &out, &errs)
		if code != test.code || !strings.Contains(out.String(), test.stdout) || !strings.Contains(errs.String(), test.stderr) {
			t.Errorf("%s: %d\n%s\n%s", name, code, out.String(), errs.String())
		}
	}
}
