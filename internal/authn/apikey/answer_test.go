package apikey

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/flovyn/flovyn-server/internal/caller"
)

// Whatever a provider answers, a key is only good if the answer says so with all
// that belongs to it; and no answer says more for a key than its prefix allows.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		`{"valid":true,"orgSlug":"acme"}`, `{"valid":true,"tenantSlug":"acme","userId":"u1","principalType":"User","role":"owner"}`,
		`{"valid":true,"orgSlug":"acme","principalType":"Service"}`, `{"valid":true,"orgSlug":"acme","principalType":"Worker","orgId":"x"}`,
		`{"valid":false,"error":"flovyn_sk_hunter2"}`, `{"valid":"true"}`, `{"valid":true,"valid":false}`, `[]`, `null`, `{`, ``,
	} {
		f.Add([]byte(answer), true)
		f.Add([]byte(answer), false)
	}
	a := &Authenticator{cfg: Config{DefaultUserRole: caller.Member}}
	f.Fuzz(func(t *testing.T, body []byte, user bool) {
		key, kind := "flovyn_wk_hunter2", caller.Worker
		if user {
			key, kind = "flovyn_sk_hunter2", caller.User
		}
		v, err := a.read(key, body)
		if err != nil {
			if v != (verdict{}) || strings.Contains(err.Error(), key) {
				t.Errorf("%+v with %v", v, err)
			}
			return
		}
		var said map[string]json.RawMessage
		if err := json.Unmarshal(body, &said); err != nil || string(said["valid"]) != "true" {
			t.Errorf("accepted %s, %v", said["valid"], err)
		}
		if v.kind != kind || v.slug == "" || v.id == "" || (v.kind != caller.User && v.role != caller.NoRole) {
			t.Errorf("accepted as %+v", v)
		}
	})
}
