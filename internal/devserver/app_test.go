package devserver_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/devserver"
)

// send sends a request with a bearer token, and returns the status and the JSON
// of the answer.
func send(t *testing.T, client *http.Client, method, url, bearer, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := map[string]any{}
	_ = json.NewDecoder(resp.Body).Decode(&answer) // some answers have no body
	return resp.StatusCode, answer
}

// A developer signs a device in and calls with its token, without any Flovyn App;
// the keys that are printed work too, on both ports, with every algorithm, also
// after a restart on the same data.
func TestStandInApp(t *testing.T) {
	t.Parallel()
	dir := place(t)
	for _, algorithm := range []string{"EdDSA", "ES256"} {
		s, stop := start(t, devserver.Config{DataDir: dir, AppAlgorithm: algorithm})
		app := s.App()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		post := func(path, bearer, body string) (int, map[string]any) {
			return send(t, client, http.MethodPost, app.URL()+path, bearer, body)
		}
		if !strings.HasPrefix(app.URL(), "http://127.0.0.1:") {
			t.Errorf("it listens at %s", app.URL())
		}
		_, code := post("/api/auth/device/code", "", `{"client_id":"flovyn-cli"}`)
		signIn(t, client, app.URL(), code["user_code"].(string))
		status, session := post("/api/auth/device/token", "", `{"grant_type":"urn:ietf:params:oauth:grant-type:device_code","client_id":"flovyn-cli","device_code":"`+code["device_code"].(string)+`"}`)
		if status != http.StatusOK {
			t.Fatalf("the device is not signed in: %d %v", status, session)
		}
		_, token := send(t, client, http.MethodGet, app.URL()+"/api/auth/token", session["access_token"].(string), "")
		for name, credential := range map[string]string{"token": token["token"].(string), "user": app.UserKey, "worker": app.WorkerKey} {
			for _, url := range []string{s.HTTPURL(), s.GRPCURL()} {
				status, who := send(t, client, http.MethodPost, url+"/flovyn.api.v1.IdentityService/WhoAmI", credential, "{}")
				if status != http.StatusOK || who["orgSlug"] != devserver.OrgSlug || (name != "worker" && who["role"] != "OWNER") {
					t.Errorf("%s, %s: %d %v", algorithm, name, status, who)
				}
			}
		}
		stop()
	}
}

// signIn does in the place of a browser what the page has a person do.
func signIn(t *testing.T, client *http.Client, app, code string) {
	t.Helper()
	form := func(path, cookie, body string) (status int, cookies []*http.Cookie) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		resp, err := client.Transport.RoundTrip(r) // redirects are for browsers
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Cookies()
	}
	status, cookies := form("/sign-in", "", "user=dev-owner&user_code="+code)
	if len(cookies) != 1 {
		t.Fatalf("signing in: %d, %v", status, cookies)
	}
	if status, _ := form("/device", cookies[0].Name+"="+cookies[0].Value, "decision=approve&user_code="+code); status >= http.StatusBadRequest {
		t.Fatalf("approving: %d", status)
	}
}
