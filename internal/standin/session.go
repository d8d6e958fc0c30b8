package standin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// cookieName is that of the session's cookie in a browser.
const cookieName = "better-auth.session_token"

// A session is somebody signed in, on one device.
type session struct {
	id, token string
	user      string
	activeOrg string
	expires   time.Time
}

// SignIn begins a session and returns its token, an opaque text that is no JWT.
func (a *App) SignIn(userID string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.users[userID]; !ok {
		return "", errNoUser(userID)
	}
	return a.newSession(userID).token, nil
}

// newSession begins a session. As in a Flovyn App, one who is in exactly one
// organization is active in it from the start. Called with the lock held.
func (a *App) newSession(userID string) *session {
	s := &session{
		id: newID(), token: random(32, alphanumeric), user: userID, expires: a.cfg.Now().Add(a.cfg.SessionLifetime),
	}
	if orgs := a.orgsOf(userID); len(orgs) == 1 {
		s.activeOrg = orgs[0].ID
	}
	a.sessions[s.token] = s
	return s
}

// sessionOf finds the session behind a request: by bearer token, or by cookie.
// Called with the lock held.
func (a *App) sessionOf(r *http.Request) *session {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
		if cookie, err := r.Cookie(cookieName); err == nil {
			token = cookie.Value
		}
	}
	s := a.sessions[strings.TrimSpace(token)]
	if s == nil || !a.cfg.Now().Before(s.expires) {
		return nil
	}
	return s
}

// mint returns a JWT for a session.
func (a *App) mint(s *session) (string, error) {
	a.mu.Lock()
	claims := a.claims(s)
	a.mu.Unlock()
	return a.Sign(claims, nil)
}

// claims are those of a Flovyn App. Called with the lock held.
func (a *App) claims(s *session) map[string]any {
	user, now := a.users[s.user], a.cfg.Now()
	claims := map[string]any{
		"sub": user.ID, "email": user.Email, "name": user.Name, "iss": a.url, "aud": a.cfg.Audience,
		"iat": now.Unix(), "exp": now.Add(a.cfg.TokenLifetime).Unix(),
	}
	org, exists := a.orgs[s.activeOrg]
	if role, member := a.members[member{s.user, s.activeOrg}]; exists && member {
		claims["org"] = map[string]any{"id": org.ID, "slug": org.Slug, "name": org.Name, "role": role}
	}
	return claims
}

// lookUp is sessionOf with the lock.
func (a *App) lookUp(r *http.Request) *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessionOf(r)
}

func (a *App) serveToken(w http.ResponseWriter, r *http.Request) {
	s := a.lookUp(r)
	if s == nil {
		unauthorized(w)
		return
	}
	token, err := a.mint(s)
	if err != nil {
		failed(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"token": token})
}

func (a *App) serveSession(w http.ResponseWriter, r *http.Request) {
	s := a.lookUp(r)
	if s == nil {
		writeJSON(w, http.StatusOK, nil)
		return
	}
	token, err := a.mint(s)
	if err != nil {
		failed(w, err)
		return
	}
	w.Header().Set("Set-Auth-Jwt", token)
	a.mu.Lock()
	defer a.mu.Unlock()
	user := a.users[s.user]
	writeJSON(w, http.StatusOK, map[string]any{
		"session": map[string]any{
			"id": s.id, "token": s.token, "userId": s.user, "expiresAt": s.expires.UTC(), "activeOrganizationId": orNull(s.activeOrg),
		},
		"user": map[string]any{"id": user.ID, "email": user.Email, "name": user.Name, "emailVerified": true},
	})
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (a *App) serveSetActive(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ID   string `json:"organizationId"`
		Slug string `json:"organizationSlug"`
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
	if body.ID == "" && body.Slug == "" {
		s.activeOrg = ""
		writeJSON(w, http.StatusOK, nil)
		return
	}
	org, ok := a.orgs[body.ID]
	if body.Slug != "" {
		org, ok = a.orgBySlug(body.Slug)
	}
	if !ok {
		problem(w, http.StatusBadRequest, "ORGANIZATION_NOT_FOUND", "Organization not found")
		return
	}
	if _, in := a.members[member{s.user, org.ID}]; !in {
		problem(w, http.StatusForbidden, "USER_IS_NOT_A_MEMBER_OF_THE_ORGANIZATION", "User is not a member of the organization")
		return
	}
	s.activeOrg = org.ID
	writeJSON(w, http.StatusOK, map[string]string{"id": org.ID, "slug": org.Slug, "name": org.Name})
}

func unauthorized(w http.ResponseWriter) {
	problem(w, http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized")
}

func failed(w http.ResponseWriter, err error) {
	problem(w, http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", err.Error())
}

// problem is an error as Better Auth writes one.
func problem(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]string{"code": code, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(value)
}

// readJSON reads a body, or answers that it cannot.
func readJSON(w http.ResponseWriter, r *http.Request, body any) bool {
	err := json.NewDecoder(r.Body).Decode(body)
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		problem(w, http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", "Payload too large")
		return false
	}
	if err != nil {
		problem(w, http.StatusBadRequest, "VALIDATION_ERROR", "Invalid body parameters")
	}
	return err == nil
}
