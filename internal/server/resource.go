package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// resourceMetadataPath is where RFC 9728 has a server say who issues the tokens
// that it accepts. The CLI asks there at which app to log in.
const resourceMetadataPath = "/.well-known/oauth-protected-resource"

// mountResourceMetadata tells everybody which app issues the tokens of people, if
// the server accepts such tokens. An app's address is no secret: it is where they
// log in.
func (s *Server) mountResourceMetadata(mux *http.ServeMux) {
	issuer := strings.TrimSuffix(s.cfg.Auth.BetterAuthJWT.Issuer, "/")
	if issuer == "" || !slices.Contains(s.cfg.Auth.Endpoints.HTTP.Authenticators, "better_auth_jwt") {
		return
	}
	mux.HandleFunc("GET "+resourceMetadataPath, func(w http.ResponseWriter, r *http.Request) {
		scheme := "https"
		if r.TLS == nil && r.Header.Get("X-Forwarded-Proto") != "https" {
			scheme = "http"
		}
		w.Header().Set("Content-Type", "application/json")
		// A failure to write means that the client is gone.
		_ = json.NewEncoder(w).Encode(map[string]any{
			"resource": scheme + "://" + r.Host, "authorization_servers": []string{issuer}, "bearer_methods_supported": []string{"header"},
		})
	})
}
