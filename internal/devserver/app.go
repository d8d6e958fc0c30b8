package devserver

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/flovyn/flovyn-server/internal/standin"
)

// The people and the organization that the stand-in identity provider knows. Ids
// stay the same, because the dev organization is bound to that of its own.
const (
	// OwnerEmail is that of an OWNER, MemberEmail that of a MEMBER.
	OwnerEmail  = "owner@dev.localhost"
	MemberEmail = "member@dev.localhost"

	appOrgID = "dev-organization"
	ownerID  = "dev-owner"
	memberID = "dev-member"
)

// App is the stand-in identity provider of a dev server, as a program or a person
// on this machine uses it.
type App struct {
	app *standin.App
	// UserKey and WorkerKey are API keys that it has issued at this start: of the
	// owner, and of a worker.
	UserKey, WorkerKey string
}

// startApp starts the identity provider, with the dev organization, two people
// in it, and two keys. It listens on the loopback address whatever the server
// listens on: whoever reaches it can be anybody.
func startApp(ctx context.Context, cfg Config) (*App, error) {
	app, err := standin.Start(ctx, standin.Config{
		Address: net.JoinHostPort(DefaultHost, strconv.Itoa(cfg.AppPort)), Algorithm: cfg.AppAlgorithm,
	})
	if err != nil {
		return nil, fmt.Errorf("port %d cannot be used by the stand-in identity provider: %w; "+
			"choose another one with --app-port (0 picks a free one)", cfg.AppPort, err)
	}
	app.AddOrg(standin.Org{ID: appOrgID, Slug: OrgSlug, Name: "Dev"})
	app.AddUser(standin.User{ID: ownerID, Email: OwnerEmail, Name: "Dev Owner"})
	app.AddUser(standin.User{ID: memberID, Email: MemberEmail, Name: "Dev Member"})
	app.AddMember(ownerID, appOrgID, "owner")
	app.AddMember(memberID, appOrgID, "member")
	return &App{
		app:       app,
		UserKey:   app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: ownerID, OrgID: appOrgID, Role: "OWNER"}),
		WorkerKey: app.AddKey(standin.Key{Prefix: "flovyn_wk_", UserID: ownerID, OrgID: appOrgID}),
	}, nil
}

// URL is the base URL of the identity provider, which is also the issuer of its
// tokens.
func (a *App) URL() string { return a.app.URL() }
