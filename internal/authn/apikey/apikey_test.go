package apikey_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/org"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	userKey   = "flovyn_sk_hunter2hunter2hunter2"
	workerKey = "flovyn_wk_hunter2hunter2hunter2"
	issuer    = "https://app.acme.com"
)

var acme = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))

// provider is the identity provider's side: what it was asked, and what it
// answers.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []string
	under   int // questions under way
	most    int
	handler http.HandlerFunc
}

func newProvider(t *testing.T, handler http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{handler: handler}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.count(1)
	defer p.count(-1)
	var question map[string]string
	if body, _ := io.ReadAll(r.Body); json.Unmarshal(body, &question) != nil || r.Method != http.MethodPost || len(question) != 1 {
		question = map[string]string{"apiKey": fmt.Sprintf("not a question: %s %s", r.Method, body)}
	}
	p.mu.Lock()
	p.asked = append(p.asked, question["apiKey"])
	p.mu.Unlock()
	p.handler(w, r)
}

func (p *provider) count(change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under += change
	p.most = max(p.most, p.under)
}

func (p *provider) questions() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// says answers 200 with a text.
func says(format string, args ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, format, args...) }
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// world is an authenticator with what surrounds it.
type world struct {
	*apikey.Authenticator
	store *postgres.Store
	orgs  *org.Resolver
	log   *syncBuffer
	now   atomic.Int64
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func newWorld(t *testing.T, url string, change func(*apikey.Config)) *world {
	t.Helper()
	store, err := postgres.Open(t.Context(), postgres.Config{URL: pgtest.New(t), MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.UpsertOrganizations(t.Context(), []flovyn.Organization{{ID: acme, Slug: "acme", Name: "Acme", Tier: "FREE"}}); err != nil {
		t.Fatal(err)
	}
	w := &world{store: store, log: &syncBuffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.orgs = org.New(org.Config{Store: store, TTL: time.Minute, Log: log, Publish: func(flovyn.OrgID) {}})
	t.Cleanup(w.orgs.Close)
	cfg := apikey.Config{
		URL: url, Timeout: 30 * time.Second, Issuer: issuer, DefaultUserRole: caller.Member, Orgs: w.orgs, Log: log,
		Now: func() time.Time { return time.Unix(2e9, 0).Add(time.Duration(w.now.Load())) },
	}
	if change != nil {
		change(&cfg)
	}
	if w.Authenticator, err = apikey.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d)) }

func (w *world) present(t *testing.T, key string) authn.Result {
	t.Helper()
	credential, err := authn.NewCredential(key)
	if err != nil {
		t.Fatal(err)
	}
	return w.Authenticate(t.Context(), credential)
}

var outcomes = map[authn.Outcome]string{
	authn.NotMine: "not mine", authn.Accepted: "accepted", authn.Rejected: "rejected", authn.Unavailable: "unavailable",
}

// Every answer that a provider may give, and what becomes of it.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	user := func(id string, role caller.Role) caller.Caller {
		return caller.Caller{Kind: caller.User, ID: id, Org: acme, Role: role}
	}
	const nameless = "api-key:"
	for name, test := range map[string]struct {
		key    string
		answer http.HandlerFunc
		want   authn.Outcome
		caller caller.Caller
		cause  string
		logged string
		change func(*apikey.Config)
	}{
		"as the guide has it":     {key: workerKey, answer: says(`{"valid":true,"orgSlug":"acme"}`), want: authn.Accepted, caller: caller.Caller{Kind: caller.Worker, ID: nameless, Org: acme}},
		"as the application does": {key: userKey, answer: says(`{"valid":true,"tenantSlug":"acme","userId":"u1","principalType":"User","permissions":{"tasks":["read"]},"x":[]}`), want: authn.Accepted, caller: user("u1", caller.Member)},
		"with a role":             {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","userId":"u1","role":"member,owner"}`), want: authn.Accepted, caller: user("u1", caller.Owner)},
		"with an unknown role":    {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","userId":"u1","role":"root"}`), want: authn.Accepted, caller: user("u1", caller.NoRole)},
		"a worker has no role":    {key: workerKey, answer: says(`{"valid":true,"orgSlug":"acme","userId":"u1","role":"OWNER"}`), want: authn.Accepted, caller: caller.Caller{Kind: caller.Worker, ID: "u1", Org: acme}},
		"nulls":                   {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","tenantSlug":null,"principalType":null,"userId":null,"error":null}`), want: authn.Accepted, caller: user(nameless, caller.Member)},
		"a name that is none":     {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","userId":"a\nb"}`), want: authn.Accepted, caller: user(nameless, caller.Member)},
		"both names of the slug":  {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","tenantSlug":"acme","userId":"u1"}`), want: authn.Accepted, caller: user("u1", caller.Member)},
		"a service, if allowed": {
			key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","userId":"s1","principalType":"Service","role":"OWNER"}`), want: authn.Accepted,
			caller: caller.Caller{Kind: caller.Service, ID: "s1", Org: acme}, change: func(c *apikey.Config) { c.AllowService = true },
		},

		"not valid":                   {key: userKey, answer: says(`{"valid":false,"error":"no %s here"}`, userKey), want: authn.Rejected, cause: `not valid: "no [key] here"`},
		"valid as a text":             {key: userKey, answer: says(`{"valid":"true","orgSlug":"acme"}`), want: authn.Rejected, cause: "not valid"},
		"valid as a number":           {key: userKey, answer: says(`{"valid":1,"orgSlug":"acme"}`), want: authn.Rejected, cause: "not valid"},
		"valid in capitals":           {key: userKey, answer: says(`{"VALID":true,"orgSlug":"acme"}`), want: authn.Rejected, cause: "not valid"},
		"nothing":                     {key: userKey, answer: says(`{}`), want: authn.Rejected, cause: "not valid"},
		"no organization":             {key: userKey, answer: says(`{"valid":true,"tenantId":"acme","userId":"u1"}`), want: authn.Rejected, cause: "no organization"},
		"two organizations":           {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","tenantSlug":"globex"}`), want: authn.Rejected, cause: "differ"},
		"an unknown organization":     {key: userKey, answer: says(`{"valid":true,"orgSlug":"initech"}`), want: authn.Rejected, cause: "Unknown organization: initech"},
		"a slug that is none":         {key: userKey, answer: says(`{"valid":true,"orgSlug":"ACME"}`), want: authn.Rejected, cause: "Unknown organization"},
		"our id is not theirs":        {key: userKey, answer: says(`{"valid":true,"orgId":%q}`, acme), want: authn.Rejected, cause: "no organization"},
		"a user's key of a worker":    {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":"Worker"}`), want: authn.Rejected, cause: "calls the key of a User"},
		"a worker's key of a user":    {key: workerKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":"User"}`), want: authn.Rejected, cause: "calls the key of a Worker"},
		"a worker's key of a service": {key: workerKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":"Service"}`), want: authn.Rejected, cause: "calls the key", change: func(c *apikey.Config) { c.AllowService = true }},
		"a service":                   {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":"Service"}`), want: authn.Rejected, cause: "allow_service"},
		"something else":              {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":"Root"}`), want: authn.Rejected, cause: "Root"},
		"400":                         {key: userKey, answer: status(400, "{}"), want: authn.Rejected, cause: "400", logged: "status=400"},
		"401":                         {key: userKey, answer: status(401, `{"valid":true,"orgSlug":"acme"}`), want: authn.Rejected, cause: "401", logged: "validation_url"},
		"403":                         {key: userKey, answer: status(403, ""), want: authn.Rejected, cause: "403", logged: "does not validate keys"},
		"404 with a page":             {key: userKey, answer: status(404, strings.Repeat("x", 1<<20)), want: authn.Rejected, cause: "404", logged: "status=404"},
		"429":                         {key: userKey, answer: status(429, ""), want: authn.Unavailable, cause: "429"},
		"500":                         {key: userKey, answer: status(500, `{"valid":false}`), want: authn.Unavailable, cause: "500"},
		"503":                         {key: userKey, answer: status(503, ""), want: authn.Unavailable, cause: "503"},
		"201":                         {key: userKey, answer: status(201, `{"valid":true,"orgSlug":"acme"}`), want: authn.Unavailable, cause: "201"},
		"no JSON":                     {key: userKey, answer: says("<html>%s</html>", userKey), want: authn.Unavailable, cause: "no JSON object"},
		"half of it":                  {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme"`), want: authn.Unavailable, cause: "no JSON object"},
		"more than it":                {key: userKey, answer: says(`{"valid":false}{"valid":true,"orgSlug":"acme"}`), want: authn.Unavailable, cause: "no JSON object"},
		"a list":                      {key: userKey, answer: says(`[{"valid":true,"orgSlug":"acme"}]`), want: authn.Unavailable, cause: "no JSON object"},
		"null":                        {key: userKey, answer: says(`null`), want: authn.Unavailable, cause: "no JSON object"},
		"empty":                       {key: userKey, answer: says(``), want: authn.Unavailable, cause: "no JSON object"},
		"a slug that is no text":      {key: userKey, answer: says(`{"valid":true,"orgSlug":{"a":1}}`), want: authn.Unavailable, cause: `"orgSlug" is no string`},
		"a type that is no text":      {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","principalType":2}`), want: authn.Unavailable, cause: `"principalType" is no string`},
		"huge":                        {key: userKey, answer: says(`{"valid":true,"orgSlug":"acme","x":%q}`, strings.Repeat("x", 64<<10)), want: authn.Unavailable, cause: "more than 65536 bytes"},
		"redirecting": {key: userKey, answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, want: authn.Unavailable, cause: "307", logged: "redirects"},
		"hanging up": {key: userKey, answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: authn.Unavailable, cause: "asking the validation service"},
		"slow":       {key: userKey, answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, want: authn.Unavailable, cause: "deadline exceeded", change: func(c *apikey.Config) { c.Timeout = 100 * time.Millisecond }},
		"slow in the middle of an answer": {key: userKey, answer: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"valid":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, want: authn.Unavailable, cause: "deadline exceeded", change: func(c *apikey.Config) { c.Timeout = 100 * time.Millisecond }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, test.answer)
			w := newWorld(t, p.URL, test.change)
			got := w.present(t, test.key)
			if strings.HasPrefix(got.Caller.ID, nameless) && len(got.Caller.ID) == len(nameless)+16 {
				got.Caller.ID = nameless // a digest follows
			}
			if got.Outcome != test.want || got.Caller != test.caller || (got.Cause == nil) != (test.cause == "") {
				t.Fatalf("%s as %+v because of %v; want %s as %+v", outcomes[got.Outcome], got.Caller, got.Cause, outcomes[test.want], test.caller)
			}
			if test.cause != "" && !strings.Contains(got.Cause.Error(), test.cause) {
				t.Errorf("because of %v, want %q", got.Cause, test.cause)
			}
			if log := w.log.String(); (test.logged == "") != (log == "") || !strings.Contains(log, test.logged) {
				t.Errorf("operators read %q, want %q", log, test.logged)
			}
			if text := fmt.Sprint(w.log, got.Cause); strings.Contains(text, test.key) {
				t.Errorf("the key is in the log: %s", text)
			}
			if asked := p.questions(); len(asked) != 1 || asked[0] != test.key {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

// Nobody is asked about what is no key of the provider's.
func TestNotMine(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(`{"valid":true,"orgSlug":"acme"}`))
	w := newWorld(t, p.URL, nil)
	for _, token := range []string{
		"flovyn_sk_", "flovyn_wk_", "flovyn_sk", "FLOVYN_SK_x", "fwt_0123456789ab", "fct_placeholder-1", "x.y.z", "xflovyn_sk_x",
	} {
		if got := w.present(t, token); got.Outcome != authn.NotMine {
			t.Errorf("%s: %s", token, outcomes[got.Outcome])
		}
	}
	if asked := p.questions(); len(asked) > 0 {
		t.Errorf("asked about %q", asked)
	}
}

// A provider that is down is asked again each time, and trusted once it is back.
func TestDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(`{"valid":true,"orgSlug":"acme"}`))
	url := p.URL
	p.Close()
	w := newWorld(t, url, nil)
	for range 2 {
		if got := w.present(t, userKey); got.Outcome != authn.Unavailable {
			t.Errorf("%s: %v", outcomes[got.Outcome], got.Cause)
		}
	}
}

// What could not be told is not remembered; an outage does not reach those whose
// key was seen a moment ago.
func TestOutage(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		says(`{"valid":true,"orgSlug":"acme"}`)(w, r)
	})
	w := newWorld(t, p.URL, nil)
	want := func(key string, outcome authn.Outcome) {
		t.Helper()
		if got := w.present(t, key); got.Outcome != outcome {
			t.Errorf("%s because of %v, want %s", outcomes[got.Outcome], got.Cause, outcomes[outcome])
		}
	}
	want(userKey, authn.Accepted)
	down.Store(true)
	want(userKey, authn.Accepted)
	want(workerKey, authn.Unavailable)
	w.pass(time.Minute)
	want(userKey, authn.Unavailable)
	down.Store(false)
	want(userKey, authn.Accepted)
	want(workerKey, authn.Accepted)
}

// A yes is believed for a minute, a no for ten seconds.
func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	var valid atomic.Bool
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		says(`{"valid":%t,"orgSlug":"acme"}`, valid.Load())(w, r)
	})
	w := newWorld(t, p.URL, nil)
	for i, step := range []struct {
		pass  time.Duration
		valid bool
		want  authn.Outcome
		asked int
	}{
		{0, false, authn.Rejected, 1},
		{10*time.Second - 1, true, authn.Rejected, 1},
		{1, true, authn.Accepted, 2},
		{time.Minute - 1, false, authn.Accepted, 2},
		{1, false, authn.Rejected, 3},
	} {
		w.pass(step.pass)
		valid.Store(step.valid)
		for range 3 {
			if got := w.present(t, userKey); got.Outcome != step.want {
				t.Errorf("step %d: %s", i, outcomes[got.Outcome])
			}
		}
		if asked := len(p.questions()); asked != step.asked {
			t.Errorf("step %d: asked %d times, want %d", i, asked, step.asked)
		}
	}
}

// A hundred callers with one key ask once; a hundred keys are not asked about
// all at once.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	begun, open := make(chan struct{}, 200), make(chan struct{})
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-open
		says(`{"valid":true,"orgSlug":"acme"}`)(w, r)
	})
	w := newWorld(t, p.URL, nil)
	var work sync.WaitGroup
	var accepted atomic.Int32
	present := func(key string) {
		work.Go(func() {
			if got := w.present(t, key); got.Outcome == authn.Accepted {
				accepted.Add(1)
			}
		})
	}
	for i := range 100 {
		present(userKey)
		present(fmt.Sprintf("flovyn_wk_%d", i))
	}
	for range 32 { // as many as may be under way
		<-begun
	}
	close(open)
	work.Wait()
	if asked := len(p.questions()); asked != 101 || accepted.Load() != 200 {
		t.Errorf("asked %d times, %d accepted", asked, accepted.Load())
	}
	if p.most > 32 {
		t.Errorf("%d questions at once", p.most)
	}
}

// Guessing keys pushes no good key out of memory.
func TestGuessingForgetsNothing(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	p.handler = func(w http.ResponseWriter, r *http.Request) {
		asked := p.questions()
		says(`{"valid":%t,"orgSlug":"acme"}`, asked[len(asked)-1] == userKey)(w, r)
	}
	w := newWorld(t, p.URL, nil)
	w.present(t, userKey)
	for i := range 1100 {
		if got := w.present(t, fmt.Sprintf("flovyn_sk_guess_%d", i)); got.Outcome != authn.Rejected {
			t.Fatal(outcomes[got.Outcome], got.Cause)
		}
	}
	if got := w.present(t, userKey); got.Outcome != authn.Accepted || len(p.questions()) != 1101 {
		t.Errorf("%s after %d questions", outcomes[got.Outcome], len(p.questions()))
	}
}

// The organization of a remembered key is looked up anew when it changed.
func TestOrganizationIsNotRememberedWithTheKey(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(`{"valid":true,"orgSlug":"acme","orgId":"ext-2"}`))
	w := newWorld(t, p.URL, nil)
	if got := w.present(t, userKey); got.Outcome != authn.Accepted {
		t.Fatal(got.Cause)
	}
	if err := w.store.BindOrganization(t.Context(), acme, issuer, "ext-1"); err != nil {
		t.Fatal(err)
	}
	w.orgs.Forget(acme)
	got := w.present(t, userKey)
	if got.Outcome != authn.Rejected || fault.Message(got.Cause) != "Unknown organization: acme" || len(p.questions()) != 1 {
		t.Errorf("a key of another organization with the same slug: %s, %v", outcomes[got.Outcome], got.Cause)
	}
}

// Close ends what is under way at once.
func TestClose(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	p := newProvider(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	w := newWorld(t, p.URL, func(c *apikey.Config) { c.Timeout = time.Hour })
	var work sync.WaitGroup
	work.Go(func() {
		if got := w.present(t, userKey); got.Outcome != authn.Unavailable {
			t.Error(outcomes[got.Outcome])
		}
	})
	<-begun
	w.Close()
	work.Wait()
	if got := w.present(t, workerKey); got.Outcome != authn.Unavailable {
		t.Error(outcomes[got.Outcome])
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"https://app.acme.com/api/auth/validate-key": true, "http://localhost:3000/x": true, "http://127.0.0.1/x": true, "http://[::1]:1/": true,
		"http://app.acme.com/x": false, "http://localhost.evil.com/": false, "ftp://localhost/": false, "": false, "/x": false, "http://": false,
	} {
		if err := apikey.CheckURL(url); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
		if _, err := apikey.New(apikey.Config{URL: url}); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
}
