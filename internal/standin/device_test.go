package standin

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const client = "flovyn-cli"

// begin asks for a code.
func (d *desk) begin() (deviceCode, userCode string) {
	d.Helper()
	got := d.call(http.MethodPost, "/api/auth/device/code", map[string]string{"client_id": client, "scope": "openid"}).object(d.T)
	deviceCode, _ = got["device_code"].(string)
	userCode, _ = got["user_code"].(string)
	if !regexp.MustCompile("^[A-Za-z0-9]{40}$").MatchString(deviceCode) || !regexp.MustCompile("^[A-HJ-NP-Z2-9]{8}$").MatchString(userCode) {
		d.Fatalf("codes %q and %q", deviceCode, userCode)
	}
	page := d.app.URL() + "/device"
	if got["verification_uri"] != page || got["verification_uri_complete"] != page+"?user_code="+userCode ||
		got["expires_in"] != 1800.0 || got["interval"] != 5.0 {
		d.Errorf("%v", got)
	}
	return deviceCode, userCode
}

func (d *desk) poll(deviceCode string) answer {
	d.Helper()
	return d.call(http.MethodPost, "/api/auth/device/token",
		map[string]string{"grant_type": deviceGrant, "device_code": deviceCode, "client_id": client})
}

// pollAfter polls when the interval has passed, and wants an error.
func (d *desk) pollAfter(deviceCode, want string) {
	d.Helper()
	d.clock.pass(5 * time.Second)
	if got := d.poll(deviceCode); got.status != http.StatusBadRequest || got.object(d.T)["error"] != want {
		d.Errorf("%d %s, want %s", got.status, got.body, want)
	}
}

func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, userCode := d.begin()
	d.pollAfter(code, "authorization_pending")
	if got := d.poll(code); got.object(t)["error"] != "slow_down" {
		t.Errorf("polled at once: %s", got.body)
	}
	d.pollAfter(code, "authorization_pending")
	if got := d.call(http.MethodGet, "/api/auth/device?user_code="+userCode, nil); got.object(t)["status"] != "pending" {
		t.Errorf("%s", got.body)
	}
	approve := func(header ...string) answer {
		// As people write it: in lower case, with a dash.
		shown := strings.ToLower(userCode[:4] + "-" + userCode[4:])
		return d.call(http.MethodPost, "/api/auth/device/approve", map[string]string{"userCode": shown}, header...)
	}
	if got := approve(); got.status != http.StatusUnauthorized {
		t.Errorf("approved by nobody: %d", got.status)
	}
	bearer := d.signIn()
	if got := approve("Authorization", bearer); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := approve("Authorization", bearer); got.object(t)["error"] != "invalid_request" {
		t.Errorf("approved twice: %s", got.body)
	}
	d.clock.pass(5 * time.Second)
	got := d.poll(code).object(t)
	if got["token_type"] != "Bearer" || got["scope"] != "openid" || got["expires_in"] != 604800.0 {
		t.Errorf("%v", got)
	}
	session, _ := got["access_token"].(string)
	if strings.Contains(session, ".") {
		t.Errorf("the access token %q looks like a JWT", session)
	}
	token := d.call(http.MethodGet, "/api/auth/token", nil, "Authorization", "Bearer "+session).object(t)
	if claims := d.claims(token["token"].(string)); claims["sub"] != "alice" || claims["org"] == nil {
		t.Errorf("%v", claims)
	}
	d.pollAfter(code, "invalid_grant") // it was redeemed
}

// A code is redeemed once, however many ask.
func TestDeviceCodeIsSingleUse(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, userCode := d.begin()
	if err := d.app.Decide("alice", userCode, true); err != nil {
		t.Fatal(err)
	}
	var sessions atomic.Int32
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if d.poll(code).status == http.StatusOK {
				sessions.Add(1)
			}
		})
	}
	group.Wait()
	if n := sessions.Load(); n != 1 {
		t.Errorf("%d sessions of one code", n)
	}
}

