package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

func (i *invocation) orgCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "org", Aliases: []string{"orgs", "organization"}, Short: "Create organizations, and look at yours"})
	group.AddCommand(i.orgGet(), i.orgCreate())
	return group
}

func showOrg(s *server, answer proto.Message, o *apiv1.Organization) error {
	return s.Message(answer, []string{o.GetSlug()}, func() {
		s.Fields(output.Field{Name: "id", Value: o.GetId()}, output.Field{Name: "slug", Value: o.GetSlug()}, output.Field{
			Name:  "name",
			Value: o.GetName(),
		},
			output.Field{Name: "tier", Value: o.GetTier()}, output.Field{Name: "region", Value: o.GetRegion()},
			output.Field{Name: "created", Value: at(o.GetCreatedAt())})
	})
}

func (i *invocation) orgGet() *cobra.Command {
	return &cobra.Command{
		Use: "get [SLUG]", Aliases: []string{"show"}, Short: "Show an organization, your own without a slug", Args: between(0, 1, "SLUG"),
		RunE: ran(func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				i.flags.Org = args[0]
			}
			return i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
				answer, err := s.Organizations.GetOrganization(ctx, &apiv1.GetOrganizationRequest{Org: s.Org})
				if err != nil {
					return err
				}
				return showOrg(s, answer, answer.GetOrganization())
			})(cmd, args)
		}),
	}
}

func (i *invocation) orgCreate() *cobra.Command {
	request := &apiv1.CreateOrganizationRequest{}
	var tier, region string
	cmd := &cobra.Command{
		Use: "create SLUG", Short: "Create an organization", Args: exact("SLUG"),
		Long: "Create needs a service key that belongs to no organization, or the token of an OWNER or\n" +
			"ADMIN of the organization with this very slug in the Flovyn App.",
		Example: `  flovyn org create customer-corp --name "Customer Corp"`,
		RunE: i.anywhere(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			request.Slug = args[0]
			if request.GetName() == "" {
				request.Name = args[0]
			}
			request.Tier, request.Region = optional(cmd.Flags(), "tier", tier), optional(cmd.Flags(), "region", region)
			answer, err := s.Organizations.CreateOrganization(ctx, request)
			if err != nil {
				return err
			}
			return showOrg(s, answer, answer.GetOrganization())
		}),
	}
	cmd.Flags().StringVar(&request.Name, "name", "", "its name (default: the slug)")
	cmd.Flags().StringVar(&tier, "tier", "", "FREE, PRO or ENTERPRISE (default: FREE)")
	cmd.Flags().StringVar(&region, "region", "", "its region")
	return cmd
}

func (i *invocation) tokenCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "token", Aliases: []string{"tokens"}, Short: "Create, list and revoke worker tokens"})
	group.AddCommand(i.tokenCreate(), i.tokenList(), i.tokenGet(), i.tokenRevoke())
	return group
}

func (i *invocation) tokenCreate() *cobra.Command {
	var description string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a worker token and print it, once", Args: exact("NAME"),
		Long:    "Create prints the token and nothing else to standard output. It is shown only now.",
		Example: `  export FLOVYN_API_KEY=$(flovyn token create build-farm --expires-in 2160h)`,
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			seconds := int64(lifetime / time.Second)
			answer, err := s.Tokens.CreateWorkerToken(ctx, &apiv1.CreateWorkerTokenRequest{
				Org: s.Org, DisplayName: args[0], Description: optional(cmd.Flags(), "description", description),
				ExpiresInSeconds: optional(cmd.Flags(), "expires-in", seconds),
			})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{answer.GetToken()}, func() {
				i.say("Worker token %s; it is shown only now:", answer.GetId())
				s.Linef("%s", answer.GetToken())
			})
		}),
	}
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Flags().DurationVar(&lifetime, "expires-in", 0, "how long it is good for, such as 2160h (default: for ever)")
	return cmd
}

func tokenState(t *apiv1.WorkerToken, now time.Time) string {
	switch {
	case t.GetRevokedAt() != nil:
		return "revoked"
	case t.GetExpiresAt() != nil && !now.Before(t.GetExpiresAt().AsTime()):
		return "expired"
	default:
		return "active"
	}
}

