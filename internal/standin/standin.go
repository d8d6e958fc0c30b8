// Package standin is an identity provider that stands in for a Flovyn App: in
// the tests of everything that asks one, and behind `flovyn-server dev`.
//
// It does over HTTP what a Flovyn App does (which is Better Auth with its jwt,
// organization, apiKey, bearer and deviceAuthorization plugins), with the same
// paths, bodies and error codes:
//
//	GET  /.well-known/jwks.json, /api/auth/jwks   the public keys
//	GET  /api/auth/token                          a JWT for a session
//	GET  /api/auth/get-session                    whose session it is
//	POST /api/auth/organization/set-active        for which organization
//	POST /api/auth/device/code, device/token      signing in a device
//	GET  /api/auth/device                         what became of a code
//	POST /api/auth/device/approve, device/deny    a person's decision
//	GET  /device                                  a page to make it on
//	POST /api/auth/validate-key                   whether an API key is good
//
// What differs: there are no passwords. On its page a person picks who to be,
// and in a program SignIn says so. It therefore listens on the loopback address
// and nowhere else, answers requests only for that address (a name that somebody
// else points there is refused), and takes no form from a page of another site.
//
// Users, organizations, memberships and API keys are made by methods of App.
// Nothing is stored. Tokens are signed here with the standard library alone: it
// shares no code with the server that verifies them, so that a mistake cannot
// cancel itself out.
//
// For tests each path can be made to fail (Fail), and its requests are counted
// (Requests).
package standin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Config says what differs from the usual. The zero value is a stand-in on a
// free port that signs with Ed25519.
type Config struct {
	// Address to listen on, which must be a loopback address. Default
	// "127.0.0.1:0", a free port.
	Address string
	// Algorithm signs tokens: EdDSA, RS256 or ES256. Default EdDSA.
	Algorithm string
	// Audience is the aud of tokens. Default "flovyn-server".
	Audience string
	// TokenLifetime is that of a token. Default 5 minutes.
	TokenLifetime time.Duration
	// SessionLifetime is that of a session. Default 7 days.
	SessionLifetime time.Duration
	// DeviceLifetime is that of a device code. Default 30 minutes.
	DeviceLifetime time.Duration
	// PollInterval is how long a device waits between two questions. Default 5 s.
	PollInterval time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (cfg *Config) fillDefaults() {
	cfg.Address = cmp.Or(cfg.Address, "127.0.0.1:0")
	cfg.Algorithm = cmp.Or(cfg.Algorithm, EdDSA)
	cfg.Audience = cmp.Or(cfg.Audience, "flovyn-server")
	cfg.TokenLifetime = cmp.Or(cfg.TokenLifetime, 5*time.Minute)
	cfg.SessionLifetime = cmp.Or(cfg.SessionLifetime, 7*24*time.Hour)
	cfg.DeviceLifetime = cmp.Or(cfg.DeviceLifetime, 30*time.Minute)
	cfg.PollInterval = cmp.Or(cfg.PollInterval, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// App is a running stand-in.
type App struct {
	cfg     Config
	url     string
	server  *http.Server
	handler http.Handler
	serving sync.WaitGroup
	cancel  context.CancelFunc // ends requests that are being answered

	mu sync.Mutex // guards everything below
	directory
	signers  []*signer // the last one signs; all are published
	sessions map[string]*session
	devices  map[string]*device // by device code
	faults   map[string]Fault
	requests map[string]int
}

// Start starts a stand-in. Close stops it.
func Start(ctx context.Context, cfg Config) (*App, error) {
	cfg.fillDefaults()
	a := &App{
		cfg: cfg, directory: newDirectory(), sessions: map[string]*session{}, devices: map[string]*device{},
		faults: map[string]Fault{}, requests: map[string]int{},
	}
	if err := a.Rotate(cfg.Algorithm); err != nil {
		return nil, err
	}
	if err := checkLoopback(cfg.Address); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listening for the stand-in identity provider: %w", err)
	}
	a.url = "http://" + listener.Addr().String()
	a.handler = a.guard(a.routes())
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	a.server = &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return base },
	}
	a.serving.Go(func() {
		// It ends by Close; an accept that failed leaves a stand-in that does not
		// answer, which its users notice.
		_ = a.server.Serve(listener)
	})
	return a, nil
}

// checkLoopback refuses to listen where others could be served: whoever reaches
// the stand-in can be anybody.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading the address of the stand-in identity provider: %w", err)
	}
	if !isLoopback(host) {
		return errors.New("the stand-in identity provider has no passwords and listens only on a loopback address, such as 127.0.0.1")
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || (err == nil && address.IsLoopback())
}

// URL is the base URL, which is also the issuer of its tokens.
func (a *App) URL() string { return a.url }

// JWKSURI is where the keys are.
func (a *App) JWKSURI() string { return a.url + jwksPath }

// ValidationURL is where API keys are validated.
func (a *App) ValidationURL() string { return a.url + validateKeyPath }

// Handler answers without the network.
func (a *App) Handler() http.Handler { return a.handler }

// Close stops the stand-in at once, and returns when it has stopped.
func (a *App) Close() error {
	a.cancel()
	err := a.server.Close()
	a.serving.Wait()
	if err != nil {
		return fmt.Errorf("stopping the stand-in identity provider: %w", err)
	}
	return nil
}

// The paths that others are configured with.
const (
	jwksPath        = "/.well-known/jwks.json"
	validateKeyPath = "/api/auth/validate-key"
)

func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET " + jwksPath:                        a.serveJWKS,
		"GET /api/auth/jwks":                     a.serveJWKS,
		"GET /api/auth/token":                    a.serveToken,
		"GET /api/auth/get-session":              a.serveSession,
		"POST /api/auth/organization/set-active": a.serveSetActive,
		"POST /api/auth/device/code":             a.serveDeviceCode,
		"POST /api/auth/device/token":            a.serveDeviceToken,
		"GET /api/auth/device":                   a.serveDevice,
		"POST /api/auth/device/approve":          a.serveDecision(approved),
		"POST /api/auth/device/deny":             a.serveDecision(denied),
		"POST " + validateKeyPath:                a.serveValidateKey,
		"GET /device":                            a.servePage,
		"POST /device":                           a.servePageDecision,
		"POST /sign-in":                          a.serveSignIn,
	} {
		mux.HandleFunc(pattern, handler)
	}
	return mux
}

// maxBody bounds a request; none of them has much to say.
const maxBody = 64 << 10

// guard keeps out what a web page elsewhere could send through the browser of
// whoever runs the stand-in, counts, and fails where it was told to.
func (a *App) guard(next http.Handler) http.Handler {
	sameSite := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) {
			http.Error(w, "the stand-in identity provider answers only for this machine", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if fault := a.count(r.URL.Path); fault != nil {
			fault(w, r)
			return
		}
		sameSite.ServeHTTP(w, r)
	})
}
