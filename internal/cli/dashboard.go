package cli

import "github.com/spf13/cobra"

func (i *invocation) dashboardCommand() *cobra.Command {
	return &cobra.Command{Use: "dashboard"}
}
