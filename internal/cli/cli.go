// Package cli is the command line of Flovyn, `flovyn`.
//
// A command asks the server over the management API and writes the answer: as a
// table for people, or as the REST body for programs. The commands of one thing
// stand in one file. What they share is here: the global flags, who the caller is
// (package profile), how answers look (package output), what errors say and which
// exit code they end with.
//
// Nothing here knows the inside of the server: the CLI is a client like any
// other.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/cli/profile"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// Config is one run of the program.
type Config struct {
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment, as KEY=VALUE.
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Version        string
	// Commands are further commands of the program. Their errors may say by a
	// method ExitCode how the program ends.
	Commands []*cobra.Command
}

// invocation is what all commands share.
type invocation struct {
	Config
	flags   profile.Flags
	output  string
	quiet   bool
	noColor bool
	now     func() time.Time
}

// Run runs the program and returns its exit code. An interruption cancels what
// the command does; a second one ends the program at once.
func Run(ctx context.Context, config Config) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	i := &invocation{Config: config, now: time.Now}
	root := i.root()
	root.SetArgs(config.Args)
	root.SetOut(config.Stdout)
	root.SetErr(config.Stderr)
	return i.report(ctx, root.ExecuteContext(ctx))
}

// Root returns the commands alone, for the reference that is made from them.
func Root(config Config) *cobra.Command {
	return (&invocation{Config: config, now: time.Now}).root()
}

