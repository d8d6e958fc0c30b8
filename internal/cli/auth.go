package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/login"
	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/cli/profile"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// shownPath is how the file of credentials is called to people.
const shownPath = "~/.flovyn/credentials"

func (i *invocation) authCommand() *cobra.Command {
	group := asGroup(&cobra.Command{Use: "auth", Short: "Log in and out, and see who you are"})
	group.AddCommand(i.authLogin(), i.authWhoami(), i.authStatus(), i.authLogout())
	return group
}

func (i *invocation) authLogin() *cobra.Command {
	var withKey, noBrowser bool
	var app string
	cmd := &cobra.Command{
		Use: "login", Short: "Log in by the browser, or with an API key",
		Long: "Login shows a page and a code. Approve it there, in any browser; it need not be on this\n" +
			"machine. With --api-key it asks for a key instead, or reads it from standard input.\n\n" +
			"The token is kept in the profile, together with the server that it is for: name the\n" +
			"server by --server and the profile by --profile.",
		Example: "  flovyn auth login --server https://api.example.com --app-url https://app.example.com\n" +
			"  flovyn --profile staging auth login --server https://staging.api.example.com --api-key < key.txt",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // which may be a key: it is not repeated
				return errors.New("login takes no argument; a key is asked for, or read from standard input")
			}
			return nil
		},
		RunE: ran(func(cmd *cobra.Command, _ []string) error {
			l, err := i.newLogin(app)
			if err != nil {
				return err
			}
			if withKey {
				return l.byKey(cmd.Context())
			}
			return l.byDevice(cmd.Context(), !noBrowser)
		}),
	}
	// It shadows the global flag of that name, which takes a key.
	cmd.Flags().BoolVar(&withKey, "api-key", false, "log in with an API key, which is asked for or read from standard input")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "do not open a browser")
	cmd.Flags().StringVar(&app, "app-url", "", "address of the Flovyn App ("+profile.EnvApp+"; default: the one that the server names)")
	return cmd
}

// A loginRun is one login.
type loginRun struct {
	*invocation
	store   *profile.Store
	profile profile.Profile // as it is, or empty
	session profile.Session
	server  string
	org     string
	app     string
}

func (i *invocation) newLogin(app string) (*loginRun, error) {
	store, err := i.store()
	if err != nil {
		return nil, err
	}
	l := &loginRun{invocation: i, store: store, app: cmp.Or(app, i.getenv(profile.EnvApp))}
	name := cmp.Or(i.flags.Profile, i.getenv(profile.EnvProfile), profile.Default)
	l.profile, l.session, err = store.Load(name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	l.profile.Name = name
	l.server = strings.TrimRight(cmp.Or(i.flags.Server, i.getenv(profile.EnvServer), l.profile.ServerURL, profile.DefaultServer), "/")
	if !client.Confidential(l.server) {
		return nil, fault.InvalidField("--server", "%q is no server to log in to; want one with https, such as https://api.example.com", l.server)
	}
	l.org = cmp.Or(i.flags.Org, i.getenv(profile.EnvOrg))
	return l, nil
}

func (l *loginRun) byDevice(ctx context.Context, browser bool) error {
	app, err := l.findApp(ctx)
	if err != nil {
		return err
	}
	device, err := app.Begin(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Stdout, "Visit: %s\nEnter code: %s\n\nWaiting for authorization...", output.Clean(device.VerificationURI),
		output.Clean(device.UserCode))
	if browser {
		l.openBrowser(ctx, cmp.Or(device.Complete, device.VerificationURI))
	}
	session, err := app.Await(ctx, device)
	if err != nil {
		fmt.Fprintln(l.Stdout, " ✗")
		return hinted{err, "Try again with: flovyn auth login"}
	}
	fmt.Fprintln(l.Stdout, " ✓")
	return l.keepSession(ctx, app, session)
}

// keepSession gets the first token from a session, and keeps both.
func (l *loginRun) keepSession(ctx context.Context, app *login.App, session string) error {
	if l.org != "" {
		if err := app.SetOrg(ctx, session, l.org); err != nil {
			return err
		}
	}
	token, err := app.Token(ctx, session)
	if err != nil {
		return err
	}
	if err := profile.CheckToken("the token of "+app.URL(), token); err != nil {
		return err
	}
	claims, err := login.ReadClaims(token)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "%s gave something that is no token", app.URL())
	}
	if claims.Org == "" {
		return hinted{
			fault.New(fault.Invalid, "which organization? You are a member of several, or of none"),
			"Name it: flovyn auth login --org SLUG",
		}
	}
	person, err := app.Person(ctx, session)
	if err != nil {
		return err
	}
	if _, err := l.checkAtServer(ctx, token); err != nil {
		return err
	}
	err = l.store.Save(profile.Profile{
		Name: l.profile.Name, Type: profile.JWT, Token: token, ExpiresAt: claims.Expires, OrgSlug: claims.Org, ServerURL: l.server,
	}, profile.Session{Token: session, ExpiresAt: person.ExpiresAt, AppURL: app.URL()})
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Stdout, "Logged in as %s (org: %s)\nToken saved to %s\n", output.Clean(cmp.Or(person.Email, claims.Email)),
		output.Clean(claims.Org), shownPath)
	return nil
}

