package authn

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

var (
	org   = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	alice = caller.Caller{Kind: caller.User, ID: "alice", Org: org, Role: caller.Admin}
	robot = caller.Caller{Kind: caller.Worker, ID: "worker:1", Org: org}
)

// scripted answers by the beginning of the token, as the real ones do by its
// shape, and remembers what it was asked.
type scripted struct {
	name   string
	prefix string
	result Result
	asked  *[]string
}

func (s scripted) Name() string { return s.name }

func (s scripted) Authenticate(_ context.Context, c Credential) Result {
	*s.asked = append(*s.asked, s.name)
	if !strings.HasPrefix(c.Token(), s.prefix) {
		return Result{}
	}
	return s.result
}

type exact struct{ scripted }

func (exact) Exact() {}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func TestChain(t *testing.T) {
	t.Parallel()
	down := errors.New("dial tcp: connection refused")
	for name, test := range map[string]struct {
		token   string
		want    caller.Caller
		kind    fault.Kind
		message string
		cause   string
		asked   []string
	}{
		"first": {token: "jwt", want: alice, asked: []string{"static", "jwt"}},
		"passed on": {
			token: "fwt_1", want: robot, asked: []string{"static", "jwt", "key", "worker"},
		},
		"exact first, although it stands last": {
			token: "key_static", want: robot, asked: []string{"static"},
		},
		"rejected stops": {
			token: "key_revoked", kind: fault.Unauthenticated, message: PublicMessage, cause: "key: revoked",
			asked: []string{"static", "jwt", "key"},
		},
		"unavailable stops, and is not a refusal": {
			token: "fwd_1", kind: fault.Unavailable, message: UnavailableMessage, cause: down.Error(),
			asked: []string{"static", "jwt", "key", "worker", "down"},
		},
		"a message for the client": {
			token: "lost", kind: fault.Unauthenticated, message: "Unknown organization: acme", cause: "lost: ",
			asked: []string{"static", "jwt", "key", "worker", "down", "lost"},
		},
		"nobody's": {
			token: "fct_placeholder-1", kind: fault.Unauthenticated, message: PublicMessage,
			cause: "no authenticator recognizes",
			asked: []string{"static", "jwt", "key", "worker", "down", "lost"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			unknown := fault.New(fault.Unauthenticated, "Unknown organization: %s", "acme")
			chain, err := NewChain(
				scripted{"jwt", "jwt", Accept(alice), &asked},
				scripted{"key", "key_", Reject(errors.New("revoked")), &asked},
				scripted{"worker", "fwt_", Accept(robot), &asked},
				scripted{"down", "fwd_", Unanswered(down), &asked},
				scripted{"lost", "lost", Reject(unknown), &asked},
				exact{scripted{"static", "key_static", Accept(robot), &asked}},
			)
			if err != nil {
				t.Fatal(err)
			}
			got, err := chain.Authenticate(t.Context(), bearer(test.token))
			if test.want.Kind != "" { // who accepted is the last who was asked
				test.want.Authenticator = test.asked[len(test.asked)-1]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.asked, asked); diff != "" {
				t.Errorf("asked: %s", diff)
			}
			if test.message == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.KindOf(err) != test.kind || fault.Message(err) != test.message || !strings.Contains(err.Error(), test.cause) {
				t.Errorf("got %v: %v; want %v, %q, because of %q", fault.KindOf(err), err, test.kind, test.message, test.cause)
			}
		})
	}
}

func TestChainWithoutCredential(t *testing.T) {
	t.Parallel()
	var asked []string
	chain, err := NewChain(scripted{"any", "", Accept(alice), &asked})
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Authenticate(t.Context(), http.Header{})
	if !fault.Is(err, fault.Unauthenticated) || !errors.Is(err, errNoHeader) || fault.Message(err) != PublicMessage {
		t.Errorf("got %v", err)
	}
	if asked != nil {
		t.Errorf("%v were asked about nothing", asked)
	}
}

// An authenticator's mistake must not become a caller of every organization.
func TestUnsoundCallersAreRefused(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]caller.Caller{
		"nobody":                      {},
		"anonymous":                   {Kind: caller.Anonymous, ID: "x", Org: org},
		"trusted":                     {Kind: caller.User, ID: "x", Org: org, Trusted: true},
		"without a name":              {Kind: caller.User, Org: org},
		"user without organization":   {Kind: caller.User, ID: "x", Role: caller.Owner},
		"worker without organization": {Kind: caller.Worker, ID: "x"},
	} {
		chain, err := NewChain(scripted{"a", "", Accept(who), new([]string)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := chain.Authenticate(t.Context(), bearer("t")); !fault.Is(err, fault.Unauthenticated) || got != (caller.Caller{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	service := caller.Caller{Kind: caller.Service, ID: "app"}
	chain, _ := NewChain(scripted{"a", "", Accept(service), new([]string)})
	if got, err := chain.Authenticate(t.Context(), bearer("t")); err != nil || !got.Same(service) || got.Authenticator != "a" {
		t.Errorf("a service needs no organization: %v", err)
	}
}

func TestOutcomesWithoutACause(t *testing.T) {
	t.Parallel()
	for outcome, kind := range map[Outcome]fault.Kind{
		Rejected: fault.Unauthenticated, Unavailable: fault.Unavailable, Outcome(77): fault.Unauthenticated,
	} {
		chain, _ := NewChain(scripted{"a", "", Result{Outcome: outcome, Caller: alice}, new([]string)})
		if _, err := chain.Authenticate(t.Context(), bearer("t")); !fault.Is(err, kind) {
			t.Errorf("outcome %d: %v, want %v", outcome, err, kind)
		}
	}
}

func TestNewChainRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewChain(); err == nil {
		t.Error("a chain without authenticators")
	}
	twice := scripted{"a", "", Result{}, new([]string)}
	if _, err := NewChain(twice, twice); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the same authenticator twice: %v", err)
	}
	if _, err := (&Chain{}).Authenticate(t.Context(), bearer("t")); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the zero chain: %v", err)
	}
}

func TestNamesAreInTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	a := scripted{name: "a"}
	chain, err := NewChain(a, exact{scripted{name: "s"}}, scripted{name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"s", "a", "b"}, chain.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestDisabledTrustsEverybody(t *testing.T) {
	t.Parallel()
	chain := Disabled()
	for _, header := range []http.Header{{}, bearer("fct_placeholder-1"), {"Authorization": {"a", "b"}}} {
		got, err := chain.Authenticate(t.Context(), header)
		if err != nil || !got.Trusted || got.Kind != caller.Anonymous || !got.Org.IsZero() {
			t.Errorf("%v: %+v, %v", header, got, err)
		}
	}
	if !chain.IsDisabled() || (&Chain{}).IsDisabled() {
		t.Error("IsDisabled is wrong")
	}
}
