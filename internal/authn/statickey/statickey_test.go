package statickey

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

var (
	org    = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))
	admin  = caller.Caller{Kind: caller.User, ID: "admin", Org: org, Role: caller.Owner}
	worker = caller.Caller{Kind: caller.Worker, ID: "worker:dev", Org: org}
)

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a, err := New([]Key{{"flovyn_sk_dev_admin", admin}, {"fwt_dev_worker", worker}})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]authn.Result{
		"flovyn_sk_dev_admin":  authn.Accept(admin),
		"fwt_dev_worker":       authn.Accept(worker),
		"fwt_dev_worker2":      {},
		"fwt_dev_worke":        {},
		"FWT_DEV_WORKER":       {},
		"flovyn_sk_dev_admin=": {},
		"x":                    {},
	} {
		credential, err := authn.NewCredential(token)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Authenticate(t.Context(), credential); got != want {
			t.Errorf("%s: %+v, want %+v", token, got, want)
		}
	}
	if a.Name() != "static_api_key" {
		t.Errorf("name %q", a.Name())
	}
}

func TestNoKeysRecognizeNobody(t *testing.T) {
	t.Parallel()
	a, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, credential := range []authn.Credential{{}, func() authn.Credential { c, _ := authn.NewCredential("x"); return c }()} {
		if got := a.Authenticate(t.Context(), credential); got.Outcome != authn.NotMine {
			t.Errorf("%+v", got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Key{"flovyn_sk_hunter2", admin}
	for name, test := range map[string]struct {
		keys []Key
		want string
	}{
		"empty":                {[]Key{good, {"", worker}}, "key 1 is empty"},
		"the same":             {[]Key{good, {"other", worker}, {good.Secret, worker}}, "key 2 is the same as key 0"},
		"cannot be sent":       {[]Key{{"hunter2 hunter2", worker}}, "key 0"},
		"longer than a header": {[]Key{{strings.Repeat("hunter2", 2000), worker}}, "key 0"},
	} {
		_, err := New(test.keys)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
