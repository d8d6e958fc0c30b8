package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// maxInput bounds what is read of a file; the server's own limit is lower.
const maxInput = 64 << 20

// jsonFlags are a JSON value on the command line, in a file or on standard input.
type jsonFlags struct {
	name        string
	value, file string
	json        []byte
}

// declare declares the flags, and has the value read before the server is asked
// for anything.
func (f *jsonFlags) declare(i *invocation, cmd *cobra.Command, name, what string) {
	f.name = name
	cmd.PreRunE = ran(func(*cobra.Command, []string) (err error) {
		f.json, err = f.read(i)
		return err
	})
	cmd.Flags().StringVar(&f.value, name, "", what+", as JSON; - reads standard input")
	cmd.Flags().StringVar(&f.file, name+"-file", "", "file with "+what+", as JSON; - is standard input")
	_ = cmd.MarkFlagFilename(name+"-file", "json")
}

// read returns the value, or nil when none was given.
func (f *jsonFlags) read(i *invocation) ([]byte, error) {
	switch {
	case f.file != "" && f.value != "":
		return nil, fault.New(fault.Invalid, "--%s and --%s-file exclude each other", f.name, f.name)
	case f.file == "-" || f.value == "-":
		return i.readJSON("standard input", i.Stdin)
	case f.file != "":
		file, err := os.Open(f.file)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "--%s-file cannot be read", f.name)
		}
		defer file.Close()
		return i.readJSON("--"+f.name+"-file "+f.file, file)
	case f.value != "":
		return checkJSON("--"+f.name, []byte(f.value))
	default:
		return nil, nil
	}
}

func (i *invocation) readJSON(where string, r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s cannot be read", where)
	}
	if len(text) > maxInput {
		return nil, fault.InvalidField(where, "more than %d MiB", maxInput>>20)
	}
	return checkJSON(where, text)
}

// checkJSON returns the value without the space around it, and otherwise byte for
// byte.
func checkJSON(where string, text []byte) ([]byte, error) {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 {
		return nil, fault.InvalidField(where, "it is empty; want JSON")
	}
	var value json.RawMessage
	if err := json.Unmarshal(trimmed, &value); err != nil {
		place := ""
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			place = fmt.Sprintf(" at byte %d", syntax.Offset)
		}
		hint := ""
		if !strings.ContainsAny(string(trimmed[:1]), `{["`) {
			hint = "; a text needs quotes inside the shell's: '\"text\"'"
		}
		return nil, fault.InvalidField(where, "not JSON%s: %v%s", place, err, hint)
	}
	return trimmed, nil
}

// argJSON is a JSON value as an argument; - reads standard input, and without the
// argument it is absent.
func (i *invocation) argJSON(name string, args []string, at int) ([]byte, error) {
	switch {
	case len(args) <= at:
		return nil, nil
	case args[at] == "-":
		return i.readJSON("standard input", i.Stdin)
	default:
		return checkJSON(name, []byte(args[at]))
	}
}

// between wants a number of arguments, and says what they are.
func between(least, most int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return hinted{fmt.Errorf("%s is missing", strings.Join(names[len(args):least], " and ")), "usage: " + cmd.UseLine()}
		case len(args) > most:
			return hinted{fmt.Errorf("unexpected argument %q", args[most]), "usage: " + cmd.UseLine()}
		default:
			return nil
		}
	}
}

// metadataFlag declares --metadata.
func metadataFlag(flags *pflag.FlagSet, metadata *map[string]string) {
	flags.StringToStringVar(metadata, "metadata", nil, "metadata, as key=value; several with commas or repeated")
}

// A pageFlags is which part of a list.
type pageFlags struct {
	limit, offset int32
	token         string
}

func (p *pageFlags) declare(flags *pflag.FlagSet, limit int32, tokens bool) {
	flags.Int32VarP(&p.limit, "limit", "n", limit, "how many to show")
	if tokens {
		flags.StringVar(&p.token, "page-token", "", "where to go on, as the page before says")
	}
	flags.Int32Var(&p.offset, "offset", 0, "how many to skip")
}

// parseMoment reads a time: RFC 3339, or how long ago, such as 2h.
func (i *invocation) parseMoment(flag, text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02", text, time.UTC); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return i.now().Add(-d.Abs()), nil
	}
	return time.Time{}, fault.InvalidField(flag,
		"%q is no time; want something like 2026-01-31T12:00:00Z, 2026-01-31, or 2h for two hours ago", text)
}
