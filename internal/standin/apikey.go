package standin

import (
	"cmp"
	"crypto/sha256"
	"net/http"
	"strings"
)

// serveValidateKey answers whether an API key is good, and whose it is. The
// answer to a bad one is 200 as well.
func (a *App) serveValidateKey(w http.ResponseWriter, r *http.Request) {
	var body struct {
		APIKey string `json:"apiKey"`
	}
	if !readJSON(w, r, &body) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key, ok := a.keys[sha256.Sum256([]byte(body.APIKey))]
	switch {
	case !ok:
		writeJSON(w, http.StatusOK, map[string]any{"valid": false, "error": "Invalid API key"})
		return
	case !key.Expires.IsZero() && !a.cfg.Now().Before(key.Expires):
		writeJSON(w, http.StatusOK, map[string]any{"valid": false, "error": "API key has expired"})
		return
	}
	kind := "User"
	if strings.HasPrefix(key.Prefix, "flovyn_wk_") {
		kind = "Worker"
	}
	answer := map[string]any{"valid": true, "userId": key.UserID, "principalType": cmp.Or(key.PrincipalType, kind)}
	if org, ok := a.orgs[key.OrgID]; ok {
		answer["orgSlug"] = org.Slug
	}
	if key.Role != "" {
		answer["role"] = key.Role
	}
	writeJSON(w, http.StatusOK, answer)
}
