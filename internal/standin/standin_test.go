package standin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// desk is a stand-in with a client.
type desk struct {
	*testing.T
	app    *App
	clock  *clock
	client *http.Client
}

func newDesk(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	cfg := Config{Now: c.Now}
	for _, change := range change {
		change(&cfg)
	}
	app, err := Start(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	app.AddUser(User{ID: "alice", Email: "alice@acme.com", Name: "Alice"})
	app.AddOrg(Org{ID: "org-1", Slug: "acme", Name: "Acme"})
	app.AddOrg(Org{ID: "org-2", Slug: "globex", Name: "Globex"})
	app.AddMember("alice", "org-1", "owner,member")
	return &desk{t, app, c, &http.Client{
		Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what a request was answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		t.Fatalf("%d %q is no object: %v", a.status, a.body, err)
	}
	return object
}

// call sends a request: JSON when the body is a map, a form when it is values.
func (d *desk) call(method, path string, body any, header ...string) answer {
	d.Helper()
	var reader io.Reader = http.NoBody
	kind := ""
	switch body := body.(type) {
	case url.Values:
		reader, kind = strings.NewReader(body.Encode()), "application/x-www-form-urlencoded"
	case map[string]string:
		text, err := json.Marshal(body)
		if err != nil {
			d.Fatal(err)
		}
		reader, kind = bytes.NewReader(text), "application/json"
	}
	r, err := http.NewRequestWithContext(d.Context(), method, d.app.URL()+path, reader)
	if err != nil {
		d.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	response, err := d.client.Do(r)
	if err != nil {
		d.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func (d *desk) signIn() (bearer string) {
	d.Helper()
	token, err := d.app.SignIn("alice")
	if err != nil {
		d.Fatal(err)
	}
	return "Bearer " + token
}

// claims takes a JWT apart, and checks its signature with the published keys.
func (d *desk) claims(token string) map[string]any {
	d.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		d.Fatalf("%q is no JWT", token)
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = encoding.DecodeString(part); err != nil {
			d.Fatal(err)
		}
	}
	var header, claims map[string]any
	if err := errors.Join(json.Unmarshal(raw[0], &header), json.Unmarshal(raw[1], &claims)); err != nil {
		d.Fatal(err)
	}
	keys, _ := d.call(http.MethodGet, "/.well-known/jwks.json", nil).object(d.T)["keys"].([]any)
	for _, entry := range keys {
		key, _ := entry.(map[string]any)
		if key["kid"] == header["kid"] && key["alg"] == header["alg"] && verifies(key, []byte(parts[0]+"."+parts[1]), raw[2]) {
			return claims
		}
	}
	d.Fatalf("no published key verifies %q", token)
	return nil
}

func verifies(key map[string]any, message, signature []byte) bool {
	value := func(name string) []byte {
		text, _ := key[name].(string)
		raw, _ := encoding.DecodeString(text)
		return raw
	}
	number := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	hash := sha256.Sum256(message)
	switch key["kty"] {
	case "OKP":
		return ed25519.Verify(value("x"), message, signature)
	case "RSA":
		public := &rsa.PublicKey{N: number(value("n")), E: int(number(value("e")).Int64())}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], signature) == nil
	case "EC":
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, append(value("x"), value("y")...)...))
		return err == nil && len(signature) == 64 && ecdsa.Verify(public, hash[:], number(signature[:32]), number(signature[32:]))
	}
	return false
}

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0", "example.com:80", "127.0.0.1", ""} {
		app, err := Start(t.Context(), Config{Address: address})
		if address == "" { // the default
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%q is listened on", address)
		}
	}
}