func (i *invocation) root() *cobra.Command {
	root := &cobra.Command{
		Use: "flovyn", Short: "The command line of Flovyn", SilenceUsage: true, SilenceErrors: true, Version: i.Version,
		Long: "Flovyn starts workflows and tasks, shows what they do, and steers them.\n\n" +
			"It talks to the server of the profile that you logged in to. A flag wins over a\n" +
			"variable of the environment, and that over the profile.",
		Example: "  flovyn dev                                   # a server on this machine\n" +
			"  flovyn auth login                            # who you are\n" +
			"  flovyn workflow start order --input '{}' --wait\n" +
			"  flovyn workflow list --status RUNNING\n" +
			"  flovyn dashboard",
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	asGroup(root)
	root.SetVersionTemplate("flovyn {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&i.flags.Server, "server", "s", "",
		"address of the server ("+profile.EnvServer+"; default: that of the profile, or "+profile.DefaultServer+")")
	flags.StringVar(&i.flags.Org, "org", "", "slug of the organization ("+profile.EnvOrg+"; default: that of the profile)")
	flags.StringVar(&i.flags.APIKey, "api-key", "",
		"key to show the server; others can see it in the list of processes, "+profile.EnvAPIKey+" is safer")
	flags.StringVarP(&i.flags.Profile, "profile", "p", "", "profile in ~/.flovyn/credentials ("+profile.EnvProfile+"; default: default)")
	flags.StringVarP(&i.output, "output", "o", string(output.Table), "how to write the answer: table, json, jsonl or yaml")
	flags.BoolVarP(&i.quiet, "quiet", "q", false, "write identifiers only, and no progress")
	flags.BoolVar(&i.noColor, "no-color", false, "no colours (NO_COLOR)")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("profile", i.completeProfiles)
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return i.checkOutput() }
	root.AddGroup(&cobra.Group{ID: groupWork, Title: "Workflows and tasks:"}, &cobra.Group{ID: groupOrg, Title: "The organization:"},
		&cobra.Group{ID: groupSetup, Title: "This program:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add(groupWork, i.workflowCommand(), i.triggerCommand(), i.taskCommand(), i.scheduleCommand(), i.promiseCommand(),
		i.definitionCommand(), i.workerCommand(), i.queueCommand(), i.dashboardCommand())
	add(groupOrg, i.orgCommand(), i.tokenCommand(), i.savedQueryCommand(), i.metadataCommand(), i.auditCommand())
	add(groupSetup, slices.Concat([]*cobra.Command{i.authCommand(), i.doctorCommand(), i.versionCommand(), i.completionCommand()},
		i.Commands)...)
	root.SetHelpCommand(i.helpCommand())
	root.SetHelpCommandGroupID(groupSetup)
	return root
}

// The groups of commands in the help.
const (
	groupWork  = "work"
	groupOrg   = "org"
	groupSetup = "setup"
)

// asGroup makes a command one that only has subcommands: alone it shows its help,
// and anything else is a mistake.
func asGroup(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func unknownCommand(parent *cobra.Command, name string) error {
	hint := fmt.Sprintf("see: %s --help", parent.CommandPath())
	parent.SuggestionsMinimumDistance = 2
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean: " + parent.CommandPath() + " " + strings.Join(near, ", or ") + "?"
	}
	return hinted{fmt.Errorf("unknown command %q for %q", name, parent.CommandPath()), hint}
}

func (i *invocation) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show what a command does",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range found.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found := cmd.Root()
			for _, name := range args {
				next := slices.IndexFunc(found.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
				if next < 0 {
					return unknownCommand(found, name)
				}
				found = found.Commands()[next]
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

func (i *invocation) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: ran(func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(i.Stdout, "flovyn %s (%s, %s/%s)\n", i.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
}

func (i *invocation) completionCommand() *cobra.Command {
	group := asGroup(&cobra.Command{
		Use: "completion SHELL", Short: "Print what completes commands in a shell: bash, zsh, fish or powershell",
		Long: "Completion prints a script for a shell, which completes commands, flags, profiles and\n" +
			"kinds. For the current bash, for example:\n\n  source <(flovyn completion bash)",
	})
	for shell, write := range map[string]func(root *cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(i.Stdout, true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(i.Stdout) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(i.Stdout, true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(i.Stdout) },
	} {
		group.AddCommand(&cobra.Command{
			Use: shell, Short: "Print the completion for " + shell, Args: cobra.NoArgs,
			RunE: ran(func(cmd *cobra.Command, _ []string) error { return write(cmd.Root()) }),
		})
	}
	return group
}

func formatNames() []string {
	var names []string
	for _, f := range output.Formats {
		names = append(names, string(f))
	}
	return names
}

func (i *invocation) checkOutput() error {
	if !slices.Contains(formatNames(), i.output) {
		return fault.InvalidField("--output", "%q is none of %s", i.output, strings.Join(formatNames(), ", "))
	}
	return nil
}

// getenv returns a variable of the environment, or nothing.
func (i *invocation) getenv(name string) string {
	for _, entry := range slices.Backward(i.Environ) {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

func (i *invocation) store() (*profile.Store, error) {
	home := i.getenv("HOME")
	if runtime.GOOS == "windows" {
		home = i.getenv("USERPROFILE")
	}
	if home == "" {
		return nil, fault.New(fault.Precondition, "HOME is not set, so there is no place for ~/.flovyn/credentials")
	}
	return profile.NewStore(home), nil
}

func (i *invocation) settings() (*profile.Settings, error) {
	store, err := i.store()
	if err != nil {
		return nil, err
	}
	return profile.Resolve(i.flags, i.getenv, store)
}

func (i *invocation) completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, err := i.store()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := store.Names()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// terminal returns the file descriptor behind a stream, if it is a terminal's.
func terminal(stream any) (fd int, ok bool) {
	file, isFile := stream.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	return int(file.Fd()), true
}

// printer writes answers to standard output.
func (i *invocation) printer() *output.Printer {
	p := &output.Printer{W: i.Stdout, Format: output.Format(i.output), Quiet: i.quiet, Now: i.now()}
	if fd, ok := terminal(i.Stdout); ok {
		p.Color = i.colored()
		if width, _, err := term.GetSize(fd); err == nil {
			p.Width = width
		}
	}
	return p
}

// colored reports whether a terminal may be coloured.
func (i *invocation) colored() bool {
	return !i.noColor && i.getenv("NO_COLOR") == "" && i.getenv("TERM") != "dumb"
}

// say writes a sentence for people to standard error, unless they want quiet.
func (i *invocation) say(format string, args ...any) {
	if !i.quiet {
		fmt.Fprintf(i.Stderr, format+"\n", args...)
	}
}

// ran marks the errors of a command that ran, as opposed to those of cobra, which
// did not understand the command line.
func ran(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil {
			return executed{err}
		}
		return nil
	}
}

type executed struct{ error }

func (e executed) Unwrap() error { return e.error }

// exact wants as many arguments as there are names, and says which one is
// missing.
func exact(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return hinted{fmt.Errorf("%s is missing", strings.Join(names[len(args):], " and ")), "usage: " + cmd.UseLine()}
		case len(args) > len(names):
			return hinted{fmt.Errorf("unexpected argument %q", args[len(names)]), "usage: " + cmd.UseLine()}
		default:
			return nil
		}
	}
}

// optional returns a pointer to a flag's value if the flag was given.
func optional[T any](flags *pflag.FlagSet, name string, value T) *T {
	if !flags.Changed(name) {
		return nil
	}
	return &value
}

var errInterrupted = errors.New("interrupted")