// checkAtServer asks the server whether it accepts a token. One that is down
// cannot be asked, which does not make the token bad.
func (l *loginRun) checkAtServer(ctx context.Context, token string) (*apiv1.WhoAmIResponse, error) {
	c, err := client.New(client.Config{URL: l.server, Protocol: client.Connect, Token: token})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	me, err := c.Management().Identity.WhoAmI(ctx, &apiv1.WhoAmIRequest{})
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return nil, hinted{err, fmt.Sprintf("The server %s does not accept it. Nothing was saved.", l.server)}
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return me, err
}

func (l *loginRun) byKey(ctx context.Context) error {
	key, err := l.askKey()
	if err != nil {
		return err
	}
	if err := profile.CheckToken("the API key", key); err != nil {
		return err
	}
	me, err := l.checkAtServer(ctx, key)
	if err != nil {
		return err
	}
	org := cmp.Or(me.GetOrgSlug(), l.org)
	err = l.store.Save(profile.Profile{Name: l.profile.Name, Type: profile.APIKey, Token: key, OrgSlug: org, ServerURL: l.server},
		profile.Session{})
	if err != nil {
		return err
	}
	fmt.Fprintf(l.Stdout, "Logged in as %s (org: %s)\n", output.Clean(cmp.Or(me.GetEmail(), me.GetPrincipalId())),
		output.Clean(cmp.Or(org, "none")))
	return nil
}

// askKey asks for a key without showing it, or reads standard input.
func (l *loginRun) askKey() (string, error) {
	fd, ok := terminal(l.Stdin)
	if !ok {
		text, err := io.ReadAll(io.LimitReader(l.Stdin, 64<<10))
		return strings.TrimSpace(string(text)), err
	}
	// The terminal stops echoing before it is asked for anything: a key that is
	// pasted quickly must not be seen either.
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("preparing the terminal: %w", err)
	}
	prompt := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{l.Stdin, l.Stdout}, "")
	text, err := prompt.ReadPassword("Enter API key: ")
	if restored := term.Restore(fd, before); restored != nil {
		return "", fmt.Errorf("restoring the terminal: %w", restored)
	}
	if err != nil { // Ctrl-C, or the end of the input
		return "", errInterrupted
	}
	return strings.TrimSpace(text), nil
}

