package standin

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// deviceGrant is the grant type of RFC 8628.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// The states of a device's request.
const (
	pending  = "pending"
	approved = "approved"
	denied   = "denied"
)

// A device wants to be signed in by a person who is at another one.
type device struct {
	code, userCode  string
	client, scope   string
	state           string
	user            string // who approved
	expires, polled time.Time
}

func (a *App) serveDeviceCode(w http.ResponseWriter, r *http.Request) {
	body, ok := readFields(w, r)
	if !ok {
		return
	}
	if body["client_id"] == "" {
		refuse(w, "invalid_request", "client_id is required")
		return
	}
	d := &device{
		code: random(40, alphanumeric), userCode: random(8, userLetters), client: body["client_id"], scope: body["scope"],
		state: pending, expires: a.cfg.Now().Add(a.cfg.DeviceLifetime),
	}
	a.mu.Lock()
	a.devices[d.code] = d
	a.mu.Unlock()
	page := a.url + "/device"
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code": d.code, "user_code": d.userCode, "verification_uri": page,
		"verification_uri_complete": page + "?" + url.Values{"user_code": {d.userCode}}.Encode(),
		"expires_in":                int(a.cfg.DeviceLifetime.Seconds()), "interval": int(a.cfg.PollInterval.Seconds()),
	})
}

// serveDeviceToken answers a device that asks whether the person has decided.
// The order of the tests is Better Auth's. A code is redeemed at most once,
// however many ask at the same time.
func (a *App) serveDeviceToken(w http.ResponseWriter, r *http.Request) {
	body, ok := readFields(w, r)
	if !ok {
		return
	}
	if body["grant_type"] != deviceGrant || body["device_code"] == "" || body["client_id"] == "" {
		refuse(w, "invalid_request", "grant_type, device_code and client_id are required")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d, now := a.devices[body["device_code"]], a.cfg.Now()
	if d == nil || d.client != body["client_id"] {
		refuse(w, "invalid_grant", "Invalid device code")
		return
	}
	hasty := !d.polled.IsZero() && now.Sub(d.polled) < a.cfg.PollInterval
	d.polled = now
	switch {
	case hasty:
		refuse(w, "slow_down", "Polling too frequently")
	case !now.Before(d.expires):
		delete(a.devices, d.code)
		refuse(w, "expired_token", "Device code has expired")
	case d.state == pending:
		refuse(w, "authorization_pending", "Authorization pending")
	case d.state == denied:
		delete(a.devices, d.code)
		refuse(w, "access_denied", "Access denied")
	default:
		delete(a.devices, d.code)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": a.newSession(d.user).token, "token_type": "Bearer",
			"expires_in": int(a.cfg.SessionLifetime.Seconds()), "scope": d.scope,
		})
	}
}

// serveDevice tells what became of a code that a person was shown.
func (a *App) serveDevice(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, code, description := a.deviceByUserCode(r.URL.Query().Get("user_code"))
	if d == nil {
		refuse(w, code, description)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"user_code": d.userCode, "status": d.state})
}

func (a *App) serveDecision(state string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			UserCode string `json:"userCode"`
		}
		if !readJSON(w, r, &body) {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		s := a.sessionOf(r)
		if s == nil {
			unauthorized(w)
			return
		}
		if code, description := a.decide(s, body.UserCode, state); code != "" {
			refuse(w, code, description)
			return
		}
		writeJSON(w, http.StatusOK, map[string]bool{"success": true})
	}
}

// Decide approves or denies the device that shows a code, as a user.
func (a *App) Decide(userID, userCode string, approve bool) error {
	state := denied
	if approve {
		state = approved
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.users[userID]; !ok {
		return errNoUser(userID)
	}
	if code, description := a.decide(&session{user: userID}, userCode, state); code != "" {
		return &decisionError{code, description}
	}
	return nil
}

// decisionError says why a device could not be approved or denied.
type decisionError struct{ code, description string }

func (e *decisionError) Error() string { return e.code + ": " + e.description }

// decide notes a person's decision; code is empty when there was something to
// decide. Called with the lock held.
func (a *App) decide(s *session, userCode, state string) (code, description string) {
	d, code, description := a.deviceByUserCode(userCode)
	switch {
	case d == nil:
		return code, description
	case d.state != pending:
		return "invalid_request", "Device code already processed"
	}
	d.state, d.user = state, s.user
	return "", ""
}

// deviceByUserCode finds the device that shows a code, however the person wrote
// it. Called with the lock held.
func (a *App) deviceByUserCode(text string) (d *device, code, description string) {
	wanted := strings.Map(func(r rune) rune {
		if strings.ContainsRune(userLetters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(text))
	for _, d := range a.devices {
		if d.userCode != wanted {
			continue
		}
		if !a.cfg.Now().Before(d.expires) {
			return nil, "expired_token", "User code has expired"
		}
		return d, "", ""
	}
	return nil, "invalid_request", "Invalid user code"
}

// refuse is an error as RFC 8628 writes one.
func refuse(w http.ResponseWriter, code, description string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

// readFields reads a flat object, in JSON or as a form.
func readFields(w http.ResponseWriter, r *http.Request) (map[string]string, bool) {
	fields := map[string]string{}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		ok := readJSON(w, r, &fields)
		return fields, ok
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_request", "Invalid form")
		return nil, false
	}
	for name := range r.PostForm {
		fields[name] = r.PostForm.Get(name)
	}
	return fields, true
}
