package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/config"
)

func (i *invocation) configCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "config", Short: "Look at the configuration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(&cobra.Command{
		Use: "check", Short: "Check the configuration and print who gets in where", Args: cobra.NoArgs,
		Long: "Check reads the configuration as serving would, reports every mistake with its place,\n" +
			"and prints what protects each door. It prints no secrets and touches no database.",
		RunE: func(*cobra.Command, []string) error {
			cfg, _, err := i.load()
			if err != nil {
				return err
			}
			return failed(describe(i.stdout, cfg))
		},
	})
	return group
}

// describe writes what an operator wants to be sure of before starting.
func describe(w io.Writer, cfg *config.Config) error {
	var text strings.Builder
	s := cfg.Server
	for _, d := range []struct {
		name     string
		port     int
		endpoint config.Endpoint
	}{{"http", s.HTTPPort, cfg.Auth.Endpoints.HTTP}, {"grpc", s.GRPCPort, cfg.Auth.Endpoints.GRPC}} {
		fmt.Fprintf(&text, "%s door, port %d\n", d.name, d.port)
		switch {
		case !d.endpoint.Enabled:
			text.WriteString("  closed\n")
		case !cfg.Auth.Enabled:
			text.WriteString("  OPEN TO EVERYBODY: auth.enabled is false\n")
		default:
			fmt.Fprintf(&text, "  authenticators: %s\n", strings.Join(d.endpoint.Authenticators, ", then "))
			fmt.Fprintf(&text, "  authorizer:     %s\n", d.endpoint.AuthorizerKind())
			fmt.Fprintf(&text, "  open paths:     %s\n", strings.Join(append([]string{"/_/health*"}, d.endpoint.ExcludePaths...), ", "))
		}
	}
	if s.OneListener() {
		text.WriteString("both doors share a port: gRPC and gRPC-Web use the grpc door, all else the http door\n")
	}
	fmt.Fprintf(&text, "organizations: %d; static keys: %d\n", len(cfg.Orgs), len(cfg.Auth.StaticAPIKey.Keys))
	for _, warning := range cfg.Warnings() {
		fmt.Fprintf(&text, "warning: %s\n", warning)
	}
	text.WriteString("the configuration is valid\n")
	_, err := io.WriteString(w, text.String())
	return err
}
