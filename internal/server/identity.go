package server

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/authn/jwt"
	"github.com/flovyn/flovyn-server/internal/authn/statickey"
	"github.com/flovyn/flovyn-server/internal/authn/workertoken"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/token"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// authenticators are those of all chains, by name. Doors share them, so that
// what is asked of an identity provider, and remembered, is asked once.
type authenticators map[string]authn.Authenticator

// authenticator returns a link of a chain, making it for the first chain that
// has it.
func (s *Server) authenticator(name string) (authn.Authenticator, error) {
	if a, made := s.known[name]; made {
		return a, nil
	}
	a, err := s.makeAuthenticator(name)
	if err != nil {
		return nil, err
	}
	if s.known == nil {
		s.known = authenticators{}
	}
	s.known[name] = a
	return a, nil
}

// makeAuthenticator makes a link. Configurations that name others do not pass
// their check.
func (s *Server) makeAuthenticator(name string) (authn.Authenticator, error) {
	switch name {
	case statickey.Name:
		keys := make([]statickey.Key, len(s.cfg.Auth.StaticAPIKey.Keys))
		for i, k := range s.cfg.Auth.StaticAPIKey.Keys {
			keys[i] = statickey.Key{Secret: string(k.Key), Caller: k.Caller()}
		}
		return statickey.New(keys)
	case jwt.BetterAuthName:
		return s.signedTokens(name, s.cfg.Auth.BetterAuthJWT)
	case jwt.Name:
		return s.signedTokens(name, s.cfg.Auth.JWT)
	case apikey.Name:
		return s.apiKeys()
	case workertoken.Name:
		return s.workerTokens()
	default:
		return nil, fault.Bug("no authenticator %q", name)
	}
}

func (s *Server) signedTokens(name string, settings config.JWT) (authn.Authenticator, error) {
	return jwt.New(jwt.Config{
		Name: name, JWKSURI: settings.JWKSURI, Issuer: settings.Issuer, Audience: settings.Audience,
		SkipVerification: settings.SkipVerification, Orgs: s.orgs, Log: s.log,
	})
}

func (s *Server) apiKeys() (authn.Authenticator, error) {
	settings := s.cfg.Auth.BetterAuth
	return apikey.New(apikey.Config{
		URL: settings.ValidationURL, Timeout: settings.Timeout, Issuer: s.cfg.Auth.BetterAuthJWT.Issuer,
		DefaultUserRole: settings.DefaultUserRole, AllowService: settings.AllowService, Orgs: s.orgs, Log: s.log,
	})
}

func (s *Server) workerTokens() (authn.Authenticator, error) {
	settings := s.cfg.Auth.WorkerToken
	if settings.Secret == "" {
		return workertoken.Closed{Prefix: settings.Prefix}, nil
	}
	tokens, err := token.New(token.Config{
		Store: s.store, Prefix: settings.Prefix, Secret: string(settings.Secret), PreviousSecret: string(settings.PreviousSecret), Log: s.log,
		Publish: func(_ context.Context, org flovyn.OrgID, id flovyn.TokenID) error {
			s.bus.Publish(wake.HintToken, wake.Key{Org: org, Queue: id.String()})
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	s.tokens = tokens
	return workertoken.New(tokens), nil
}

// startIdentity starts what authenticators do in the background: those that do
// something have Parts. It waits for no identity provider.
func (s *Server) startIdentity(ctx context.Context) error {
	var parts []loop.Part
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		if busy, ok := s.known[name].(interface{ Parts() []loop.Part }); ok {
			parts = append(parts, busy.Parts()...)
		}
	}
	s.identity = loop.NewGroup("identity", parts...)
	if err := s.identity.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting the authenticators: %w", err)
	}
	return nil
}

// closeIdentity ends what authenticators do in the background: those that do
// something have a Close.
func (s *Server) closeIdentity() {
	if s.identity != nil {
		s.identity.Stop()
	}
	for _, a := range s.known {
		if closer, ok := a.(interface{ Close() }); ok {
			closer.Close()
		}
	}
	if s.tokens != nil {
		s.tokens.Close()
	}
	s.orgs.Close()
}

// forgetToken looks again at a worker token that another server revoked.
func (s *Server) forgetToken(id string) {
	parsed, err := uuid.Parse(id)
	if err != nil || s.tokens == nil {
		return
	}
	s.tokens.Forget(flovyn.TokenID(parsed))
}

// forgetIdentities looks again at everything that another server may have
// changed.
func (s *Server) forgetIdentities() {
	s.orgs.ForgetAll()
	if s.tokens != nil {
		s.tokens.ForgetAll()
	}
}

// publishOrg tells the other servers that an organization changed.
func (s *Server) publishOrg(id flovyn.OrgID) { s.bus.Publish(wake.HintOrg, wake.Key{Org: id}) }
