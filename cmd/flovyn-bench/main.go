// Command flovyn-bench measures a Flovyn server. `make bench` builds and runs
// it; package bench explains what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "flovyn-bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // the deferred stop has been called
	}
}

func root() *cobra.Command {
	config := bench.Config{Progress: os.Stderr}
	var output, base string
	command := &cobra.Command{
		Use: "flovyn-bench", Short: "Measure a Flovyn server", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if config.Self, err = os.Executable(); err != nil {
				return err
			}
			if base != "" {
				report, err := bench.Compare(cmd.Context(), config, base)
				if err != nil {
					return err
				}
				return errors.Join(report.WriteComparison(cmd.OutOrStdout()), write(report, output))
			}
			report, err := bench.Run(cmd.Context(), config)
			if report == nil {
				return err
			}
			return errors.Join(err, report.WriteText(cmd.OutOrStdout()), write(report, output))
		},
	}
	self, _ := os.Executable()
	flags := command.Flags()
	flags.StringVar(&config.Server, "server", filepath.Join(filepath.Dir(self), "flovyn-server"), "the server's binary")
	flags.StringVar(&base, "base", "", "another server's binary to compare with")
	flags.StringVar(&output, "json", "", "write the report as JSON into this file")
	flags.IntVar(&config.Repeats, "repeats", 3, "measure every case so many times")
	flags.Float64Var(&config.Scale, "scale", 1, "multiply the number of operations")
	flags.StringSliceVar(&config.Only, "only", nil, fmt.Sprintf("only these of %v", bench.Groups()))
	flags.IntVar(&config.Rows, "rows", 1_000_000, "rows of the growth cases")
	flags.IntVar(&config.Pollers, "pollers", 10_000, "idle pollers")
	command.AddCommand(worker())
	return command
}

func write(report *bench.Report, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(filepath.Clean(file))
	if err != nil {
		return err
	}
	return errors.Join(report.WriteJSON(f), f.Close())
}

// worker is what the benchmark starts as its worker process.
func worker() *cobra.Command {
	config := bench.WorkerConfig{Token: bench.WorkerKey, Org: bench.OrgID, Report: os.Stdout}
	var polls int
	command := &cobra.Command{
		Use: "worker", Short: "Execute the bench workflows", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Workflows, config.Tasks = polls, polls
			return bench.RunWorker(cmd.Context(), config)
		},
	}
	command.Flags().IntVar(&polls, "polls", 1, "polls of each kind held at once")
	command.Flags().StringArrayVar(&config.Addresses, "address", nil, "a server's gRPC address")
	return command
}
