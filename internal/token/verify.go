package token

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// The reasons for which a text is no good, for the log.
var (
	errMalformed = errors.New("it is not a worker token of this server")
	errUnknown   = errors.New("no such worker token")
	errRevoked   = errors.New("the worker token is revoked")
	errExpired   = errors.New("the worker token has expired")
)

// Verify returns the token with a text. It fails with Unauthenticated when the
// text is not, or not any more, that of a token, and with Unavailable when that
// cannot be told.
func (t *Tokens) Verify(ctx context.Context, text string) (flovyn.WorkerToken, error) {
	if !t.isWellFormed(text) {
		return flovyn.WorkerToken{}, refused(errMalformed)
	}
	key, generation := t.digests.Digest(text), t.known.Generation()
	if known, ok := t.known.Get(key, t.cfg.Now()); ok {
		return known, nil
	}
	// Whoever comes after something was revoked does not wait for an answer from
	// before.
	flight := strconv.FormatUint(generation, 36) + string(key[:])
	found, err := t.flights.Do(ctx, flight, patience, func(ctx context.Context) (flovyn.WorkerToken, error) {
		found, err := t.recognize(ctx, text)
		if err == nil {
			until := t.cfg.Now().Add(believed)
			if found.ExpiresAt != nil && found.ExpiresAt.Before(until) {
				until = *found.ExpiresAt
			}
			t.known.Put(generation, key, found, until)
		}
		return found, err
	})
	if err != nil && !fault.Is(err, fault.Unauthenticated) {
		err = fault.Wrap(fault.Unavailable, err, "worker tokens cannot be checked at the moment; try again")
	}
	return found, err
}

// recognize looks a token up and judges it.
func (t *Tokens) recognize(ctx context.Context, text string) (flovyn.WorkerToken, error) {
	found, err := t.cfg.Store.WorkerTokenByPrefix(ctx, t.beginning(text))
	if fault.Is(err, fault.NotFound) {
		// As much work as for a token that exists.
		_, _ = t.matches(make([]byte, 32), text)
		return flovyn.WorkerToken{}, refused(errUnknown)
	}
	if err != nil {
		return flovyn.WorkerToken{}, fmt.Errorf("looking up a worker token: %w", err)
	}
	current, ok := t.matches(found.Hash, text)
	switch {
	case !ok:
		return flovyn.WorkerToken{}, refused(errUnknown)
	case found.RevokedAt != nil:
		return flovyn.WorkerToken{}, refused(errRevoked)
	case found.IsExpired(t.cfg.Now()):
		return flovyn.WorkerToken{}, refused(errExpired)
	}
	t.noteUse(ctx, &found, current)
	return found, nil
}

// matches compares a stored digest with those of a text, and returns the digest
// under the current secret. It takes as long for a wrong text as for a right one.
func (t *Tokens) matches(stored []byte, text string) (current []byte, ok bool) {
	current = digest(t.cfg.Secret, text)
	ok = hmac.Equal(stored, current)
	if t.cfg.PreviousSecret != "" {
		previous := hmac.Equal(stored, digest(t.cfg.PreviousSecret, text))
		ok = ok || previous
	}
	return current, ok
}

// noteUse writes down that a token is in use, and puts it under the current
// secret. A failure harms nobody: it is tried again with the next look.
func (t *Tokens) noteUse(ctx context.Context, found *flovyn.WorkerToken, current []byte) {
	now := t.cfg.Now()
	noted := found.LastUsedAt != nil && now.Sub(*found.LastUsedAt) < usedEvery
	settled := now.Sub(t.begun) >= rollout
	if noted && (!settled || hmac.Equal(found.Hash, current)) {
		return
	}
	touched := *found
	if settled {
		touched.Hash = current
	}
	if err := t.cfg.Store.TouchWorkerToken(ctx, &touched); err != nil {
		t.cfg.Log.WarnContext(ctx, "the use of a worker token was not noted",
			slog.String("token", found.ID.String()), slog.Any("error", err))
	}
}

func refused(reason error) error {
	return fault.Wrap(fault.Unauthenticated, reason, "missing or invalid credentials")
}
