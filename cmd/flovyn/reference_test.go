package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flovyn/flovyn-server/internal/cli"
	"github.com/flovyn/flovyn-server/internal/devcommand"
	"github.com/flovyn/flovyn-server/internal/devserver"
)

// The reference of the commands is made from the commands.
func TestReference(t *testing.T) {
	t.Parallel()
	root := cli.Root(cli.Config{Version: "dev", Commands: []*cobra.Command{
		devcommand.New(devcommand.Config{Program: "flovyn", Version: "dev", Environ: []string{"HOME=/home/you"}}),
	}})
	var b strings.Builder
	b.WriteString(referenceHead)
	writeFlags(&b, root.PersistentFlags())
	b.WriteString("\n")
	writeCommands(&b, root)
	text := strings.ReplaceAll(b.String(), devserver.DefaultDataDir(), "below the user's cache")
	compare(t, filepath.Join("..", "..", "docs", "cli.md"), text)
}

const referenceHead = `# The command line

This page is made from the commands themselves, by ` + "`go test ./cmd/flovyn -run TestReference -update`" + `.

## Exit codes

| code | meaning |
|---|---|
| 0 | it is done |
| 1 | it could not be done; or a workflow that was waited for failed or was cancelled |
| 2 | the command line makes no sense, or the server found a mistake in what was given |
| 4 | not logged in, or not permitted |
| 5 | what was named is not there |
| 124 | a wait was over before what it waited for |
| 130 | interrupted |

## Output

Answers go to standard output, everything else to standard error. ` + "`-o json`" + ` writes the body that the REST API gives, with
inputs and outputs inline, byte for byte; ` + "`-o jsonl`" + ` writes one item of a list a line, ` + "`-o yaml`" + ` the same as YAML.
` + "`--quiet`" + ` writes identifiers alone. Tables are shortened to a terminal and never when they are piped; colours are only for
terminals, and not with ` + "`NO_COLOR`" + `, ` + "`--no-color`" + ` or ` + "`TERM=dumb`" + `.

## Credentials

` + "`~/.flovyn/credentials`" + ` has a table for each profile, and ` + "`~/.flovyn/sessions`" + ` the sessions from which tokens of five minutes
are renewed. Both must be closed to others. A flag wins over the environment, and that over the profile:

| flag | variable |
|---|---|
| ` + "`--profile`" + ` | ` + "`FLOVYN_PROFILE`" + ` |
| ` + "`--server`" + ` | ` + "`FLOVYN_SERVER`" + ` |
| ` + "`--org`" + ` | ` + "`FLOVYN_ORG`" + ` |
| ` + "`--api-key`" + ` | ` + "`FLOVYN_API_KEY`" + ` |
| ` + "`auth login --app-url`" + ` | ` + "`FLOVYN_APP_URL`" + ` |

A token of a profile is sent to the profile's server and to no other, and never over plain http except to this machine.

## Flags of all commands

`

func writeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		level := strings.Repeat("#", min(4, 1+len(strings.Fields(cmd.CommandPath()))))
		fmt.Fprintf(b, "%s %s\n\n%s.\n\n", level, cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			b.WriteString(cmd.Long + "\n\n")
		}
		if !cmd.HasSubCommands() {
			fmt.Fprintf(b, "```\n%s\n```\n\n", cmd.UseLine())
		}
		if len(cmd.Aliases) > 0 {
			fmt.Fprintf(b, "Also: `%s`\n\n", strings.Join(cmd.Aliases, "`, `"))
		}
		if cmd.Example != "" {
			fmt.Fprintf(b, "```sh\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
		}
		if cmd.LocalNonPersistentFlags().HasAvailableFlags() {
			writeFlags(b, cmd.LocalNonPersistentFlags())
			b.WriteString("\n")
		}
		writeCommands(b, cmd)
	}
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | what it does |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name += ", -" + f.Shorthand
		}
		usage := strings.ReplaceAll(f.Usage, "|", `\|`)
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, usage)
	})
}

// compare compares a file with what it should be, or writes it.
func compare(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("%s is not what it should be; write it by go test ./cmd/flovyn -run %s -update (-want +got):\n%s", path, t.Name(), diff)
	}
}
