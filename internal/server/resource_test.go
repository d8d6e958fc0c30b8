package server_test

import (
	"net/http"
	"testing"

	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// Whoever is not logged in yet learns where to, and where nobody is trusted there
// is nothing to learn.
func TestResourceMetadata(t *testing.T) {
	t.Parallel()
	const path = "/.well-known/oauth-protected-resource"
	app := newProvider(t)
	s := servertest.New(t, guideChains(app))
	got := request(t, overHTTP1(t), http.MethodGet, s.HTTP+path, nil, "")
	servers, _ := decode(t, got.body)["authorization_servers"].([]any)
	if got.status != http.StatusOK || len(servers) != 1 || servers[0] != app.URL() || decode(t, got.body)["resource"] != s.HTTP {
		t.Errorf("%d %s", got.status, got.body)
	}
	without := servertest.New(t)
	if got := request(t, overHTTP1(t), http.MethodGet, without.HTTP+path, nil, ""); got.status != http.StatusNotFound {
		t.Errorf("without an app: %d %s", got.status, got.body)
	}
}
