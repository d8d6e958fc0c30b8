package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// orgCommand manages organizations in the database, for operators.
func (i *invocation) orgCommand() *cobra.Command {
	group := &cobra.Command{Use: "org", Short: "Look after organizations", Args: cobra.NoArgs}
	group.AddCommand(&cobra.Command{
		Use: "unbind SLUG", Short: "Let an organization be bound to the identity provider anew", Args: cobra.ExactArgs(1),
		Long: "The first token that names an organization binds it to the identity provider's id of\n" +
			"it, so that nobody can take it over by registering its slug again. After it was made\n" +
			"anew at the provider on purpose, unbind it here: the next token binds it again.",
		RunE: i.withStore(func(ctx context.Context, o operation) error {
			id, err := o.store.UnbindOrganization(ctx, o.args[0])
			if err != nil {
				return err
			}
			if err := wake.Announce(ctx, o.store, wake.HintOrg, wake.Key{Org: id}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(i.stdout, "organization %s is not bound; the next token that names it binds it\n", o.args[0])
			return err
		}),
	})
	return group
}

// operatorConnections is how many connections a command of an operator uses.
const operatorConnections = 2

// operation is what a command of an operator works on.
type operation struct {
	cfg   *config.Config
	log   *slog.Logger
	store *postgres.Store
	args  []string
}

// withStore runs a command on the configured database.
func (i *invocation) withStore(do func(context.Context, operation) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, log, err := i.read() // nothing is served: what serving needs may be elsewhere
		if err != nil {
			return err
		}
		store, err := postgres.Open(cmd.Context(), postgres.Config{
			URL: string(cfg.Database.URL), MaxConnections: operatorConnections, Logger: log,
		})
		if err != nil {
			return failed(err)
		}
		defer store.Close()
		return failed(do(cmd.Context(), operation{cfg, log, store, args}))
	}
}

// require marks flags that a command cannot do without.
func require(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		_ = cmd.MarkFlagRequired(flag) // fails only for a flag that does not exist
	}
}
