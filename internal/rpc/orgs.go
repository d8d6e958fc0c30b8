package rpc

import (
	"context"
	"time"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/lookup"
)

// How many organizations are remembered to exist, and for how long.
const (
	rememberOrgs = 1000
	orgBelieved  = time.Minute
)

// findOrgs finds organizations, or says NotFound.
type findOrgs struct {
	byID   func(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error)
	bySlug func(ctx context.Context, slug string) (flovyn.Organization, error)
}

// knownOrgs says which organizations there are. That there is none of an id is
// not remembered: it may be created the next moment.
type knownOrgs struct {
	find  findOrgs
	found *lookup.Cache[flovyn.OrgID, flovyn.Organization]
}

func newKnownOrgs(find findOrgs) *knownOrgs {
	return &knownOrgs{find: find, found: lookup.NewCache[flovyn.OrgID, flovyn.Organization](rememberOrgs)}
}

// get returns an organization, and NotFound for one that there is not.
func (k *knownOrgs) get(ctx context.Context, id flovyn.OrgID) (flovyn.Organization, error) {
	now := time.Now()
	if org, ok := k.found.Get(id, now); ok {
		return org, nil
	}
	generation := k.found.Generation()
	org, err := k.find.byID(ctx, id)
	if err != nil {
		return org, err
	}
	k.found.Put(generation, id, org, now.Add(orgBelieved))
	return org, nil
}

// check returns NotFound for an organization that there is not.
func (k *knownOrgs) check(ctx context.Context, id flovyn.OrgID) error {
	_, err := k.get(ctx, id)
	return err
}

// slugged returns the organization of a slug in a request, which must be the
// caller's own. Every other slug is answered as that of no organization, and
// nothing is looked up under it: not even the time an answer takes tells what
// slugs there are. A caller who is trusted because authentication is off may name
// any organization that there is.
func (k *knownOrgs) slugged(ctx context.Context, c caller.Caller, slug string) (flovyn.OrgID, error) {
	if c.Trusted {
		org, err := k.find.bySlug(ctx, slug)
		if fault.Is(err, fault.NotFound) {
			return org.ID, errNoOrg()
		}
		return org.ID, err
	}
	if c.Org.IsZero() {
		return flovyn.OrgID{}, errNoOrg()
	}
	own, err := k.get(ctx, c.Org)
	switch {
	case fault.Is(err, fault.NotFound), err == nil && own.Slug != slug:
		return flovyn.OrgID{}, errNoOrg()
	default:
		return own.ID, err
	}
}

func errNoOrg() error { return fault.New(fault.NotFound, "organization not found") }
