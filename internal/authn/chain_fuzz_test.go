package authn

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// holder accepts one secret that it holds.
type holder struct {
	name, secret string
	who          caller.Caller
}

func (h holder) Name() string { return h.name }

func (h holder) Authenticate(_ context.Context, c Credential) Result {
	if c.Token() == h.secret {
		return Accept(h.who)
	}
	return Result{}
}

func (holder) Exact() {}

// Whatever headers come, in whatever order the chain is: only the two good
// credentials are accepted, each as whom it stands for; everything else is a
// refusal or a provider that is down; and the secret that is held here is shown to
// nobody.
func FuzzChain(f *testing.F) {
	const held, issued = "fwt_held_here", "key_issued"
	for _, value := range []string{
		"Bearer " + held, "bearer  " + issued, "Bearer key_unknown", "Bearer down_1", "Bearer " + held + ",", "Basic " + held,
		held, "", "Bearer", "Bearer \x00", "Bearer " + strings.Repeat("x", MaxHeaderBytes), "Bearer " + held + " ", "BEARER\t" + held,
	} {
		f.Add(value, "", false, uint8(0))
		f.Add(value, value, true, uint8(7))
	}
	f.Fuzz(func(t *testing.T, first, second string, two bool, order uint8) {
		var asked []string
		links := []Authenticator{
			recorder{"key", "key_", func(token string) Result {
				if token == issued {
					return Accept(alice)
				}
				return Reject(nil)
			}, &asked},
			recorder{"down", "down_", func(string) Result { return Unanswered(nil) }, &asked},
			holder{"held", held, robot},
			recorder{"token", "fwt_", func(string) Result { return Reject(nil) }, &asked},
		}
		for range int(order) % len(links) {
			links = append(links[1:], links[0])
		}
		chain, err := NewChain(links...)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Authorization": {first}}
		if two {
			header.Add("Authorization", second)
		}
		got, err := chain.Authenticate(t.Context(), header)
		scheme, token, _ := strings.Cut(first, " ")
		token = strings.TrimLeft(token, " ")
		good := !two && strings.EqualFold(scheme, "Bearer")
		switch {
		case good && token == held:
			if err != nil || !got.Same(robot) {
				t.Errorf("%q: %+v, %v", first, got, err)
			}
		case good && token == issued:
			if err != nil || !got.Same(alice) {
				t.Errorf("%q: %+v, %v", first, got, err)
			}
		case err == nil || got != (caller.Caller{}):
			t.Errorf("%q is accepted as %+v", header, got)
		case fault.Is(err, fault.Unavailable) && good && strings.HasPrefix(token, "down_"):
		case !fault.Is(err, fault.Unauthenticated):
			t.Errorf("%q: %v", header, err)
		}
		if slices.Contains(asked, held) {
			t.Errorf("the held secret was shown to others")
		}
	})
}

// recorder judges what begins in its way, and notes what it was shown.
type recorder struct {
	name, prefix string
	judge        func(token string) Result
	shown        *[]string
}

func (r recorder) Name() string { return r.name }

func (r recorder) Authenticate(_ context.Context, c Credential) Result {
	*r.shown = append(*r.shown, c.Token())
	if !strings.HasPrefix(c.Token(), r.prefix) {
		return Result{}
	}
	return r.judge(c.Token())
}
