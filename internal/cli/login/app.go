// Package login talks to the Flovyn App on behalf of a person: it signs a device
// in by the device flow of RFC 8628, and gets from the session that follows the
// short-lived tokens that a server accepts.
//
// What the device flow yields is a session at the app, not a token for the
// server. A session goes back to the app that it came from and nowhere else; a
// token for the server is minted from it whenever the one before has ended.
package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// callTimeout bounds one call.
const callTimeout = 30 * time.Second

// App is a Flovyn App.
type App struct {
	url  string
	base string // of the paths: /api/auth, or /auth where that is not there
	http *http.Client
}

// NewApp returns the app at an address.
func NewApp(address string) (*App, error) {
	address = strings.TrimRight(address, "/")
	if !client.Confidential(address) {
		return nil, fault.New(fault.Invalid, "%q is no address of a Flovyn App; want one with https, such as https://app.example.com", address)
	}
	return &App{url: address, base: "/api/auth", http: &http.Client{
		Timeout: callTimeout,
		// A redirect could carry a session elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// URL is the app's address.
func (a *App) URL() string { return a.url }

// refusal is an answer of the app that is no success.
type refusal struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Message     string `json:"message"`
}

func (r *refusal) Error() string {
	for _, text := range []string{r.Description, r.Message, r.Code} {
		if text != "" {
			return text
		}
	}
	return fmt.Sprintf("the answer has status %d", r.status)
}

// call makes one call. An answer with another status than 200 is a *refusal.
func (a *App) call(ctx context.Context, method, path, session string, body, answer any) error {
	var payload io.Reader = http.NoBody
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding a request to the Flovyn App: %w", err)
		}
		payload = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url+a.base+path, payload)
	if err != nil {
		return fmt.Errorf("calling the Flovyn App: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		r.Header.Set("Authorization", "Bearer "+session)
	}
	response, err := a.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fault.Wrap(fault.Unavailable, err, "the Flovyn App at %s does not answer", a.url)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "the answer of the Flovyn App at %s broke off", a.url)
	}
	if response.StatusCode != http.StatusOK {
		refused := &refusal{status: response.StatusCode}
		_ = json.Unmarshal(text, refused) // a page instead of JSON says nothing more
		return refused
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fault.Wrap(fault.Unavailable, err, "%s does not answer as a Flovyn App does", a.url+a.base+path)
	}
	return nil
}

// explain says what was tried when the app refused.
func (a *App) explain(err error, doing string) error {
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case !ok:
		return err
	case refused.status == http.StatusUnauthorized:
		return fault.New(fault.Unauthenticated, "%s: the session at %s has ended", doing, a.url)
	case refused.status == http.StatusForbidden:
		return fault.New(fault.Denied, "%s: %v", doing, refused)
	case refused.status == http.StatusTooManyRequests:
		return fault.New(fault.Unavailable, "%s: %s asks to wait for a while", doing, a.url)
	default:
		return fault.New(fault.Unavailable, "%s: %s says: %v", doing, a.url, refused)
	}
}

// Token mints a token for the server from a session.
func (a *App) Token(ctx context.Context, session string) (string, error) {
	var answer struct{ Token string }
	if err := a.call(ctx, http.MethodGet, "/token", session, nil, &answer); err != nil {
		return "", a.explain(err, "renewing the token")
	}
	if answer.Token == "" {
		return "", fault.New(fault.Unavailable, "%s gave no token", a.url)
	}
	return answer.Token, nil
}

// SetOrg makes an organization the one that the session's tokens are for.
func (a *App) SetOrg(ctx context.Context, session, slug string) error {
	var answer json.RawMessage
	err := a.call(ctx, http.MethodPost, "/organization/set-active", session, map[string]string{"organizationSlug": slug}, &answer)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status != http.StatusUnauthorized {
		return fault.New(fault.Denied, "organization %s: %v", slug, refused)
	}
	return a.explain(err, "choosing the organization "+slug)
}

// A Person is whose session it is.
type Person struct {
	Email     string
	ExpiresAt time.Time
}

// Person returns whose session it is and when it ends.
func (a *App) Person(ctx context.Context, session string) (Person, error) {
	var answer struct {
		Session struct{ ExpiresAt time.Time }
		User    struct{ Email string }
	}
	if err := a.call(ctx, http.MethodGet, "/get-session", session, nil, &answer); err != nil {
		return Person{}, a.explain(err, "asking whose session it is")
	}
	return Person{Email: answer.User.Email, ExpiresAt: answer.Session.ExpiresAt}, nil
}

// Claims are what the CLI reads from a token. It does not verify it: it has it
// from the app itself, and the server judges it.
type Claims struct {
	Email   string
	Expires time.Time
	Org     string
}

// ReadClaims reads the claims of a token.
func ReadClaims(token string) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, errors.New("it has not the form of a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, fmt.Errorf("reading the claims of a token: %w", err)
	}
	var claims struct {
		Email string
		Exp   float64
		Org   struct{ Slug string }
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Claims{}, fmt.Errorf("reading the claims of a token: %w", err)
	}
	return Claims{Email: claims.Email, Expires: time.Unix(int64(claims.Exp), 0).UTC(), Org: claims.Org.Slug}, nil
}

// SignOut ends a session.
func (a *App) SignOut(ctx context.Context, session string) error {
	var answer json.RawMessage
	if err := a.call(ctx, http.MethodPost, "/sign-out", session, map[string]string{}, &answer); err != nil {
		return a.explain(err, "ending the session")
	}
	return nil
}
