package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/token"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// tokenCommand manages worker tokens in the database, for operators: whoever has
// the server's configuration needs no other credential.
func (i *invocation) tokenCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "token", Short: "Create, list and revoke worker tokens", Args: cobra.NoArgs,
		Long: "Worker tokens are credentials for workers that this server itself issues. They are\n" +
			"accepted where worker_token is among the authenticators. The commands work on the\n" +
			"database and need the server's configuration, WORKER_TOKEN_SECRET included.",
	}
	group.AddCommand(i.tokenCreateCommand(), i.tokenListCommand(), i.tokenRevokeCommand())
	return group
}

func (i *invocation) tokenCreateCommand() *cobra.Command {
	var slug string
	var lifetime time.Duration
	var request token.Request
	cmd := &cobra.Command{
		Use: "create --org SLUG --name NAME", Short: "Create a worker token and print it, once", Args: cobra.NoArgs,
		Example: "  flovyn-server token create --org acme --name build-farm --expires-in 2160h",
		RunE: i.withTokens(func(ctx context.Context, o operation, tokens *token.Tokens) error {
			org, err := o.store.OrganizationBySlug(ctx, slug)
			if err != nil {
				return err
			}
			request.Org, request.CreatedBy = org.ID, "operator:"+cmp.Or(i.variable("USER"), "unknown")
			if lifetime != 0 {
				expires := time.Now().Add(lifetime)
				request.ExpiresAt = &expires
			}
			made, text, err := tokens.Create(ctx, request)
			if err != nil {
				return err
			}
			fmt.Fprintf(i.stderr, "worker token %s of %s; it is shown only now:\n", made.ID, slug)
			_, err = fmt.Fprintln(i.stdout, text)
			return err
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&slug, "org", "", "organization of the workers (required)")
	flags.StringVar(&request.Name, "name", "", "what the token is called (required)")
	flags.StringVar(&request.Description, "description", "", "what it is for")
	flags.DurationVar(&lifetime, "expires-in", 0, "how long it is good for, such as 2160h (default: for ever)")
	require(cmd, "org", "name")
	return cmd
}

func (i *invocation) tokenListCommand() *cobra.Command {
	var slug string
	cmd := &cobra.Command{
		Use: "list --org SLUG", Short: "List the worker tokens of an organization", Args: cobra.NoArgs,
		RunE: i.withTokens(func(ctx context.Context, o operation, tokens *token.Tokens) error {
			org, err := o.store.OrganizationBySlug(ctx, slug)
			if err != nil {
				return err
			}
			list, err := tokens.List(ctx, org.ID)
			if err != nil {
				return err
			}
			return i.printTokens(list, time.Now())
		}),
	}
	cmd.Flags().StringVar(&slug, "org", "", "organization of the tokens (required)")
	require(cmd, "org")
	return cmd
}

func (i *invocation) printTokens(list []flovyn.WorkerToken, now time.Time) error {
	w := tabwriter.NewWriter(i.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tBEGINS WITH\tNAME\tSTATE\tCREATED\tCREATED BY\tLAST USED\tEXPIRES")
	for _, t := range list {
		state := "good"
		switch {
		case t.RevokedAt != nil:
			state = "revoked"
		case t.IsExpired(now):
			state = "expired"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Prefix, t.Name, state,
			moment(&t.CreatedAt), t.CreatedBy, moment(t.LastUsedAt), moment(t.ExpiresAt))
	}
	return w.Flush()
}

// moment writes a time for people, and in a form that sorts.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func (i *invocation) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a worker token for good", Args: cobra.ExactArgs(1),
		RunE: i.withTokens(func(ctx context.Context, o operation, tokens *token.Tokens) error {
			parsed, err := uuid.Parse(o.args[0])
			if err != nil {
				return fault.InvalidField("ID", "want the id of a token, as list shows it")
			}
			id := flovyn.TokenID(parsed)
			org, err := o.store.OrgOfWorkerToken(ctx, id)
			if fault.Is(err, fault.NotFound) {
				return fault.New(fault.NotFound, "worker token %s not found", id)
			}
			if err != nil {
				return fmt.Errorf("looking up the worker token %s: %w", id, err)
			}
			if err := tokens.Revoke(ctx, org, id); err != nil {
				return err
			}
			_, err = fmt.Fprintf(i.stdout, "worker token %s is revoked\n", id)
			return err
		}),
	}
}

// withTokens runs a command on the worker tokens of the configured database.
func (i *invocation) withTokens(do func(context.Context, operation, *token.Tokens) error) func(*cobra.Command, []string) error {
	return i.withStore(func(ctx context.Context, o operation) error {
		settings := o.cfg.Auth.WorkerToken
		if settings.Secret == "" {
			return fault.New(fault.Invalid, "worker tokens need auth.worker_token.secret; set WORKER_TOKEN_SECRET to that of the server")
		}
		tokens, err := token.New(token.Config{
			Store: o.store, Prefix: settings.Prefix, Secret: string(settings.Secret), PreviousSecret: string(settings.PreviousSecret), Log: o.log,
			Publish: func(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) error {
				return wake.Announce(ctx, o.store, wake.HintToken, wake.Key{Org: org, Queue: id.String()})
			},
		})
		if err != nil {
			return err
		}
		defer tokens.Close()
		return do(ctx, o, tokens)
	})
}