// Pages of other sites, and names that others point here, get nothing.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if got := d.call(http.MethodGet, "/.well-known/jwks.json", nil, "Host", "evil.example"); got.status != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", got.status)
	}
	form := url.Values{"user": {"alice"}}
	if got := d.call(http.MethodPost, "/sign-in", form, "Origin", "https://evil.example"); got.status != http.StatusForbidden {
		t.Errorf("from another site: %d", got.status)
	}
	if got := d.call(http.MethodPost, "/sign-in", form, "Origin", d.app.URL()); got.status != http.StatusSeeOther {
		t.Errorf("from its own page: %d", got.status)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{EdDSA, RS256, ES256} {
		d := newDesk(t, func(cfg *Config) { cfg.Algorithm = algorithm })
		bearer := d.signIn()
		got := d.claims(d.call(http.MethodGet, "/api/auth/token", nil, "Authorization", bearer).object(t)["token"].(string))
		now := d.clock.Now().Unix()
		want := map[string]any{
			"sub": "alice", "email": "alice@acme.com", "name": "Alice", "iss": d.app.URL(), "aud": "flovyn-server",
			"iat": float64(now), "exp": float64(now + 300),
			"org": map[string]any{"id": "org-1", "slug": "acme", "name": "Acme", "role": "owner,member"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", algorithm, diff)
		}
	}
}

func TestUnknownAlgorithm(t *testing.T) {
	t.Parallel()
	if _, err := Start(t.Context(), Config{Algorithm: "HS256"}); err == nil {
		t.Error("it signs with a shared secret")
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	bearer := d.signIn()
	token := "/api/auth/token"
	if got := d.call(http.MethodGet, token, nil); got.status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", got.status)
	}
	if got := d.call(http.MethodGet, token, nil, "Authorization", "Bearer x"); got.status != http.StatusUnauthorized {
		t.Errorf("with another session: %d", got.status)
	}
	if got := d.call(http.MethodGet, token, nil, "Authorization", strings.Replace(bearer, "Bearer", "bearer", 1)); got.status != http.StatusOK {
		t.Errorf("scheme in lower case: %d", got.status)
	}
	cookie := cookieName + "=" + strings.TrimPrefix(bearer, "Bearer ")
	if got := d.call(http.MethodGet, token, nil, "Cookie", cookie); got.status != http.StatusOK {
		t.Errorf("by cookie: %d", got.status)
	}
	got := d.call(http.MethodGet, "/api/auth/get-session", nil, "Authorization", bearer)
	user, _ := got.object(t)["user"].(map[string]any)
	if user["email"] != "alice@acme.com" || d.claims(got.header.Get("Set-Auth-Jwt"))["sub"] != "alice" {
		t.Errorf("session %s", got.body)
	}
	if got := d.call(http.MethodGet, "/api/auth/get-session", nil); strings.TrimSpace(got.body) != "null" {
		t.Errorf("no session: %s", got.body)
	}
	d.clock.pass(7 * 24 * time.Hour)
	if got := d.call(http.MethodGet, token, nil, "Authorization", bearer); got.status != http.StatusUnauthorized {
		t.Errorf("after a week: %d", got.status)
	}
	if _, err := d.app.SignIn("nobody"); err == nil {
		t.Error("nobody signed in")
	}
}

// A member of several organizations says for which one; a token is only ever
// about one that its subject is in.
func TestSetActive(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.app.AddMember("alice", "org-2", "member")
	d.app.AddOrg(Org{ID: "org-3", Slug: "initech", Name: "Initech"})
	bearer := d.signIn()
	slug := func() any {
		object := d.call(http.MethodGet, "/api/auth/token", nil, "Authorization", bearer).object(t)
		org, _ := d.claims(object["token"].(string))["org"].(map[string]any)
		return org["slug"]
	}
	activate := func(body map[string]string) answer {
		return d.call(http.MethodPost, "/api/auth/organization/set-active", body, "Authorization", bearer)
	}
	if got := slug(); got != nil {
		t.Errorf("at first: %v", got)
	}
	for _, test := range []struct {
		body   map[string]string
		status int
		code   any
		slug   any
	}{
		{map[string]string{"organizationSlug": "globex"}, 200, nil, "globex"},
		{map[string]string{"organizationSlug": "initech"}, 403, "USER_IS_NOT_A_MEMBER_OF_THE_ORGANIZATION", "globex"},
		{map[string]string{"organizationSlug": "nowhere"}, 400, "ORGANIZATION_NOT_FOUND", "globex"},
		{map[string]string{"organizationId": "org-1"}, 200, nil, "acme"},
	} {
		if got := activate(test.body); got.status != test.status || got.object(t)["code"] != test.code || slug() != test.slug {
			t.Errorf("%v: %d %s, then %v", test.body, got.status, got.body, slug())
		}
	}
	d.app.AddMember("alice", "org-1", "")
	if got := slug(); got != nil {
		t.Errorf("after the membership: %v", got)
	}
	if got := activate(map[string]string{}); got.status != 200 || slug() != nil {
		t.Errorf("none: %d", got.status)
	}
	d.app.AddOrg(Org{ID: "org-2", Slug: "globex-2", Name: "Globex"})
	activate(map[string]string{"organizationId": "org-2"})
	if got := slug(); got != "globex-2" {
		t.Errorf("renamed: %v", got)
	}
	if got := d.call(http.MethodPost, "/api/auth/organization/set-active", map[string]string{}); got.status != 401 {
		t.Errorf("without a session: %d", got.status)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ids := func() (ids []any) {
		keys, _ := d.call(http.MethodGet, "/api/auth/jwks", nil).object(t)["keys"].([]any)
		for _, key := range keys {
			ids = append(ids, key.(map[string]any)["kid"])
		}
		return ids
	}
	first := ids()
	if err := d.app.Rotate(ES256); err != nil {
		t.Fatal(err)
	}
	both := ids()
	d.app.Retire()
	last := ids()
	if len(first) != 1 || len(both) != 2 || len(last) != 1 || both[0] != first[0] || both[1] != last[0] {
		t.Errorf("%v, %v, %v", first, both, last)
	}
}

func TestValidateKey(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	worker := d.app.AddKey(Key{Prefix: "flovyn_wk_", UserID: "alice", OrgID: "org-1"})
	user := d.app.AddKey(Key{Prefix: "flovyn_sk_", UserID: "alice", OrgID: "org-1", Role: "ADMIN"})
	service := d.app.AddKey(Key{Prefix: "flovyn_sk_", UserID: "alice", PrincipalType: "Service"})
	short := d.app.AddKey(Key{Prefix: "flovyn_sk_", UserID: "alice", OrgID: "org-1", Expires: d.clock.Now()})
	revoked := d.app.AddKey(Key{Prefix: "flovyn_sk_", UserID: "alice", OrgID: "org-1"})
	d.app.RevokeKey(revoked)
	if !regexp.MustCompile("^flovyn_wk_[A-Za-z]{64}$").MatchString(worker) {
		t.Errorf("key %q", worker)
	}
	for key, want := range map[string]map[string]any{
		worker:        {"valid": true, "orgSlug": "acme", "userId": "alice", "principalType": "Worker"},
		user:          {"valid": true, "orgSlug": "acme", "userId": "alice", "principalType": "User", "role": "ADMIN"},
		service:       {"valid": true, "userId": "alice", "principalType": "Service"},
		short:         {"valid": false, "error": "API key has expired"},
		revoked:       {"valid": false, "error": "Invalid API key"},
		"flovyn_sk_x": {"valid": false, "error": "Invalid API key"},
		"":            {"valid": false, "error": "Invalid API key"},
	} {
		got := d.call(http.MethodPost, "/api/auth/validate-key", map[string]string{"apiKey": key})
		if diff := cmp.Diff(want, got.object(t)); diff != "" || got.status != 200 {
			t.Errorf("%s: %d %s", key, got.status, diff)
		}
	}
	if got := d.app.Requests("/api/auth/validate-key"); got != 7 {
		t.Errorf("%d requests", got)
	}
	if got := d.call(http.MethodPost, "/api/auth/validate-key", nil); got.status != 400 {
		t.Errorf("no body: %d", got.status)
	}
	if got := d.call(http.MethodPost, "/api/auth/validate-key", map[string]string{"apiKey": strings.Repeat("x", maxBody)}); got.status != 413 {
		t.Errorf("a long body: %d", got.status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const path = "/.well-known/jwks.json"
	for status, fault := range map[int]Fault{302: Redirect("http://elsewhere.example/"), 429: TooManyRequests, 500: Broken} {
		d.app.Fail(path, fault)
		if got := d.call(http.MethodGet, path, nil); got.status != status {
			t.Errorf("%d, want %d", got.status, status)
		}
	}
	d.app.Fail(path, NotJSON)
	if got := d.call(http.MethodGet, path, nil); got.status != 200 || json.Valid([]byte(got.body)) {
		t.Errorf("%d %s", got.status, got.body)
	}
	d.app.Fail(path, Huge)
	if got := d.call(http.MethodGet, path, nil); len(got.body) != 16<<20 {
		t.Errorf("%d bytes", len(got.body))
	}
	for _, fault := range []Fault{Down, Slow} {
		d.app.Fail(path, fault)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		// With a body, until whose end a server does not notice that a client is gone.
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.app.JWKSURI(), strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if response, err := d.client.Do(r); err == nil {
			t.Errorf("%s", response.Status)
			_ = response.Body.Close()
		}
		cancel()
	}
	d.app.Fail(path, nil)
	if got := d.call(http.MethodGet, path, nil); got.status != 200 {
		t.Errorf("healed: %d", got.status)
	}
}
