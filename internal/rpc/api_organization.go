package rpc

import (
	"context"
	"strings"
	"time"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/org"
)

// organizations serves flovyn.api.v1.OrganizationService.
type organizations struct {
	apiv1connect.UnimplementedOrganizationServiceHandler
	door
}

// CreateOrganization creates an organization. The policies have said whether the
// caller may. One whose organization does not exist yet can only create that one,
// and binds it to the provider's id of it; this is the second wall, and it has no
// policies.
func (h organizations) CreateOrganization(
	ctx context.Context, req *apiv1.CreateOrganizationRequest,
) (*apiv1.CreateOrganizationResponse, error) {
	c, ok := caller.From(ctx)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "Authentication required")
	}
	founding := org.Founding{Slug: req.GetSlug(), Name: req.GetName(), Tier: req.GetTier(), Region: req.GetRegion(), By: c.Label()}
	if c.Claims != nil {
		if founding.Slug != c.Claims.Slug || (c.Role != caller.Owner && c.Role != caller.Admin) {
			return nil, fault.New(fault.Denied, "Access denied: the organization is not the one that the token names")
		}
		founding.Issuer, founding.ExternalID = c.Claims.Issuer, c.Claims.ExternalID
	}
	made, err := h.founding.Found(ctx, founding)
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateOrganizationResponse{Organization: organizationOut(&made)}, nil
}

// GetOrganization returns the caller's organization.
func (h organizations) GetOrganization(ctx context.Context, req *apiv1.GetOrganizationRequest) (*apiv1.GetOrganizationResponse, error) {
	id, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	found, err := h.orgs.find.byID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetOrganizationResponse{Organization: organizationOut(&found)}, nil
}

func organizationOut(o *flovyn.Organization) *apiv1.Organization {
	return &apiv1.Organization{
		Id: o.ID.String(), Name: o.Name, Slug: o.Slug, Tier: o.Tier, Region: maybe(o.Region),
		CreatedAt: at(o.CreatedAt), UpdatedAt: at(o.UpdatedAt),
	}
}

// identity serves flovyn.api.v1.IdentityService.
type identity struct {
	apiv1connect.UnimplementedIdentityServiceHandler
	door
}

// WhoAmI returns who the caller is.
func (h identity) WhoAmI(ctx context.Context, _ *apiv1.WhoAmIRequest) (*apiv1.WhoAmIResponse, error) {
	c, ok := caller.From(ctx)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "Authentication required")
	}
	answer := &apiv1.WhoAmIResponse{
		PrincipalType: strings.ToLower(string(c.Kind)), PrincipalId: c.ID, Role: maybe(string(c.Role)), OrgId: maybeID(c.Org.UUID()),
		Authenticator: c.Authenticator, ExpiresAt: at(c.Expires), Email: maybe(c.Email),
		ServerTime: at(time.Now()), ServerVersion: h.version,
	}
	if !c.Org.IsZero() {
		own, err := h.orgs.get(ctx, c.Org)
		if err != nil {
			return nil, err
		}
		answer.OrgSlug = maybe(own.Slug)
	}
	return answer, nil
}