func TestDeviceDeniedAndExpired(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, userCode := d.begin()
	if err := d.app.Decide("alice", userCode, false); err != nil {
		t.Fatal(err)
	}
	d.pollAfter(code, "access_denied")
	d.pollAfter(code, "invalid_grant")

	code, userCode = d.begin()
	d.clock.pass(30 * time.Minute)
	if got := d.call(http.MethodGet, "/api/auth/device?user_code="+userCode, nil); got.object(t)["error"] != "expired_token" {
		t.Errorf("%s", got.body)
	}
	if err := d.app.Decide("alice", userCode, true); err == nil || !strings.Contains(err.Error(), "expired_token") {
		t.Errorf("got %v", err)
	}
	d.pollAfter(code, "expired_token")
	d.pollAfter(code, "invalid_grant")

	if err := d.app.Decide("nobody", userCode, true); err == nil {
		t.Error("nobody decided")
	}
	if err := d.app.Decide("alice", "AAAAAAAA", true); err == nil {
		t.Error("a code that nobody has was approved")
	}
}

func TestDeviceRequests(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, _ := d.begin()
	for name, test := range map[string]struct {
		path string
		body any
		want string
	}{
		"no client":          {"code", map[string]string{}, "invalid_request"},
		"no grant":           {"token", map[string]string{"device_code": code, "client_id": client}, "invalid_request"},
		"another grant":      {"token", map[string]string{"grant_type": "password", "device_code": code, "client_id": client}, "invalid_request"},
		"another client":     {"token", map[string]string{"grant_type": deviceGrant, "device_code": code, "client_id": "evil"}, "invalid_grant"},
		"unknown":            {"token", map[string]string{"grant_type": deviceGrant, "device_code": "x", "client_id": client}, "invalid_grant"},
		"a form, and a code": {"token", url.Values{"grant_type": {deviceGrant}, "device_code": {code}, "client_id": {client}}, "authorization_pending"},
	} {
		if got := d.call(http.MethodPost, "/api/auth/device/"+test.path, test.body); got.status != 400 || got.object(t)["error"] != test.want {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// In a browser: say who you are, then decide.
func TestDevicePage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.app.AddUser(User{ID: "eve", Email: "eve@x.com", Name: `<script>alert(1)</script>`})
	code, userCode := d.begin()
	page := d.call(http.MethodGet, "/device?user_code="+userCode, nil)
	if page.status != 200 || !strings.Contains(page.body, "alice@acme.com") || strings.Contains(page.body, "<script>") ||
		!strings.Contains(page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("%d %s", page.status, page.body)
	}
	decision := url.Values{"user_code": {userCode}, "decision": {"approve"}}
	if got := d.call(http.MethodPost, "/device", decision); got.status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", got.status)
	}
	in := d.call(http.MethodPost, "/sign-in", url.Values{"user": {"alice"}, "user_code": {userCode}})
	cookie, _, _ := strings.Cut(in.header.Get("Set-Cookie"), ";")
	if in.status != http.StatusSeeOther || in.header.Get("Location") != "/device?user_code="+userCode || cookie == "" {
		t.Fatalf("%d %v", in.status, in.header)
	}
	page = d.call(http.MethodGet, in.header.Get("Location"), nil, "Cookie", cookie)
	if !strings.Contains(page.body, userCode) || !strings.Contains(page.body, client) || !strings.Contains(page.body, "Approve") {
		t.Errorf("%s", page.body)
	}
	if got := d.call(http.MethodPost, "/device", decision, "Cookie", cookie); got.status != 200 || !strings.Contains(got.body, "Approved") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.call(http.MethodPost, "/device", decision, "Cookie", cookie); got.status != 400 || !strings.Contains(got.body, "already processed") {
		t.Errorf("twice: %d %s", got.status, got.body)
	}
	if got := d.poll(code); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	code, userCode = d.begin()
	deny := url.Values{"user_code": {userCode}, "decision": {"deny"}}
	if got := d.call(http.MethodPost, "/device", deny, "Cookie", cookie); got.status != 200 || !strings.Contains(got.body, "Denied") {
		t.Errorf("%d %s", got.status, got.body)
	}
	d.pollAfter(code, "access_denied")
	if got := d.call(http.MethodPost, "/sign-in", url.Values{"user": {"nobody"}}); got.status != 400 {
		t.Errorf("nobody: %d", got.status)
	}
}