// findApp finds the app to log in at: the one that was named, that of the earlier
// login, or the one that the server names.
func (l *loginRun) findApp(ctx context.Context) (*login.App, error) {
	address := l.app
	if address == "" && profile.SameServer(l.server, cmp.Or(l.profile.ServerURL, l.server)) {
		address = l.session.AppURL
	}
	if address == "" {
		var err error
		if address, err = discoverApp(ctx, l.server); err != nil {
			return nil, hinted{
				fault.Wrap(fault.Invalid, err, "%s does not say which Flovyn App it trusts", l.server),
				"Name the app: flovyn auth login --app-url https://app.example.com   (or log in with a key: flovyn auth login --api-key)",
			}
		}
	}
	return login.NewApp(address)
}

// discoverApp asks a server which app issues its tokens, by the metadata of
// RFC 9728.
func discoverApp(ctx context.Context, server string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/.well-known/oauth-protected-resource", http.NoBody)
	if err != nil {
		return "", err
	}
	c := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var metadata struct {
		AuthorizationServers []string `json:"authorization_servers"`
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the answer has status %d", response.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&metadata); err != nil {
		return "", err
	}
	if len(metadata.AuthorizationServers) == 0 {
		return "", errors.New("it names none")
	}
	return metadata.AuthorizationServers[0], nil
}

// openBrowser opens a page where there is a screen for it. That it cannot is no
// problem: the address stands in the terminal.
func (l *loginRun) openBrowser(ctx context.Context, page string) {
	if _, ok := terminal(l.Stdout); !ok || l.getenv("SSH_CONNECTION") != "" {
		return
	}
	var command []string
	switch {
	case l.getenv("BROWSER") != "":
		command = []string{l.getenv("BROWSER"), page}
	case runtime.GOOS == "darwin":
		command = []string{"open", page}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", page}
	case l.getenv("DISPLAY") != "" || l.getenv("WAYLAND_DISPLAY") != "":
		command = []string{"xdg-open", page}
	default:
		return
	}
	browser := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	if browser.Start() == nil {
		go func() { _ = browser.Wait() }()
	}
}

// masked shows as much of a token as tells it from another.
func masked(token string) string {
	if len(token) < 12 {
		return "****"
	}
	return "****" + token[len(token)-4:]
}

func (i *invocation) authWhoami() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Ask the server who you are to it", Args: exact(),
		RunE: ran(func(cmd *cobra.Command, _ []string) error {
			settings, err := i.settings()
			if err != nil {
				return err
			}
			if settings.Token == "" {
				return errNotLoggedIn(settings)
			}
			return i.anywhere(func(ctx context.Context, s *server, _ *cobra.Command, _ []string) error {
				me, err := s.Identity.WhoAmI(ctx, &apiv1.WhoAmIRequest{})
				if err != nil {
					return err
				}
				return s.Message(me, []string{cmp.Or(me.GetEmail(), me.GetPrincipalId())}, func() {
					s.Fields(output.Field{Name: "who", Value: me.GetPrincipalType() + " " + me.GetPrincipalId()}, output.Field{
						Name:  "email",
						Value: me.GetEmail(),
					},
						output.Field{Name: "role", Value: me.GetRole()}, output.Field{Name: "org", Value: me.GetOrgSlug()},
						output.Field{Name: "server", Value: s.settings.Server + " (" + me.GetServerVersion() + ")"},
						output.Field{Name: "method", Value: me.GetAuthenticator()},
						output.Field{Name: "token", Value: masked(s.settings.Token) + ", from " + s.settings.Source},
						output.Field{Name: "expires", Value: at(me.GetExpiresAt())})
				})
			})(cmd, nil)
		}),
	}
}

func errNotLoggedIn(settings *profile.Settings) error {
	return hinted{
		fault.New(fault.Unauthenticated, "not logged in to %s (profile %s)", settings.Server, settings.Profile.Name),
		"Log in with: flovyn auth login   (or set " + profile.EnvAPIKey + ")",
	}
}

// status is one profile, as `auth status` shows it.
type status struct {
	Profile          string     `json:"profile"`
	Active           bool       `json:"active"`
	ServerURL        string     `json:"serverUrl"`
	OrgSlug          string     `json:"orgSlug"`
	Type             string     `json:"type"`
	Token            string     `json:"token"`
	ExpiresAt        *time.Time `json:"expiresAt"`
	SessionExpiresAt *time.Time `json:"sessionExpiresAt"`
}

