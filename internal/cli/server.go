package cli

import (
	"context"
	"sync"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/login"
	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/cli/profile"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// renewAhead is how long before its end a token is renewed, so that it does not
// end on the way.
const renewAhead = 30 * time.Second

// A server is the one that a command talks to, as the caller sees it.
type server struct {
	*client.Management
	*output.Printer
	settings *profile.Settings
	// Org is the slug of the organization.
	Org string
}

// tokens hands out the token of every call, and renews it in time.
type tokens struct {
	store    *profile.Store
	settings *profile.Settings
	now      func() time.Time

	mu      sync.Mutex
	current profile.Profile
	renewed bool
}

// renewable reports whether there is a session from which to renew.
func (t *tokens) renewable() bool { return t.settings.Stored() && t.settings.Session.Token != "" }

func (t *tokens) token(ctx context.Context) (string, error) {
	if !t.settings.Stored() || t.settings.Profile.Type != profile.JWT {
		return t.settings.Token, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now().Add(renewAhead).Before(t.current.ExpiresAt) {
		return t.current.Token, nil
	}
	if !t.renewable() {
		return "", hinted{
			fault.New(fault.Unauthenticated, "the token of profile %s ended at %s, and there is no session to renew it",
				t.current.Name, output.Moment(t.current.ExpiresAt)), "Log in again with: flovyn auth login",
		}
	}
	return t.current.Token, t.renew(ctx)
}

// renew mints a token and keeps it. Called with the lock held.
func (t *tokens) renew(ctx context.Context) error {
	app, err := login.NewApp(t.settings.Session.AppURL)
	if err != nil {
		return err
	}
	text, err := app.Token(ctx, t.settings.Session.Token)
	if fault.Is(err, fault.Unauthenticated) {
		return hinted{err, "Log in again with: flovyn auth login"}
	}
	if err != nil {
		return err
	}
	if err := profile.CheckToken("the new token", text); err != nil {
		return err
	}
	claims, err := login.ReadClaims(text)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the Flovyn App gave something that is no token")
	}
	t.current.Token, t.current.ExpiresAt, t.renewed = text, claims.Expires, true
	return t.store.Renew(t.current, t.settings.Session)
}

// force renews a token that the server does not accept, once: this machine's
// clock may be slow.
func (t *tokens) force(ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.renewable() && !t.renewed && t.renew(ctx) == nil
}

// A serverCommand is a command that asks the server.
type serverCommand func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error

// command runs a command in the caller's organization.
func (i *invocation) command(run serverCommand) func(*cobra.Command, []string) error {
	return i.anywhere(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
		if err := s.findOrg(ctx); err != nil {
			return err
		}
		return run(ctx, s, cmd, args)
	})
}

// anywhere runs a command that needs no organization.
func (i *invocation) anywhere(run serverCommand) func(*cobra.Command, []string) error {
	return ran(func(cmd *cobra.Command, args []string) error {
		s, source, done, err := i.connect()
		if err != nil {
			return err
		}
		defer done()
		err = run(cmd.Context(), s, cmd, args)
		// A refused call has done nothing, so the command can begin again.
		if connect.CodeOf(err) == connect.CodeUnauthenticated && source.force(cmd.Context()) {
			err = run(cmd.Context(), s, cmd, args)
		}
		return err
	})
}

// connect prepares to talk to the server. Nothing is sent yet.
func (i *invocation) connect() (*server, *tokens, func(), error) {
	settings, err := i.settings()
	if err != nil {
		return nil, nil, nil, err
	}
	store, err := i.store()
	if err != nil {
		return nil, nil, nil, err
	}
	source := &tokens{store: store, settings: settings, now: i.now, current: settings.Profile}
	config := client.Config{URL: settings.Server, Protocol: client.Connect}
	if settings.Token != "" {
		config.TokenSource = source.token
	}
	c, err := client.New(config)
	if err != nil {
		return nil, nil, nil, err
	}
	return &server{Management: c.Management(), Printer: i.printer(), settings: settings, Org: settings.Org}, source, c.Close, nil
}

// findOrg finds the organization that the credential is for, unless one was
// named.
func (s *server) findOrg(ctx context.Context) error {
	if s.Org != "" {
		return nil
	}
	me, err := s.Identity.WhoAmI(ctx, &apiv1.WhoAmIRequest{})
	if err != nil {
		return err
	}
	if me.GetOrgSlug() == "" {
		return hinted{
			fault.New(fault.Invalid, "which organization? The credential is for none in particular"), "Name one with --org, or with " +
				profile.EnvOrg,
		}
	}
	s.Org = me.GetOrgSlug()
	return nil
}
