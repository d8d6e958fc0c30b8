package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// migrateCommand brings the schema up to date without serving, for operators
// who do it before a rollout. Serving does it too.
func (i *invocation) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database schema up to date", Args: cobra.NoArgs,
		Long: "Migrate needs the database and nothing else of the configuration: DATABASE_URL, or\n" +
			"database.url in the file.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			database, err := config.LoadDatabase(i.configFile, i.environ)
			if err != nil {
				return err
			}
			if err := postgres.Migrate(cmd.Context(), string(database.URL)); err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintln(i.stdout, "the database schema is up to date")
			return failed(err)
		},
	}
}
