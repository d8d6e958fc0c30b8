package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/flovyn/flovyn-server/internal/audit"
	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/rpc"
)

// The doors, and the name of a listener that serves both.
const (
	httpDoor  = "http"
	grpcDoor  = "grpc"
	bothDoors = "http and grpc"
)

// door is a port with the handler that serves it.
type door struct {
	name    string
	port    int
	handler http.Handler
}

// protection is what stands between a door and everything behind it.
type protection struct {
	chain      *authn.Chain
	authorizer authz.Authorizer
	excludes   *authn.Excludes
}

// protections are those of the open doors, by name. As an authorizer they ask
// that of the door through which the call came: the listener decides, never the
// client.
type protections map[string]*protection

type doorKey struct{}

// Authorize asks the authorizer of the door; a call through no door is denied.
func (p protections) Authorize(ctx context.Context, r authz.Request) error {
	name, _ := ctx.Value(doorKey{}).(string)
	protection, ok := p[name]
	if !ok {
		return fault.New(fault.Denied, "Access denied: the call came through no door")
	}
	return protection.authorizer.Authorize(ctx, r)
}

// protections makes the chain and the authorizer of every open door.
func (s *Server) protections(ctx context.Context) (protections, error) {
	endpoints := map[string]config.Endpoint{httpDoor: s.cfg.Auth.Endpoints.HTTP, grpcDoor: s.cfg.Auth.Endpoints.GRPC}
	all := protections{}
	for name, endpoint := range endpoints {
		if !endpoint.Enabled {
			continue
		}
		p, err := s.protection(ctx, name, endpoint)
		if err != nil {
			return nil, fmt.Errorf("preparing the %s door: %w", name, err)
		}
		all[name] = p
	}
	return all, nil
}

func (s *Server) protection(ctx context.Context, name string, endpoint config.Endpoint) (*protection, error) {
	p := &protection{}
	var err error
	open := append(authz.PublicProcedures(), resourceMetadataPath)
	if p.excludes, err = authn.NewExcludes(append(open, endpoint.ExcludePaths...)...); err != nil {
		return nil, err
	}
	if !s.cfg.Auth.Enabled {
		p.chain = authn.Disabled()
		p.authorizer = authz.NewNoop(ctx, s.log, "auth.enabled is false, at the "+name+" door")
		return p, nil
	}
	if p.chain, err = s.chain(endpoint.Authenticators); err != nil {
		return nil, err
	}
	p.authorizer, err = s.authorizer(ctx, name, endpoint)
	return p, err
}

func (s *Server) chain(names []string) (*authn.Chain, error) {
	authenticators := make([]authn.Authenticator, 0, len(names))
	for _, name := range names {
		a, err := s.authenticator(name)
		if err != nil {
			return nil, fmt.Errorf("preparing the authenticator %s: %w", name, err)
		}
		authenticators = append(authenticators, a)
	}
	return authn.NewChain(authenticators...)
}

func (s *Server) authorizer(ctx context.Context, name string, endpoint config.Endpoint) (authz.Authorizer, error) {
	switch kind := endpoint.AuthorizerKind(); kind {
	case config.AuthorizerCedar:
		return authz.NewCedar(authz.CedarConfig{PolicyPath: s.cfg.Auth.Cedar.PolicyPath, Log: s.log})
	case config.AuthorizerOrgScope:
		return authz.OrgScope{}, nil
	case config.AuthorizerNoop:
		return authz.NewNoop(ctx, s.log, "auth.endpoints."+name+".authorizer is "+endpoint.Authorizer), nil
	default:
		return nil, fault.Bug("no authorizer %q", kind)
	}
}

// openDoors makes the handler of every port. With one port for both doors the
// protocol decides: gRPC and gRPC-Web are the grpc door's, all else is the http
// door's.
func (s *Server) openDoors(all protections) []*door {
	refuse := rpc.NewRefuse(s.rpc)
	guarded := map[string]http.Handler{}
	for name, p := range all {
		guarded[name] = s.protect(name, p, refuse)
	}
	if s.cfg.Server.OneListener() {
		return []*door{{name: bothDoors, port: s.cfg.Server.HTTPPort, handler: s.outermost(byProtocol(guarded), refuse)}}
	}
	var doors []*door
	for _, d := range []*door{{name: httpDoor, port: s.cfg.Server.HTTPPort}, {name: grpcDoor, port: s.cfg.Server.GRPCPort}} {
		if handler, open := guarded[d.name]; open {
			d.handler = s.outermost(handler, refuse)
			doors = append(doors, d)
		}
	}
	return doors
}

// protect puts the authentication of a door before everything.
func (s *Server) protect(name string, p *protection, refuse authn.Refuse) http.Handler {
	authenticated := authn.Middleware{
		Chain: p.chain, Excludes: p.excludes, Refuse: refuse, Log: s.log, Observe: s.countPassages(name),
		Founding: founding, Refused: s.noteStranger,
	}.Wrap(s.handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authenticated.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), doorKey{}, name)))
	})
}

// foundingPath is where organizations are created over REST.
const foundingPath = "/api/orgs"

// founding reports whether a request is to create an organization: as a
// procedure, or over REST.
func founding(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.RawPath == "" && (r.URL.Path == authz.CreateOrganization || r.URL.Path == foundingPath)
}

// noteStranger leaves an audit record of a request that nobody recognizes.
// The self-test's has come from nowhere.
func (s *Server) noteStranger(r *http.Request, err error) {
	if r.RemoteAddr == "" {
		return
	}
	procedure := r.URL.Path
	if _, known := authz.Lookup(procedure); !known {
		procedure = r.Method + " " + procedure
	}
	s.audit.Note(r.Context(), r.RemoteAddr, audit.Event{Procedure: procedure, Outcome: flovyn.AuditDenied, Reason: err.Error()})
}

func byProtocol(doors map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := httpDoor
		if rpc.IsGRPC(r) {
			name = grpcDoor
		}
		handler, open := doors[name]
		if !open {
			handler = http.HandlerFunc(notFound)
		}
		handler.ServeHTTP(w, r)
	})
}