func (i *invocation) authStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the profiles there are, and which one applies", Args: exact(),
		Long: "Status reads the files on this machine and asks nobody. It exits with 4 when no token\napplies.",
		RunE: ran(func(*cobra.Command, []string) error {
			settings, err := i.settings()
			if err != nil {
				return err
			}
			list, err := i.statuses(settings)
			if err != nil {
				return err
			}
			if err := i.printStatuses(list, settings); err != nil {
				return err
			}
			if settings.Token == "" {
				return errNotLoggedIn(settings)
			}
			return nil
		}),
	}
}

func (i *invocation) statuses(settings *profile.Settings) ([]status, error) {
	store, err := i.store()
	if err != nil {
		return nil, err
	}
	names, err := store.Names()
	if err != nil {
		return nil, err
	}
	list := []status{}
	for _, name := range names {
		p, session, err := store.Load(name)
		if err != nil {
			return nil, err
		}
		list = append(list, status{
			Profile: name, Active: name == settings.Profile.Name && settings.Stored(), ServerURL: p.ServerURL, OrgSlug: p.OrgSlug, Type: p.Type,
			Token: masked(p.Token), ExpiresAt: momentOrNil(p.ExpiresAt), SessionExpiresAt: momentOrNil(session.ExpiresAt),
		})
	}
	return list, nil
}

func momentOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (i *invocation) printStatuses(list []status, settings *profile.Settings) error {
	p := i.printer()
	if p.ForPrograms() {
		text, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return err
		}
		return p.Value(text)
	}
	var rows [][]string
	for _, s := range list {
		mark := ""
		if s.Active {
			mark = "*"
		}
		ends := s.SessionExpiresAt
		if ends == nil {
			ends = s.ExpiresAt
		}
		until := "when it is revoked"
		if ends != nil {
			until = output.Moment(*ends)
		}
		rows = append(rows, []string{s.Profile, mark, s.ServerURL, s.OrgSlug, s.Type, s.Token, until})
	}
	if len(rows) > 0 {
		p.Table([]output.Column{
			{Title: "PROFILE", Long: true},
			{Title: "ACTIVE"},
			{Title: "SERVER", Long: true},
			{
				Title: "ORG",
				Long:  true,
			},
			{Title: "TYPE"},
			{Title: "TOKEN"},
			{Title: "GOOD UNTIL"},
		}, rows)
	}
	if settings.Token != "" && !settings.Stored() {
		i.say("The key of %s applies, at %s.", settings.Source, settings.Server)
	}
	return nil
}

func (i *invocation) authLogout() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the token of a profile, and end its session", Args: exact(),
		RunE: ran(func(cmd *cobra.Command, _ []string) error {
			store, err := i.store()
			if err != nil {
				return err
			}
			name := cmp.Or(i.flags.Profile, i.getenv(profile.EnvProfile), profile.Default)
			p, session, err := store.Load(name)
			if fault.Is(err, fault.NotFound) && i.flags.Profile == "" {
				i.say("You were not logged in.")
				return nil
			}
			if err != nil {
				return err
			}
			if session.Token != "" {
				if app, err := login.NewApp(session.AppURL); err != nil || app.SignOut(cmd.Context(), session.Token) != nil {
					i.say("The session at %s could not be ended; it ends by itself at %s.", session.AppURL, output.Moment(session.ExpiresAt))
				}
			}
			if err := store.Delete(name); err != nil {
				return err
			}
			fmt.Fprintf(i.Stdout, "Logged out of %s (profile %s)\n", output.Clean(p.ServerURL), name)
			if i.getenv(profile.EnvAPIKey) != "" {
				i.say("%s is still set, and goes on to apply.", profile.EnvAPIKey)
			}
			return nil
		}),
	}
}
