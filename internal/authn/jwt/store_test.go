package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/standin"
)

const jwksPath = "/.well-known/jwks.json"

// issue asks an app for a token, as a browser does.
func issue(tb testing.TB, app *standin.App, session string) string {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, app.URL()+"/api/auth/token", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+session)
	response, err := inProcess{app.Handler()}.RoundTrip(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		tb.Fatalf("no token: %d %s", response.StatusCode, text)
	}
	return answer.Token
}

// A scene is an authenticator that runs in a time of its own.
type scene struct {
	*testing.T
	app *standin.App
	a   *Authenticator
	// session is that of a member.
	session string
}

// inTime runs a test in a time of its own.
func inTime(t *testing.T, test func(s scene)) {
	t.Helper()
	app, _ := newApp(t, standin.Config{SessionLifetime: 1000 * time.Hour})
	synctest.Test(t, func(t *testing.T) {
		session, err := app.SignIn("alice") // in that time
		if err != nil {
			t.Fatal(err)
		}
		a := newAuthenticator(t, app)
		a.keys.source.client.Transport = inProcess{app.Handler()}
		if err := a.keys.Start(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		defer a.keys.Stop()
		synctest.Wait()
		test(scene{t, app, a, session})
	})
}

// token is what the provider issues now.
func (s scene) token() string { return issue(s.T, s.app, s.session) }

func (s scene) expect(token string, want authn.Outcome, what string) {
	s.Helper()
	expect(s.T, s.a, token, want, what)
}

// pass lets time pass, and everything happen that is due.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// expect judges a token.
func expect(t *testing.T, a *Authenticator, token string, want authn.Outcome, what string) {
	t.Helper()
	if got := judge(t, a, token); got.Outcome != want {
		t.Errorf("%s: outcome %d (%v), want %d", what, got.Outcome, got.Cause, want)
	}
}

func TestRefreshedHourly(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		s.expect(s.token(), authn.Accepted, "at first")
		pass(10*time.Hour + time.Minute)
		if n := s.app.Requests(jwksPath); n < 10 || n > 11 {
			s.Errorf("%d fetches in ten hours", n)
		}
	})
}

// A new key is fetched when the first token of it comes, once for all.
func TestRotation(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		old := s.token()
		s.expect(old, authn.Accepted, "old key")
		pass(time.Minute)
		if err := s.app.Rotate(standin.RS256); err != nil {
			s.Fatal(err)
		}
		fresh := s.token()
		var accepted atomic.Int32
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if judge(s.T, s.a, fresh).Outcome == authn.Accepted {
					accepted.Add(1)
				}
			})
		}
		group.Wait()
		if accepted.Load() != 100 || s.app.Requests(jwksPath) != 2 {
			s.Errorf("%d of 100 accepted after %d fetches", accepted.Load(), s.app.Requests(jwksPath))
		}
		s.expect(old, authn.Accepted, "the old key is still published")

		// A key that is withdrawn takes its tokens along, remembered ones too.
		s.app.Retire()
		pass(time.Minute)
		s.expect(sign(s.T, s.app, goodClaims(s.app, time.Now()), map[string]any{"kid": "new"}), authn.Rejected, "unknown key")
		s.expect(old, authn.Rejected, "withdrawn key")
		s.expect(fresh, authn.Accepted, "present key")
	})
}

// Keys that change all the time, and made-up ids, under load: the provider is
// asked at most every 30 seconds.
func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		var group sync.WaitGroup
		for w := range 8 {
			group.Go(func() {
				for i := range 300 {
					header := map[string]any{"kid": fmt.Sprintf("made-up-%d-%d", w, i)}
					if got := judge(s.T, s.a, sign(s.T, s.app, goodClaims(s.app, time.Now()), header)); got.Outcome != authn.Rejected {
						s.Errorf("a made-up key: %+v", got)
					}
					<-time.After(time.Second)
				}
			})
		}
		for range 50 {
			if err := s.app.Rotate(standin.EdDSA); err != nil {
				s.Fatal(err)
			}
			pass(6 * time.Second)
		}
		group.Wait()
		// 300 seconds are ten cooldowns, and the fetch at the start.
		if n := s.app.Requests(jwksPath); n > 12 {
			s.Errorf("%d fetches in five minutes", n)
		}
		pass(cooldown)
		s.expect(s.token(), authn.Accepted, "the last key")
	})
}

// While the provider is down, tokens of known keys are good for a day, those of
// unknown ones cannot be judged; when it is back, it is noticed in 30 seconds.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]standin.Fault{
		"down": standin.Down, "429": standin.TooManyRequests, "500": standin.Broken, "page": standin.NotJSON,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(s scene) {
				pass(50 * time.Minute)
				s.app.Fail(jwksPath, fault)
				pass(40 * time.Minute) // the hourly fetch fails
				s.expect(s.token(), authn.Accepted, "known key")
				if err := s.app.Rotate(standin.EdDSA); err != nil {
					s.Fatal(err)
				}
				s.expect(s.token(), authn.Unavailable, "a key of which nothing can be known")
				before := s.app.Requests(jwksPath)
				pass(10 * time.Minute)
				if n := s.app.Requests(jwksPath) - before; n < 18 || n > 20 {
					s.Errorf("%d fetches in ten minutes of outage, want one every 30 seconds", n)
				}
				s.app.Fail(jwksPath, nil)
				pass(cooldown)
				s.expect(s.token(), authn.Accepted, "new key, when the provider is back")
			})
		})
	}
}

