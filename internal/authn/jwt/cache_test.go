package jwt

import (
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/standin"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	m, err := newMemory()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	long, short := claims{subject: "long", expires: now.Add(time.Hour)}, claims{subject: "short", expires: now.Add(time.Minute)}
	m.remember("long", long, 1, now)
	m.remember("short", short, 1, now)
	m.remember("other", long, 1, now)
	m.remember("expired", claims{expires: now.Add(-time.Second)}, 1, now)
	for name, test := range map[string]struct {
		token      string
		generation uint64
		after      time.Duration
		want       bool
	}{
		"at once":              {"short", 1, 0, true},
		"before the expiry":    {"short", 1, time.Minute - 1, true},
		"unknown":              {"shor", 1, 0, false},
		"expired before":       {"expired", 1, 0, false},
		"before five minutes":  {"long", 1, rememberFor - 1, true},
		"keys of another time": {"other", 2, 0, false},
	} {
		if _, ok := m.recall(test.token, test.generation, now.Add(test.after)); ok != test.want {
			t.Errorf("%s: %t", name, ok)
		}
	}
	if _, ok := m.recall("short", 1, now.Add(time.Minute)); ok {
		t.Error("a token outlives its expiry")
	}
	if _, ok := m.recall("long", 1, now.Add(rememberFor)); ok {
		t.Error("a token is remembered for more than five minutes")
	}
	if n := m.tokens.Len(); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
	for i := range rememberedTokens + 100 {
		m.remember(time.Duration(i).String(), long, 1, now)
	}
	if n := m.tokens.Len(); n != rememberedTokens {
		t.Errorf("%d tokens are remembered", n)
	}
}

// Bad tokens are not remembered, and a remembered one is forgotten in time.
func TestRememberedTokenExpires(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		text := s.token() // for five minutes
		for range 3 {
			s.expect(text, authn.Accepted, "fresh")
		}
		if n := s.a.tokens.tokens.Len(); n != 1 {
			s.Errorf("%d tokens remembered", n)
		}
		s.expect(text[:len(text)-2], authn.Rejected, "broken")
		s.expect(sign(s.T, s.app, changed(goodClaims(s.app, time.Now()), map[string]any{"aud": "x"}), nil), authn.Rejected, "not for us")
		if n := s.a.tokens.tokens.Len(); n != 1 {
			s.Errorf("%d tokens remembered", n)
		}
		pass(5*time.Minute + skew + time.Second)
		s.expect(text, authn.Rejected, "expired")
	})
}

// Tokens that are presented again cost no signature check.
//
//nolint:paralleltest // other tests would allocate meanwhile
func TestWarmCost(t *testing.T) {
	app, session := newApp(t, standin.Config{})
	a := newAuthenticator(t, app)
	start(t, a)
	credential, err := authn.NewCredential(issue(t, app, session))
	if err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(100, func() {
		if got := a.Authenticate(t.Context(), credential); got.Outcome != authn.Accepted {
			t.Errorf("%+v", got)
		}
	})
	if allocations > 25 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	app, session := newApp(b, standin.Config{})
	a := newAuthenticator(b, app)
	start(b, a)
	credential, err := authn.NewCredential(issue(b, app, session))
	if err != nil {
		b.Fatal(err)
	}
	for name, before := range map[string]func(){"warm": func() {}, "cold": a.tokens.tokens.Purge} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				before()
				if got := a.Authenticate(b.Context(), credential); got.Outcome != authn.Accepted {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}
