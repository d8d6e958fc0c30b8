package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/devcommand"
	"github.com/flovyn/flovyn-server/internal/server"
	"github.com/flovyn/flovyn-server/internal/telemetry"
)

// The exit codes.
const (
	exitOK = 0
	// exitFailure is a program that could not do what it was asked.
	exitFailure = 1
	// exitUsage is a program that was asked for something senseless: an unknown
	// flag, a mistake in the configuration.
	exitUsage = 2
)

// failure is an error of doing, as opposed to one of asking.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// ExitCode is how the program ends.
func (f failure) ExitCode() int { return exitFailure }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// invocation is what all commands share.
type invocation struct {
	environ        []string
	configFile     string
	logLevel       string
	logFormat      string
	stdout, stderr io.Writer
}

// program runs the program and returns its exit code.
func program(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	i := &invocation{environ: environ, stdout: stdout, stderr: stderr}
	root := i.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "flovyn-server:", err)
	if own, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return own.ExitCode()
	}
	return exitUsage
}

// root serves; its subcommands do everything else.
func (i *invocation) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "flovyn-server",
		Short: "Run durable workflows on PostgreSQL",
		Long: "Flovyn-server runs workflows and tasks for the workers that connect to it.\n" +
			"Without a command it serves, until it is interrupted.",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true, Version: version,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.serve(cmd.Context()) },
	}
	root.SetVersionTemplate("flovyn-server {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&i.configFile, "config", "", "configuration file (default: the one that CONFIG_FILE names)")
	flags.StringVar(&i.logLevel, "log-level", "info", "least severe records to log: debug, info, warn, error")
	flags.StringVar(&i.logFormat, "log-format", "json", "how to write log records: json, text")
	root.AddCommand(devcommand.New(devcommand.Config{
		Program: "flovyn-server", Version: version, Environ: i.environ, Stdout: i.stdout, Stderr: i.stderr,
	}), i.migrateCommand(), i.configCommand(), i.tokenCommand(), i.orgCommand(),
		i.doctorCommand(), i.healthCommand(), i.versionCommand())
	return root
}

// load reads the configuration, makes the logger, and makes sure that the
// configuration can be served.
func (i *invocation) load() (*config.Config, *slog.Logger, error) {
	cfg, log, err := i.read()
	if err != nil {
		return nil, nil, err
	}
	return cfg, log, cfg.Buildable()
}

// read reads the configuration and makes the logger.
func (i *invocation) read() (*config.Config, *slog.Logger, error) {
	log, err := telemetry.NewLogger(i.stderr, telemetry.Format(i.logFormat), i.logLevel)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := config.Load(i.configFile, i.environ)
	return cfg, log, err
}

// serve runs the server until it is told to stop. A second signal kills it.
func (i *invocation) serve(ctx context.Context) error {
	cfg, log, err := i.load()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return failed(server.Run(ctx, cfg, server.Options{Log: log, Version: version}))
}

// variable returns a variable of the environment, or nothing.
func (i *invocation) variable(name string) string {
	for _, entry := range i.environ {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

func (i *invocation) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(i.stdout, "flovyn-server", version)
			return failed(err)
		},
	}
}
