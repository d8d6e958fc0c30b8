package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/cli/dashboard"
	"github.com/flovyn/flovyn-server/internal/fault"
)

func (i *invocation) dashboardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "dashboard", Aliases: []string{"ui"}, Short: "Show workflows, tasks and workers on a screen, live", Args: exact(),
		Long: "Dashboard fills the terminal: lists, which a stream of events keeps fresh, and for each\n" +
			"workflow its events and a timeline. It works on 80 columns and 24 lines, without colour,\n" +
			"and over ssh. The key ? shows the others.",
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			if _, ok := terminal(i.Stdout); !ok {
				return fault.New(fault.Precondition, "the dashboard needs a terminal; for scripts there is: flovyn workflow list -o json")
			}
			return dashboard.Run(ctx, dashboard.Config{
				Server: s.Management, Org: s.Org, Address: s.settings.Server, Input: i.Stdin, Output: i.Stdout, Environ: i.Environ, Color: s.Color,
				Now: i.now,
			})
		}),
	}
}
