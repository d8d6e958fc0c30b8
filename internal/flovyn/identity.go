package flovyn

// OrgIdentity is how credentials name an organization.
type OrgIdentity struct {
	ID   OrgID
	Slug string
	// Bindings are the organization's ids at identity providers, by issuer. A
	// slug can be given up there and registered by somebody else; an id cannot.
	Bindings map[string]string
}