func (i *invocation) tokenList() *cobra.Command {
	var page pageFlags
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List worker tokens, newest first, the revoked ones too", Args: exact(),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
			answer, err := s.Tokens.ListWorkerTokens(ctx, &apiv1.ListWorkerTokensRequest{Org: s.Org, Limit: &page.limit, Offset: page.offset})
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, t := range answer.GetTokens() {
				ids = append(ids, t.GetId())
				rows = append(rows, []string{
					t.GetId(), t.GetPrefix(), t.GetDisplayName(), tokenState(t, s.Now), at(t.GetCreatedAt()), t.GetCreatedBy(), at(t.GetLastUsedAt()),
					at(t.GetExpiresAt()),
				})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "ID"},
					{Title: "BEGINS WITH"},
					{Title: "NAME", Long: true},
					{Title: "STATE", Status: true},
					{Title: "CREATED"},
					{Title: "CREATED BY", Long: true},
					{Title: "LAST USED"},
					{Title: "EXPIRES"},
				}, rows)
				i.more(len(rows), answer.GetTotal(), false, "")
			})
		}),
	}
	page.declare(cmd.Flags(), 50, false)
	return cmd
}

func (i *invocation) tokenGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Aliases: []string{"show"}, Short: "Show what is known of a worker token", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Tokens.GetWorkerToken(ctx, &apiv1.GetWorkerTokenRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			t := answer.GetWorkerToken()
			return s.Message(answer, []string{t.GetId()}, func() {
				s.Fields(output.Field{Name: "id", Value: t.GetId()}, output.Field{Name: "begins with", Value: t.GetPrefix()},
					output.Field{Name: "name", Value: t.GetDisplayName()}, output.Field{Name: "description", Value: t.GetDescription()},
					output.Field{Name: "state", Value: tokenState(t, s.Now), Status: true}, output.Field{Name: "created", Value: at(t.GetCreatedAt())},
					output.Field{Name: "created by", Value: t.GetCreatedBy()}, output.Field{Name: "last used", Value: at(t.GetLastUsedAt())},
					output.Field{Name: "expires", Value: at(t.GetExpiresAt())}, output.Field{Name: "revoked", Value: at(t.GetRevokedAt())})
			})
		}),
	}
}

func (i *invocation) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Aliases: []string{"delete"}, Short: "Revoke a worker token for good", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, _ *cobra.Command, args []string) error {
			answer, err := s.Tokens.RevokeWorkerToken(ctx, &apiv1.RevokeWorkerTokenRequest{Org: s.Org, Id: args[0]})
			if err != nil {
				return err
			}
			return s.Message(answer, []string{args[0]}, func() { s.Linef("Worker token %s is revoked.", args[0]) })
		}),
	}
}

func (i *invocation) auditCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "audit", Short: "See what was refused and what was changed, and by whom"})
	var outcome, principal, since, until string
	var page pageFlags
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List audit records, newest first", Args: exact(),
		Example: "  flovyn audit list --outcome denied --since 24h",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, _ []string) error {
			request := &apiv1.ListAuditRecordsRequest{
				Org: s.Org, Outcome: optional(cmd.Flags(), "outcome", outcome), Principal: optional(cmd.Flags(), "principal", principal),
				Limit: &page.limit, PageToken: optional(cmd.Flags(), "page-token", page.token),
			}
			for _, bound := range []struct {
				flag, text string
				field      **timestamppb.Timestamp
			}{{"--since", since, &request.Since}, {"--until", until, &request.Until}} {
				if bound.text == "" {
					continue
				}
				t, err := i.parseMoment(bound.flag, bound.text)
				if err != nil {
					return err
				}
				*bound.field = timestamppb.New(t)
			}
			answer, err := s.Audit.ListAuditRecords(ctx, request)
			if err != nil {
				return err
			}
			var ids []string
			var rows [][]string
			for _, r := range answer.GetRecords() {
				ids = append(ids, r.GetId())
				rows = append(rows, []string{
					at(r.GetAt()), r.GetOutcome(), r.GetPrincipal(), r.GetAction(), strings.TrimSpace(r.GetResourceType() + " " +
						r.GetResourceId()), r.GetReason(),
				})
			}
			return s.Message(answer, ids, func() {
				s.Table([]output.Column{
					{Title: "TIME"},
					{Title: "OUTCOME", Status: true},
					{Title: "WHO", Long: true},
					{Title: "DID"},
					{Title: "TO", Long: true},
					{Title: "REASON", Long: true},
				}, rows)
				i.none(len(rows))
				if answer.NextPageToken != nil {
					i.say("For the next page: --page-token %s", answer.GetNextPageToken())
				}
			})
		}),
	}
	flags := list.Flags()
	flags.StringVar(&outcome, "outcome", "", "only records of this outcome: allowed, denied or failed")
	flags.StringVar(&principal, "principal", "", "only records of this caller, as type:id")
	flags.StringVar(&since, "since", "", "only records from then on: a time, or 2h for two hours ago")
	flags.StringVar(&until, "until", "", "only records before then")
	flags.Int32VarP(&page.limit, "limit", "n", 50, "how many to show")
	flags.StringVar(&page.token, "page-token", "", "where to go on, as the page before says")
	group.AddCommand(list)
	return group
}
