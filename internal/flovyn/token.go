package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// TokenID identifies a worker token.
type TokenID uuid.UUID

// UUID returns the identifier's 16 bytes.
func (id TokenID) UUID() uuid.UUID { return uuid.UUID(id) }

func (id TokenID) String() string { return uuid.UUID(id).String() }

// WorkerToken is a credential for workers that this server issued. The text that
// a worker presents is nowhere but with the worker.
type WorkerToken struct {
	ID  TokenID
	Org OrgID
	// Prefix is how the text begins: enough to recognize it, not to use it.
	Prefix string
	// Hash is the keyed digest of the text.
	Hash        []byte
	Name        string
	Description string
	// CreatedBy names the principal or operator who made it.
	CreatedBy  string
	CreatedAt  time.Time
	LastUsedAt *time.Time
	// ExpiresAt is nil for a token that does not expire.
	ExpiresAt *time.Time
	RevokedAt *time.Time
}

// IsExpired reports whether the token's time is over.
func (t *WorkerToken) IsExpired(now time.Time) bool {
	return t.ExpiresAt != nil && !now.Before(*t.ExpiresAt)
}
