// Package jwt authenticates people by the signed tokens of an identity provider.
//
// Two authenticators of the configuration are made of it, which differ in
// nothing but their settings: better_auth_jwt, for the tokens of a Flovyn App,
// and jwt, for those of any other provider that puts the same claim about an
// organization into them.
//
// # What is believed
//
// A credential is ours when it looks like a signed token: three base64url parts
// of which the first is a JSON object. From then on it is accepted or rejected,
// never passed on. It is accepted when
//
//   - its algorithm is one of a short list, and the provider publishes a key of
//     that id for that algorithm. Keys are stored by both, so that a key can
//     never be used in a way it was not made for (see keys.go);
//   - its header asks for nothing else: no critical extension, no key of its
//     own, no other kind of token (see token.go);
//   - the signature is right;
//   - it is of the configured issuer, for the configured audience, names a
//     subject, and is valid now (see claims.go);
//   - the organization it is about exists here.
//
// # Keys
//
// A store fetches the provider's keys in the background (see store.go). Without
// keys, or with keys that nobody has confirmed for a day, the answer to a token
// is Unavailable: a provider that is down must not look like a bad credential.
//
// # Speed
//
// Verifying a signature takes some hundred microseconds, and clients present the
// same token many times. What a verified token says is therefore remembered, for
// at most five minutes, under a keyed digest of the whole token, until the
// provider's keys change (see cache.go). The organization is asked for anew each
// time; its resolver has a memory of its own.
package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/org"
)

// The names of the authenticators in the configuration.
const (
	// BetterAuthName is that of the tokens of a Flovyn App.
	BetterAuthName = "better_auth_jwt"
	// Name is that of the tokens of any other provider.
	Name = "jwt"
)

// OrgResolver finds the organization that a verified token names. A failure of
// kind fault.Unauthenticated is shown to the client; any other means that the
// question could not be answered.
type OrgResolver interface {
	ResolveToken(ctx context.Context, t org.TokenOrg) (flovyn.OrgID, error)
	// ResolveKey is for what was not verified: it binds and creates nothing.
	ResolveKey(ctx context.Context, t org.TokenOrg) (flovyn.OrgID, error)
}

// Config says which tokens to believe.
type Config struct {
	// Name is the authenticator's name in the configuration: one of the above.
	Name string
	// JWKSURI is where the issuer publishes its keys: https, or the loopback
	// address. Not used when verification is skipped.
	JWKSURI string
	// Issuer is the value of iss to demand.
	Issuer string
	// Audience is the value of aud to demand.
	Audience string
	// SkipVerification believes whatever a token says, as long as issuer,
	// audience and time are right. For development: whoever assembles a server
	// must demand a second switch for it, and announce it.
	SkipVerification bool
	// Orgs finds organizations.
	Orgs OrgResolver
	// Log is told of keys that cannot be fetched or used.
	Log *slog.Logger
}

// Authenticator recognizes the signed tokens of one issuer.
type Authenticator struct {
	cfg    Config
	keys   *store // nil when verification is skipped
	tokens *memory
	now    func() time.Time
}

var _ authn.Authenticator = (*Authenticator)(nil)

// New makes an authenticator. Until its Part runs it answers Unavailable.
func New(cfg Config) (*Authenticator, error) {
	switch {
	case cfg.Issuer == "":
		return nil, errors.New("the issuer is required")
	case cfg.Audience == "":
		return nil, errors.New("the audience is required")
	case cfg.Orgs == nil:
		return nil, fault.Bug("the authenticator %s has no resolver of organizations", cfg.Name)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("authenticator", cfg.Name)
	a := &Authenticator{cfg: cfg, now: time.Now}
	var err error
	if a.tokens, err = newMemory(); err != nil {
		return nil, err
	}
	if cfg.SkipVerification {
		return a, nil
	}
	a.keys, err = newStore("keys of "+cfg.Name, cfg.JWKSURI, cfg.Log)
	return a, err
}

// Name returns the name given to New.
func (a *Authenticator) Name() string { return a.cfg.Name }

// Parts returns what has to run in the background: the keeper of the keys.
func (a *Authenticator) Parts() []loop.Part {
	if a.keys == nil {
		return nil
	}
	return []loop.Part{a.keys}
}

// Authenticate judges a token.
func (a *Authenticator) Authenticate(ctx context.Context, credential authn.Credential) authn.Result {
	now := a.now()
	token := credential.Token()
	claims, known := a.recall(token, now)
	if !known {
		parsed, ok := parse(token)
		if !ok {
			return authn.Result{Outcome: authn.NotMine}
		}
		var err error
		if claims, err = a.verify(ctx, parsed, now); err != nil {
			return failure(err)
		}
	}
	return a.accept(ctx, claims)
}

// failure is the result for a token that was not verified: fault.Unavailable
// says that it could not be, everything else that it is no good.
func failure(err error) authn.Result {
	if fault.Is(err, fault.Unavailable) {
		return authn.Unanswered(err)
	}
	return authn.Reject(err)
}

// recall returns the claims of a token that was verified before, with the keys
// that are good now.
func (a *Authenticator) recall(token string, now time.Time) (claims, bool) {
	if a.keys == nil {
		return claims{}, false
	}
	keys := a.keys.current(now)
	if keys == nil {
		return claims{}, false
	}
	return a.tokens.recall(token, keys.generation, now)
}

// verify checks everything about a token that the token itself and the
// provider's keys can tell.
func (a *Authenticator) verify(ctx context.Context, t *token, now time.Time) (claims, error) {
	if a.keys == nil {
		return a.judge(t.payload, now)
	}
	if err := t.header.check(); err != nil {
		return claims{}, err
	}
	key, generation, err := a.keys.find(ctx, t.header.keyName, now)
	if err != nil {
		return claims{}, err
	}
	payload, err := t.verify(key)
	if err != nil {
		return claims{}, err
	}
	c, err := a.judge(payload, now)
	if err != nil {
		return claims{}, err
	}
	a.tokens.remember(t.text, c, generation, now)
	return c, nil
}

// accept makes a caller of what a token says.
func (a *Authenticator) accept(ctx context.Context, c claims) authn.Result {
	if c.org.Slug == "" {
		return authn.Reject(fault.New(fault.Unauthenticated, "JWT missing org claim"))
	}
	who := caller.Caller{Kind: caller.User, ID: c.subject, Role: c.role, Email: c.email, Expires: c.expires}
	resolve, verified := a.cfg.Orgs.ResolveToken, a.keys != nil
	if !verified {
		resolve = a.cfg.Orgs.ResolveKey
	}
	var err error
	who.Org, err = resolve(ctx, c.org)
	switch {
	case errors.Is(err, org.ErrNone) && verified:
		who.Claims = &caller.OrgClaim{Slug: c.org.Slug, Name: c.org.Name, Issuer: c.org.Issuer, ExternalID: c.org.ExternalID}
		return authn.Unhoused(who, err)
	case fault.Is(err, fault.Unauthenticated):
		return authn.Reject(err)
	case err != nil:
		return authn.Unanswered(fmt.Errorf("finding the organization of a token: %w", err))
	}
	return authn.Accept(who)
}
