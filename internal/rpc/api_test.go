package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// someOrgs holds the one organization "acme", and notices when it is asked for
// another by its slug.
var someOrgs = findOrgs{
	byID: func(_ context.Context, id flovyn.OrgID) (flovyn.Organization, error) {
		if id != flovyn.OrgID(someID) {
			return flovyn.Organization{}, fault.New(fault.NotFound, "organization %s not found", id)
		}
		return flovyn.Organization{ID: id, Slug: "acme"}, nil
	},
	bySlug: func(_ context.Context, slug string) (flovyn.Organization, error) {
		if slug != "acme" {
			return flovyn.Organization{}, fault.New(fault.NotFound, "organization %q not found", slug)
		}
		return flovyn.Organization{ID: flovyn.OrgID(someID), Slug: slug}, nil
	},
}

// A slug that is not the caller's own is never looked up, and answered as that
// of no organization.
func TestSlug(t *testing.T) {
	t.Parallel()
	unasked := someOrgs
	unasked.bySlug = func(_ context.Context, slug string) (flovyn.Organization, error) {
		t.Errorf("looked up %q", slug)
		return flovyn.Organization{}, fault.New(fault.NotFound, "not found")
	}
	own := caller.Caller{Kind: caller.User, ID: "u", Org: flovyn.OrgID(someID)}
	for name, test := range map[string]struct {
		orgs   findOrgs
		caller caller.Caller
		slug   string
		ok     bool
	}{
		"own":                {unasked, own, "acme", true},
		"other":              {unasked, own, "other", false},
		"case":               {unasked, own, "ACME", false},
		"none":               {unasked, own, "", false},
		"org that is gone":   {unasked, caller.Caller{Kind: caller.User, Org: flovyn.OrgID(flovyn.NewUUID())}, "acme", false},
		"service of none":    {unasked, caller.Caller{Kind: caller.Service}, "acme", false},
		"trusted":            {someOrgs, caller.Caller{Trusted: true}, "acme", true},
		"trusted but absent": {someOrgs, caller.Caller{Trusted: true}, "other", false},
	} {
		org, err := newKnownOrgs(test.orgs).slugged(t.Context(), test.caller, test.slug)
		switch {
		case test.ok && (err != nil || org != flovyn.OrgID(someID)):
			t.Errorf("%s: %v, %v", name, org, err)
		case !test.ok && (!fault.Is(err, fault.NotFound) || fault.Message(err) != "organization not found" || !org.IsZero()):
			t.Errorf("%s: %v, %v; want not found", name, org, err)
		}
	}
}

// The guard compares the slug before it asks any policy.
func TestGuardComparesTheSlug(t *testing.T) {
	t.Parallel()
	const get = apiv1connect.OrganizationServiceGetOrganizationProcedure
	if err := serve(asCaller(t), t, get, &script{request: &apiv1.GetOrganizationRequest{Org: "acme"}}, receive(&apiv1.GetOrganizationRequest{})); err != nil {
		t.Errorf("the caller's own: %v", err)
	}
	err := serve(asCaller(t), t, get, &script{request: &apiv1.GetOrganizationRequest{Org: "other"}}, receive(&apiv1.GetOrganizationRequest{}))
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("another: %v", err)
	}
}

// Whoever was recognized may ask who that is, and nobody else.
func TestWhoAmINeedsACredential(t *testing.T) {
	t.Parallel()
	const who = apiv1connect.IdentityServiceWhoAmIProcedure
	for code, c := range map[connect.Code]caller.Caller{
		0:                           {Kind: caller.Service, ID: "s"},
		connect.CodeUnauthenticated: {Kind: caller.Anonymous, ID: "anonymous"},
	} {
		err := serve(caller.With(t.Context(), c), t, who, &script{request: &apiv1.WhoAmIRequest{}}, receive(&apiv1.WhoAmIRequest{}))
		if (err == nil) != (code == 0) || (err != nil && connect.CodeOf(err) != code) {
			t.Errorf("%s: %v, want %v", c.Kind, err, code)
		}
	}
}

// Every place at fault travels with the failure.
func TestPlacesAtFault(t *testing.T) {
	t.Parallel()
	request := &apiv1.WaitWorkflowExecutionRequest{Org: "acme", Id: "x", TimeoutSeconds: new(int32(1000))}
	err := serve(asCaller(t), t, apiv1connect.WorkflowExecutionServiceWaitWorkflowExecutionProcedure,
		&script{request: request}, receive(&apiv1.WaitWorkflowExecutionRequest{}))
	var wire *connect.Error
	if !errors.As(err, &wire) || wire.Code() != connect.CodeInvalidArgument || len(wire.Details()) != 1 {
		t.Fatalf("%v, want invalid_argument with one detail", err)
	}
	message, err := connectproto.UnmarshalErrorDetail(wire.Details()[0])
	if err != nil {
		t.Fatal(err)
	}
	bad, ok := message.(*errdetails.BadRequest)
	if !ok || len(bad.GetFieldViolations()) != 2 || bad.GetFieldViolations()[0].GetField() != "id" ||
		bad.GetFieldViolations()[1].GetField() != "timeout_seconds" {
		t.Errorf("%v", message)
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour, "0s": 0,
	} {
		if got, err := durationText("f", text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "s", "5", "5 m", "-5m", "+5m", "5M", "5ms", "1h30m", "99999999999999999999s", "40000d", "５m"} {
		if got, err := durationText("f", text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, %v; want a refusal", text, got, err)
		}
	}
	for text, ok := range map[string]bool{"1s": true, "30d": true, "0s": false, "31d": false} {
		if _, err := keyTTLText("f", &text); (err == nil) != ok {
			t.Errorf("the lifetime %q: %v", text, err)
		}
	}
}
