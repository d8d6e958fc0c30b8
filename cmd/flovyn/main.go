// Flovyn is the command line of Flovyn.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	os.Exit(program(os.Args[1:], os.Stdout, os.Stderr))
}

// program runs the program and returns its exit code: 2 when it was asked for
// something senseless.
func program(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use: "flovyn", Short: "The command line of Flovyn", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true, Version: version,
		Long: "Flovyn is the command line of Flovyn. In this version it prints its version, and can do\n" +
			"nothing else yet. To start workflows and look at them, call the server with curl, buf curl\n" +
			"or an SDK: `flovyn-server dev` prints command lines to paste.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(stdout, "flovyn", version)
			return err
		},
	})
	root.SetVersionTemplate("flovyn {{.Version}}\n")
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(stderr, "flovyn:", err)
		return 2
	}
	return 0
}
