// Flovyn is the command line of Flovyn.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/cli"
	"github.com/flovyn/flovyn-server/internal/devcommand"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	os.Exit(cli.Run(context.Background(), program(os.Args[1:])))
}

// program is the program as it runs here.
func program(args []string) cli.Config {
	return cli.Config{
		Args: args, Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
		Commands: []*cobra.Command{devcommand.New(devcommand.Config{
			Program: "flovyn", Version: version, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		})},
	}
}
