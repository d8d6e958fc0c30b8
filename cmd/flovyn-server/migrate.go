package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/postgres"
)

// migrateCommand brings the schema up to date without serving, for operators
// who do it before a rollout. Serving does it too.
func (i *invocation) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database schema up to date", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := i.load()
			if err != nil {
				return err
			}
			if err := postgres.Migrate(cmd.Context(), string(cfg.Database.URL)); err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintln(i.stdout, "the database schema is up to date")
			return failed(err)
		},
	}
}
