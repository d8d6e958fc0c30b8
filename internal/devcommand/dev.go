// Package devcommand is the command `dev`: a whole server for development on this
// machine, with a database of its own. Both programs have it, so that one download
// is enough to start.
package devcommand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flovyn/flovyn-server/internal/demo"
	"github.com/flovyn/flovyn-server/internal/devserver"
	"github.com/flovyn/flovyn-server/internal/telemetry"
)

// Config says of which program it is a command.
type Config struct {
	// Program is the program's name, as the texts call it.
	Program, Version string
	// Environ is the environment, as KEY=VALUE.
	Environ        []string
	Stdout, Stderr io.Writer
}

// stopTimeout bounds how long requests in flight may take when a dev server
// stops: somebody is waiting for the prompt.
const stopTimeout = 5 * time.Second

// run is one run of the command.
type run struct {
	Config
	cfg                 devserver.Config
	demo                bool
	exitWhenDone        bool
	logLevel, logFormat string
}

// failure is an error of doing, as opposed to one of asking. Programs end with 1.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// ExitCode is how a program ends that could not do what it was asked.
func (f failure) ExitCode() int { return 1 }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// New returns the command.
func New(config Config) *cobra.Command {
	d := &run{Config: config}
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a server for development, with a database of its own", Args: cobra.NoArgs,
		Long: "Dev runs the whole server on this machine, without any configuration: with a private\n" +
			"PostgreSQL whose data is there again at the next start, an organization, two keys, and a\n" +
			"stand-in for the identity provider, with users and keys of its own.\n\n" +
			"PostgreSQL 15 or newer is looked for on PATH and in the usual places, and downloaded\n" +
			"once if there is none. The keys are public knowledge, so only this machine can reach\n" +
			"the server unless --host says otherwise.",
		Example: "  " + config.Program + " dev --demo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.prepare(cmd.Flags()); err != nil {
				return err
			}
			return d.run(cmd.Context())
		},
	}
	d.declare(cmd.Flags())
	return cmd
}

func (d *run) declare(flags *pflag.FlagSet) {
	flags.StringVar(&d.cfg.Host, "host", devserver.DefaultHost, "address to listen on")
	flags.IntVar(&d.cfg.HTTPPort, "http-port", devserver.DefaultHTTPPort, "HTTP port; 0 picks a free one")
	flags.IntVar(&d.cfg.GRPCPort, "grpc-port", devserver.DefaultGRPCPort, "gRPC port; 0 picks a free one")
	flags.IntVar(&d.cfg.AppPort, "app-port", devserver.DefaultAppPort, "port of the stand-in identity provider; 0 picks a free one")
	flags.StringVar(&d.cfg.AppAlgorithm, "app-algorithm", "EdDSA", "what signs its tokens: EdDSA, RS256 or ES256")
	flags.StringVar(&d.cfg.DatabaseURL, "database-url", "", "PostgreSQL database to use instead of a private one (default: DATABASE_URL)")
	flags.StringVar(&d.cfg.DataDir, "data-dir", "", "where the private database keeps its data (default: "+devserver.DefaultDataDir()+")")
	flags.BoolVar(&d.cfg.Temporary, "temporary", false, "throw the data away in the end")
	flags.BoolVar(&d.cfg.NoDownload, "no-download", false, "fail if no PostgreSQL is installed, instead of downloading it")
	flags.BoolVar(&d.demo, "demo", false, "run the example worker and one of its workflows")
	flags.BoolVar(&d.exitWhenDone, "exit-when-done", false, "with --demo: stop when the workflow has ended")
	// In a program that has such flags for all its commands, these shadow them.
	flags.StringVar(&d.logLevel, "log-level", "info",
		"least severe records to log: debug, info, warn, error; of the server only warn, unless given")
	flags.StringVar(&d.logFormat, "log-format", "text", "how to write log records: json, text")
}

// prepare makes sense of the flags.
func (d *run) prepare(flags *pflag.FlagSet) error {
	if config := flags.Lookup("config"); config != nil && config.Changed {
		return errors.New("dev takes no configuration file: run flovyn-server without a command to use one")
	}
	if d.exitWhenDone && !d.demo {
		return errors.New("--exit-when-done is about the workflow of --demo, which is not given")
	}
	// What is said on the command line is more than what the environment says.
	if !flags.Changed("data-dir") && !d.cfg.Temporary && !flags.Changed("database-url") {
		d.cfg.DatabaseURL = d.variable("DATABASE_URL")
	}
	if d.cfg.HTTPPort == 0 && !flags.Changed("app-port") { // whoever wants any port wants any here too
		d.cfg.AppPort = 0
	}
	if err := d.cfg.Check(); err != nil {
		return err
	}
	d.cfg.Version = d.Version
	return d.openLogs(flags)
}

// openLogs makes the loggers. They write for people, and of the server only what
// is wrong, unless the command line asks for something else.
func (d *run) openLogs(flags *pflag.FlagSet) (err error) {
	format, level := telemetry.Format(d.logFormat), "warn"
	if flags.Changed("log-level") {
		level = d.logLevel
	}
	if d.cfg.Logger, err = telemetry.NewLogger(d.Stderr, format, d.logLevel); err != nil {
		return err
	}
	d.cfg.ServerLogger, err = telemetry.NewLogger(d.Stderr, format, level)
	return err
}

// variable returns a variable of the environment, or nothing.
func (d *run) variable(name string) string {
	for _, entry := range d.Environ {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

// run serves until it is told to stop. A second signal kills it; its database
// notices and ends too.
func (d *run) run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	s, err := devserver.Start(ctx, d.cfg)
	if err != nil {
		return failed(err)
	}
	introduce(d.Stdout, s)
	err = d.serve(ctx, s)
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return failed(errors.Join(err, s.Stop(stopCtx)))
}

// serve returns when ctx ends, when something breaks, or when the demonstration
// is over and was all.
func (d *run) serve(ctx context.Context, s *devserver.Server) error {
	if !d.demo {
		d.inviteWorker(s)
		return s.Wait(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shown := make(chan error, 1)
	go func() {
		defer cancel()
		shown <- d.show(ctx, s)
	}()
	err := s.Wait(ctx)
	cancel()
	return errors.Join(err, <-shown)
}

// show runs the example workflow, and then the example worker for others who
// start one.
func (d *run) show(ctx context.Context, s *devserver.Server) error {
	cfg := demo.Config{
		URL: s.GRPCURL(), OrgID: devserver.OrgID.String(), UserKey: devserver.UserKey, WorkerKey: devserver.WorkerKey,
		Out: d.Stdout, Logger: d.cfg.ServerLogger,
	}
	switch err := demo.Run(ctx, cfg); {
	case err != nil && ctx.Err() != nil && !d.exitWhenDone:
		return nil // it was interrupted, and nobody has asked for how it ends
	case err != nil:
		return fmt.Errorf("running the example workflow: %w", err)
	case d.exitWhenDone:
		d.inviteLater()
		return nil
	}
	inviteNow(d.Stdout, s)
	return demo.Work(ctx, cfg)
}
