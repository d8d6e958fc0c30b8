// Flovyn-server is the server: it runs workflows and tasks for the workers that
// connect to it, on a PostgreSQL database.
package main

import (
	"context"
	"os"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	os.Exit(program(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