func TestKeysOfYesterday(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		s.app.Fail(jwksPath, standin.Broken)
		pass(23 * time.Hour)
		s.expect(s.token(), authn.Accepted, "after 23 hours")
		pass(62 * time.Minute)
		s.expect(s.token(), authn.Unavailable, "after 24 hours")
		s.app.Fail(jwksPath, nil)
		pass(cooldown)
		s.expect(s.token(), authn.Accepted, "when the provider is back")
	})
}

// A provider that is down does not keep a server from starting.
func TestDownAtStart(t *testing.T) {
	t.Parallel()
	app, session := newApp(t, standin.Config{})
	app.Fail(jwksPath, standin.Down)
	a := newAuthenticator(t, app)
	token := issue(t, app, session)
	expect(t, a, token, authn.Unavailable, "before the start")
	start(t, a)
	expect(t, a, token, authn.Unavailable, "after the start")
	expect(t, a, "flovyn_sk_0123456789abcdef", authn.NotMine, "somebody else's, in any case")
}

// A token waits for the first fetch, and for no longer than its own request.
func TestSlowAtStart(t *testing.T) {
	t.Parallel()
	app, session := newApp(t, standin.Config{})
	app.Fail(jwksPath, standin.Slow)
	a := newAuthenticator(t, app)
	start(t, a)
	credential, err := authn.NewCredential(issue(t, app, session))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := a.Authenticate(ctx, credential); got.Outcome != authn.Unavailable || !errors.Is(got.Cause, context.DeadlineExceeded) {
		t.Errorf("%+v", got)
	}
	if n := app.Requests(jwksPath); n > 1 {
		t.Errorf("%d fetches", n)
	}
	// The end of the test stops the store in the middle of its fetch.
}

// Whoever waits is let go when the store stops.
func TestStopLetsGo(t *testing.T) {
	t.Parallel()
	inTime(t, func(s scene) {
		pass(time.Minute)
		s.app.Fail(jwksPath, standin.Slow)
		if err := s.app.Rotate(standin.EdDSA); err != nil {
			s.Fatal(err)
		}
		text, ended := s.token(), make(chan authn.Result)
		go func() { ended <- judge(s.T, s.a, text) }()
		synctest.Wait()
		s.a.keys.Stop()
		began := time.Now()
		if got := <-ended; got.Outcome == authn.Accepted {
			s.Errorf("%+v", got)
		}
		if waited := time.Since(began); waited > 0 {
			s.Errorf("it waited for %v", waited)
		}
		// Started again, it fetches again.
		s.app.Fail(jwksPath, nil)
		if err := s.a.keys.Start(context.WithoutCancel(s.Context())); err != nil {
			s.Fatal(err)
		}
		pass(cooldown)
		s.expect(text, authn.Accepted, "after another start")
	})
}

// What the network can do wrong.
func TestFetchFails(t *testing.T) {
	t.Parallel()
	elsewhere, _ := newApp(t, standin.Config{})
	for name, test := range map[string]struct {
		fault standin.Fault
		want  bool
	}{
		"well":                           {nil, true},
		"down":                           {standin.Down, false},
		"slow":                           {standin.Slow, false},
		"huge":                           {standin.Huge, false},
		"redirected to another host":     {standin.Redirect(elsewhere.JWKSURI()), false},
		"redirected to the cloud's keys": {standin.Redirect("http://169.254.169.254/latest/meta-data/"), false},
		"redirected to a file":           {standin.Redirect("file:///etc/passwd"), false},
		"redirected in a circle":         {standin.Redirect(jwksPath), false},
		"redirected on the same host":    {standin.Redirect("/api/auth/jwks"), true},
		"500":                            {standin.Broken, false},
		"429":                            {standin.TooManyRequests, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, _ := newApp(t, standin.Config{})
			app.Fail(jwksPath, test.fault)
			s, err := newSource(app.JWKSURI())
			if err != nil {
				t.Fatal(err)
			}
			if s.client.Timeout != 5*time.Second {
				t.Errorf("timeout %v", s.client.Timeout)
			}
			if name == "slow" {
				s.client.Timeout = 50 * time.Millisecond
			}
			if _, err := s.fetch(t.Context()); (err == nil) != test.want {
				t.Errorf("got %v", err)
			}
			s.close()
			if app.Requests(jwksPath) > maxRedirects+1 {
				t.Errorf("%d requests", app.Requests(jwksPath))
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Requests(jwksPath); n != 0 {
			t.Errorf("the other host was asked %d times", n)
		}
	})
}

// Link-local addresses are where clouds hand out credentials.
func TestLinkLocalIsRefused(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{
		"169.254.169.254:80": true, "[fe80::1]:443": true, "[::ffff:169.254.169.254]:80": true, "nonsense": true,
		"127.0.0.1:80": false, "10.0.0.1:443": false, "[2001:db8::1]:443": false,
	} {
		if err := refuseLinkLocal(t.Context(), "tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}
