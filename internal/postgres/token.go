package postgres

import (
	"context"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// CreateWorkerToken stores a token and returns it as it is stored; Exists when
// its prefix is taken.
func (s *Store) CreateWorkerToken(ctx context.Context, t *flovyn.WorkerToken) (flovyn.WorkerToken, error) {
	r, err := s.q.WorkerTokenInsert(ctx, s.pool, &pgq.WorkerTokenInsertParams{
		ID: t.ID.UUID(), OrgID: t.Org.UUID(), TokenPrefix: t.Prefix, TokenHash: t.Hash, DisplayName: t.Name,
		Description: t.Description, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt,
	})
	return row(r, err, workerTokenOf)
}

// WorkerTokenByPrefix returns the token that begins so; NotFound when there is
// none.
func (s *Store) WorkerTokenByPrefix(ctx context.Context, prefix string) (flovyn.WorkerToken, error) {
	r, err := s.q.WorkerTokenGetByPrefix(ctx, s.pool, prefix)
	return row(r, err, workerTokenOf)
}

// WorkerTokens lists the tokens of an organization, the oldest first, also those
// that are no good any more.
func (s *Store) WorkerTokens(ctx context.Context, org flovyn.OrgID) ([]flovyn.WorkerToken, error) {
	rows, err := s.q.WorkerTokenList(ctx, s.pool, org.UUID())
	if err != nil {
		return nil, translate(err)
	}
	return workerTokensOf(rows), nil
}

// WorkerTokenPage returns tokens of an organization, the newest first, and how many
// there are.
func (s *Store) WorkerTokenPage(ctx context.Context, org flovyn.OrgID, limit, offset int) ([]flovyn.WorkerToken, int, error) {
	rows, err := s.q.WorkerTokenPage(ctx, s.pool, org.UUID(), int32(offset), int32(limit))
	if err != nil {
		return nil, 0, translate(err)
	}
	total, err := s.q.WorkerTokenCount(ctx, s.pool, org.UUID())
	if err != nil {
		return nil, 0, translate(err)
	}
	return workerTokensOf(rows), int(total), nil
}

// WorkerToken returns a token of an organization; NotFound when there is none.
func (s *Store) WorkerToken(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) (flovyn.WorkerToken, error) {
	r, err := s.q.WorkerTokenGet(ctx, s.pool, id.UUID(), org.UUID())
	return row(r, err, workerTokenOf)
}

func workerTokensOf(rows []*pgq.WorkerToken) []flovyn.WorkerToken {
	tokens := make([]flovyn.WorkerToken, len(rows))
	for i, r := range rows {
		tokens[i] = workerTokenOf(r)
	}
	return tokens
}

// RevokeWorkerToken revokes a token of an organization for good; NotFound when
// there is none.
func (s *Store) RevokeWorkerToken(ctx context.Context, org flovyn.OrgID, id flovyn.TokenID) (flovyn.WorkerToken, error) {
	r, err := s.q.WorkerTokenRevoke(ctx, s.pool, id.UUID(), org.UUID())
	return row(r, err, workerTokenOf)
}

// OrgOfWorkerToken returns the organization of a token, for operators, whom no
// organization binds.
func (s *Store) OrgOfWorkerToken(ctx context.Context, id flovyn.TokenID) (flovyn.OrgID, error) {
	org, err := s.q.WorkerTokenOrg(ctx, s.pool, id.UUID())
	return flovyn.OrgID(org), translate(err)
}

// TouchWorkerToken notes that a token is in use, at most once a minute, and
// keeps the digest of t.
func (s *Store) TouchWorkerToken(ctx context.Context, t *flovyn.WorkerToken) error {
	return translate(s.q.WorkerTokenTouch(ctx, s.pool, t.Hash, t.ID.UUID(), t.Org.UUID()))
}

func workerTokenOf(r *pgq.WorkerToken) flovyn.WorkerToken {
	return flovyn.WorkerToken{
		ID: flovyn.TokenID(r.ID), Org: flovyn.OrgID(r.OrgID), Prefix: r.TokenPrefix, Hash: r.TokenHash,
		Name: r.DisplayName, Description: r.Description, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt,
		LastUsedAt: r.LastUsedAt, ExpiresAt: r.ExpiresAt, RevokedAt: r.RevokedAt,
	}
}
