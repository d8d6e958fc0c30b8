// Package token issues worker tokens and recognizes them.
//
// A token is random text behind a prefix. Its beginning is stored as it is, to
// find the token by; of the whole text only a keyed digest is stored, so that
// whoever reads the database cannot act as a worker, and whoever writes to it
// cannot make a token without the server's secret. The text is shown once, to
// whoever creates the token.
//
//	fwt_ 0123456789ab 0123456789abcdef0123456789abcdef
//	---- ------------ --------------------------------
//	     found by it  known by its digest
//
// # Rotating the secret
//
// Two secrets are valid at a time: digests are made under the current one, and
// tokens are recognized under the previous one too. A server that has run for
// longer than a rollout takes puts a token that is used under the current
// secret, so that the previous one can be taken away once every token has been
// used. It waits because a server that has not been rolled out yet would refuse
// such a token, and workers give up a credential that is refused.
//
// # Revoking
//
// A token that was recognized is believed for half a minute without a look at
// the database. Revoking it is announced to the other servers, which forget it
// at once.
package token

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/lookup"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

const (
	// believed is how long a recognized token is not looked at again.
	believed = 30 * time.Second
	// remembered bounds how many tokens are recognized without a look.
	remembered = 10_000
	// patience bounds one look at the database.
	patience = 5 * time.Second
	// rollout is after which time every server is believed to know both secrets.
	rollout = 15 * time.Minute
	// usedEvery is how often the use of a token is noted.
	usedEvery = time.Minute
)

// Config is what Tokens needs.
type Config struct {
	Store *postgres.Store
	// Prefix begins every token.
	Prefix string
	// Secret keys the digests. Required.
	Secret string
	// PreviousSecret keyed them before; empty if there was none.
	PreviousSecret string
	// Publish tells the other servers that a token is no good any more.
	Publish func(context.Context, flovyn.OrgID, flovyn.TokenID) error
	Log     *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Tokens are the worker tokens of this server's database. Methods are safe for
// concurrent use.
type Tokens struct {
	cfg     Config
	begun   time.Time
	digests *lookup.Digester
	known   *lookup.Cache[lookup.Digest, flovyn.WorkerToken]
	flights lookup.Flights[flovyn.WorkerToken]
}

// New makes Tokens; without a secret it refuses to.
func New(cfg Config) (*Tokens, error) {
	if cfg.Secret == "" {
		return nil, errors.New("worker tokens need a secret")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Tokens{
		cfg: cfg, begun: cfg.Now(), digests: lookup.NewDigester(),
		known: lookup.NewCache[lookup.Digest, flovyn.WorkerToken](remembered),
	}, nil
}

// Request says which token to make.
type Request struct {
	Org flovyn.OrgID
	// Name and Description are for people. A name is required.
	Name        string
	Description string
	// CreatedBy names who asks.
	CreatedBy string
	// ExpiresAt ends the token's life; nil does not.
	ExpiresAt *time.Time
}

// Create makes a token and returns it with its text, which nobody will see
// again.
func (t *Tokens) Create(ctx context.Context, r Request) (flovyn.WorkerToken, string, error) {
	if err := t.check(r); err != nil {
		return flovyn.WorkerToken{}, "", err
	}
	text := t.cfg.Prefix + random(publicLength+secretLength)
	made, err := t.cfg.Store.CreateWorkerToken(ctx, &flovyn.WorkerToken{
		ID: flovyn.TokenID(flovyn.NewUUID()), Org: r.Org, Prefix: t.beginning(text), Hash: digest(t.cfg.Secret, text),
		Name: strings.TrimSpace(r.Name), Description: r.Description, CreatedBy: r.CreatedBy, ExpiresAt: r.ExpiresAt,
	})
	if err != nil {
		return flovyn.WorkerToken{}, "", fmt.Errorf("storing a worker token: %w", err)
	}
	return made, text, nil
}

func (t *Tokens) check(r Request) error {
	switch {
	case strings.TrimSpace(r.Name) == "":
		return fault.InvalidField("name", "required")
	case len(r.Name) > flovyn.MaxNameLength:
		return fault.InvalidField("name", "longer than %d bytes", flovyn.MaxNameLength)
	case len(r.Description) > maxDescription:
		return fault.InvalidField("description", "longer than %d bytes", maxDescription)
	case r.ExpiresAt != nil && !t.cfg.Now().Before(*r.ExpiresAt):
		return fault.InvalidField("expires_at", "is in the past")
	default:
		return nil
	}
}

// List returns the tokens of an organization, the oldest first, also those that
// are no good any more.
func (t *Tokens) List(ctx context.Context, org flovyn.OrgID) ([]flovyn.WorkerToken, error) {
	tokens, err := t.cfg.Store.WorkerTokens(ctx, org)
	if err != nil {
		return nil, fmt.Errorf("listing worker tokens: %w", err)
	}
	return tokens, nil
}

// Page returns tokens of an organization, the newest first, also those that are
// no good any more, and how many there are.
func (t *Tokens) Page(ctx context.Context, org flovyn.OrgID, limit, offset int) ([]flovyn.WorkerToken, int, error) {
	page, total, err := t.cfg.Store.WorkerTokenPage(ctx, org, limit, offset)
	if err != nil {
		return nil, 0, fmt.Errorf("listing worker tokens: %w", err)
	}
	return page, total, nil
}

// Get returns a token of an organization. NotFound when the organization has no
// such token.
func (t *Tokens) Get(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) (flovyn.WorkerToken, error) {
	found, err := t.cfg.Store.WorkerToken(ctx, org, id)
	if err != nil {
		return flovyn.WorkerToken{}, absent(err, id, "reading")
	}
	return found, nil
}

// absent says of a failure that there is no such token, or what was being done.
func absent(err error, id flovyn.TokenID, doing string) error {
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.NotFound, err, "worker token %s not found", id)
	}
	return fmt.Errorf("%s the worker token %s: %w", doing, id, err)
}

// Revoke ends a token of an organization for good, here at once and on the other
// servers as soon as they hear of it. NotFound when the organization has no such
// token.
func (t *Tokens) Revoke(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) error {
	if _, err := t.cfg.Store.RevokeWorkerToken(ctx, org, id); err != nil {
		return absent(err, id, "revoking")
	}
	t.Forget(id)
	if err := t.cfg.Publish(ctx, org, id); err != nil {
		return fmt.Errorf("telling the other servers that the worker token %s is revoked: %w", id, err)
	}
	return nil
}

// Forget drops what is known of a token.
func (t *Tokens) Forget(id flovyn.TokenID) {
	t.known.Forget(func(known flovyn.WorkerToken) bool { return known.ID == id })
}

// ForgetAll drops everything that is known.
func (t *Tokens) ForgetAll() { t.known.ForgetAll() }

// Close returns when no look-up is under way any more.
func (t *Tokens) Close() { t.flights.Close() }

// digest is what is stored of a token.
func digest(secret, text string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
