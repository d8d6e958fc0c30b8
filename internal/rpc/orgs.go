package rpc

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/lookup"
)

// How many organizations are remembered to exist, and for how long.
const (
	rememberOrgs = 1000
	orgBelieved  = time.Minute
)

// knownOrgs says which organizations there are. That there is none of an id is
// not remembered: it may be created the next moment.
type knownOrgs struct {
	find  func(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error)
	found *lookup.Cache[flovyn.OrgID, struct{}]
}

func newKnownOrgs(find func(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error)) *knownOrgs {
	return &knownOrgs{find: find, found: lookup.NewCache[flovyn.OrgID, struct{}](rememberOrgs)}
}

// check returns NotFound for an organization that there is not.
func (k *knownOrgs) check(ctx context.Context, id flovyn.OrgID) error {
	now := time.Now()
	if _, ok := k.found.Get(id, now); ok {
		return nil
	}
	generation := k.found.Generation()
	if _, err := k.find(ctx, id); err != nil {
		return err
	}
	k.found.Put(generation, id, struct{}{}, now.Add(orgBelieved))
	return nil
}
