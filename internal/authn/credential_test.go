package authn

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestFromHeader(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", MaxHeaderBytes-len("Bearer "))
	for name, test := range map[string]struct {
		values []string
		want   string
		err    error
	}{
		"usual":            {[]string{"Bearer flovyn_wk_test_1"}, "flovyn_wk_test_1", nil},
		"lower case":       {[]string{"bearer x"}, "x", nil},
		"upper case":       {[]string{"BEARER x"}, "x", nil},
		"several spaces":   {[]string{"Bearer   x"}, "x", nil},
		"jwt":              {[]string{"Bearer eyJh.eyJz.c2ln-_"}, "eyJh.eyJz.c2ln-_", nil},
		"padding":          {[]string{"Bearer ab=="}, "ab==", nil},
		"longest":          {[]string{"Bearer " + longest}, longest, nil},
		"too long":         {[]string{"Bearer " + longest + "a"}, "", errTooLong},
		"none":             {nil, "", errNoHeader},
		"two":              {[]string{"Bearer a", "Bearer b"}, "", errManyHeaders},
		"two, one empty":   {[]string{"Bearer a", ""}, "", errManyHeaders},
		"joined":           {[]string{"Bearer a, Bearer b"}, "", errToken},
		"joined, no space": {[]string{"Bearer a,b"}, "", errToken},
		"empty":            {[]string{""}, "", errScheme},
		"scheme only":      {[]string{"Bearer"}, "", errToken},
		"no token":         {[]string{"Bearer "}, "", errToken},
		"no scheme":        {[]string{"flovyn_wk_test_1"}, "", errScheme},
		"other scheme":     {[]string{"Basic YTpi"}, "", errScheme},
		"longer scheme":    {[]string{"Bearers x"}, "", errScheme},
		"tab":              {[]string{"Bearer\tx"}, "", errScheme},
		"space before":     {[]string{" Bearer x"}, "", errScheme},
		"space after":      {[]string{"Bearer x "}, "", errToken},
		"two words":        {[]string{"Bearer x y"}, "", errToken},
		"control":          {[]string{"Bearer x\x00"}, "", errToken},
		"not ASCII":        {[]string{"Bearer schlüssel"}, "", errToken},
		"delete":           {[]string{"Bearer x\x7f"}, "", errToken},
		"Kelvin sign":      {[]string{"Bearer \u212a"}, "", errToken},
	} {
		got, err := FromHeader(http.Header{"Authorization": test.values})
		if got.Token() != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got.Token(), err, test.want, test.err)
		}
	}
}

func TestCredentialIsNeverPrinted(t *testing.T) {
	t.Parallel()
	credential, err := NewCredential("hunter2")
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", slog.Any("credential", credential))
	shown := fmt.Sprintf("%v %+v %#v %s %q %v", credential, credential, credential, credential, credential, &credential) + logged.String()
	if strings.Contains(shown, "hunter2") {
		t.Error(shown)
	}
}

// A header is refused or yields a token that could be sent again as it is; and
// a refusal never quotes what was sent.
func FuzzFromHeader(f *testing.F) {
	for _, seed := range []string{
		"Bearer a", "bearer  a", "Bearer", "Bearer ", "Basic a", "", "Bearer a b", "Bearer a,b", "Bearer \xff", "BEARER a\t",
		"Bearer eyJh.eyJz.c2ln",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := FromHeader(http.Header{"Authorization": {value}})
		if err != nil {
			if got != (Credential{}) {
				t.Errorf("%q: refused, and yet %q", value, got.Token())
			}
			return
		}
		if !strings.HasSuffix(value, got.Token()) || strings.ContainsAny(got.Token(), " \t\r\n,\x00") || got.Token() == "" {
			t.Errorf("%q yields %q", value, got.Token())
		}
		again, err := FromHeader(http.Header{"Authorization": {"Bearer " + got.Token()}})
		if err != nil || again != got {
			t.Errorf("%q yields %q, which yields %q, %v", value, got.Token(), again.Token(), err)
		}
	})
}
