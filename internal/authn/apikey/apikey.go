// Package apikey authenticates by API keys that an identity provider issued and
// alone can judge.
//
// A key is recognized by its prefix: flovyn_sk_ for users, flovyn_wk_ for
// workers. Nothing else is ever sent to the provider. It is asked with
//
//	POST <validation_url>   {"apiKey": "flovyn_sk_..."}
//
// and answers 200 with a JSON object that says whether the key is valid, for
// whom, and in which organization. What becomes of its answers:
//
//	valid, of a known organization          accepted
//	not valid, or contradicting itself      rejected
//	400, 401, 403, 404                      rejected, and logged: the server is misconfigured
//	429, 5xx, redirects, no JSON, silence   unavailable: the key may be good
//
// The last line matters most. A worker gives up a credential that is refused, so
// that a provider's bad hour must not look like a bad key.
//
// The provider counts each question against the key's rate limit, and a worker
// asks often. So a valid key is believed for a minute and an invalid one for
// ten seconds, everybody who presents the same key at the same time shares one
// question, and only so many questions are under way at a time. What could not
// be told is not remembered. Keys are neither kept nor logged: digests under a
// key of this process stand for them.
package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/lookup"
	"github.com/flovyn/flovyn-server/internal/org"
)

// Name is the authenticator's name in the configuration.
const Name = "better_auth_api_key"

const (
	// believed is how long a valid key is not asked about again.
	believed = time.Minute
	// disbelieved is how long an invalid one is not. A key that was made a moment
	// too late should work soon.
	disbelieved = 10 * time.Second
	// rememberedValid and rememberedInvalid bound how many are remembered. They are
	// apart, so that guessing pushes no valid key out.
	rememberedValid, rememberedInvalid = 10_000, 1_000
	// maxQuestions bounds the questions under way.
	maxQuestions = 32
)

// Config is what an Authenticator needs.
type Config struct {
	// URL answers whether a key is valid.
	URL string
	// Timeout bounds one question, waiting for its turn included.
	Timeout time.Duration
	// Issuer is the provider's name in tokens, to which organizations are bound;
	// empty if it issues none.
	Issuer string
	// DefaultUserRole is the role of a user of whom the provider says none.
	DefaultUserRole caller.Role
	// AllowService accepts keys of services.
	AllowService bool
	// Orgs finds the organization of a key.
	Orgs *org.Resolver
	Log  *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Authenticator asks the provider. Close it after use.
type Authenticator struct {
	cfg     Config
	client  *http.Client
	digests *lookup.Digester
	valid   *lookup.Cache[lookup.Digest, verdict]
	invalid *lookup.Cache[lookup.Digest, error]
	flights lookup.Flights[verdict]
	turns   chan struct{}
}

var _ authn.Authenticator = (*Authenticator)(nil)

// CheckURL returns what keeps a URL from being asked about keys: they must not
// travel in the clear, unless they stay on this machine.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("want a URL that begins with https://")
	}
	if u.Scheme == "https" || (u.Scheme == "http" && isLoopback(u.Hostname())) {
		return nil
	}
	return errors.New("want a URL that begins with https://, because keys are sent there (http:// only for this machine itself)")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// New makes an authenticator. It asks nobody yet.
func New(cfg Config) (*Authenticator, error) {
	if err := CheckURL(cfg.URL); err != nil {
		return nil, fmt.Errorf("the validation URL: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Authenticator{
		cfg: cfg, client: newClient(), digests: lookup.NewDigester(),
		valid:   lookup.NewCache[lookup.Digest, verdict](rememberedValid),
		invalid: lookup.NewCache[lookup.Digest, error](rememberedInvalid),
		turns:   make(chan struct{}, maxQuestions),
	}, nil
}

// Name returns "better_auth_api_key".
func (*Authenticator) Name() string { return Name }

// Close ends the questions under way, and the connections.
func (a *Authenticator) Close() {
	a.flights.Close()
	a.client.CloseIdleConnections()
}

// Authenticate judges a key.
func (a *Authenticator) Authenticate(ctx context.Context, credential authn.Credential) authn.Result {
	if kindOf(credential.Token()) == "" {
		return authn.Result{Outcome: authn.NotMine}
	}
	v, err := a.judge(ctx, credential.Token())
	if err != nil {
		return conclude(err)
	}
	// The organization is looked up each time: its resolver forgets at once what
	// changed.
	id, err := a.cfg.Orgs.ResolveKey(ctx, org.TokenOrg{Issuer: a.cfg.Issuer, ExternalID: v.externalOrg, Slug: v.slug})
	if err != nil {
		return conclude(err)
	}
	return authn.Accept(caller.Caller{Kind: v.kind, ID: v.id, Org: id, Role: v.role})
}

// conclude tells a key that is no good from one of which that is not known.
func conclude(err error) authn.Result {
	var no *invalidError
	if errors.As(err, &no) || fault.Is(err, fault.Unauthenticated) {
		return authn.Reject(err)
	}
	return authn.Unanswered(err)
}

// judge returns what is known of a key, or else asks. An error is an
// *invalidError if the key is no good.
func (a *Authenticator) judge(ctx context.Context, key string) (verdict, error) {
	digest, now := a.digests.Digest(key), a.cfg.Now()
	if v, ok := a.valid.Get(digest, now); ok {
		return v, nil
	}
	if err, ok := a.invalid.Get(digest, now); ok {
		return verdict{}, err
	}
	return a.flights.Do(ctx, string(digest[:]), a.cfg.Timeout, func(ctx context.Context) (verdict, error) {
		v, err := a.ask(ctx, key)
		var no *invalidError
		switch {
		case err == nil:
			a.valid.Put(a.valid.Generation(), digest, v, a.cfg.Now().Add(believed))
		case errors.As(err, &no):
			a.invalid.Put(a.invalid.Generation(), digest, err, a.cfg.Now().Add(disbelieved))
		}
		return v, err
	})
}

// verdict is what a valid key stands for.
type verdict struct {
	kind caller.Kind
	id   string
	role caller.Role
	// slug names the organization; externalOrg is its id at the provider, or
	// empty.
	slug, externalOrg string
}

// invalidError says why a key is no good.
type invalidError struct{ reason string }

func (e *invalidError) Error() string { return e.reason }

func invalid(format string, args ...any) error {
	return &invalidError{fmt.Sprintf(format, args...)}
}
