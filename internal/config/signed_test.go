package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What an authenticator of signed tokens needs is asked for where it belongs,
// by line; and only while the authenticator is in the chain of an open door.
func TestSignedTokensNeedTheirSettings(t *testing.T) {
	t.Parallel()
	const head = "[database]\nurl = \"postgres://h/d\"\n[auth.endpoints.grpc]\nenabled = false\n[auth.endpoints.http]\n"
	const complete = "issuer = \"https://app.acme.com\"\naudience = \"flovyn-server\"\n"
	for name, test := range map[string]struct {
		text    string
		environ []string
		want    []string
	}{
		"nothing": {
			text: head + "authenticators = [\"better_auth_jwt\"]\n[auth.better_auth_jwt]\n",
			want: []string{
				"config.toml:7: auth.better_auth_jwt.issuer: required", "config.toml:7: auth.better_auth_jwt.audience: required",
				"config.toml:7: auth.better_auth_jwt.jwks_uri: required",
			},
		},
		"no table": {
			text: head + "authenticators = [\"jwt\"]\n",
			want: []string{"auth.jwt.issuer: required", "auth.jwt.audience: required", "auth.jwt.jwks_uri: required"},
		},
		"the settings of the other": {
			text: head + "authenticators = [\"better_auth_jwt\"]\n[auth.jwt]\njwks_uri = \"https://x/jwks\"\n" + complete,
			want: []string{
				"auth.better_auth_jwt.issuer: required", "auth.better_auth_jwt.audience: required", "auth.better_auth_jwt.jwks_uri: required",
			},
		},
		"clear text": {
			text: head + "authenticators = [\"better_auth_jwt\"]\n[auth.better_auth.jwt]\njwks_uri = \"http://app.acme.com/jwks\"\n" + complete,
			want: []string{"config.toml:8: auth.better_auth_jwt.jwks_uri: the address of the keys must begin with https://"},
		},
		"clear text, on this machine": {
			text: head + "authenticators = [\"better_auth_jwt\"]\n[auth.better_auth.jwt]\njwks_uri = \"http://localhost:3000/jwks\"\n" + complete,
		},
		"both": {
			text: head + "authenticators = [\"better_auth_jwt\", \"jwt\"]\n[auth.better_auth_jwt]\njwks_uri = \"https://x/a\"\n" + complete +
				"[auth.jwt]\njwks_uri = \"https://x/b\"\n" + complete,
			want: []string{"config.toml:6: auth.endpoints.http.authenticators: better_auth_jwt and jwt both answer for every signed token"},
		},
		"one switch": {
			text: head + "authenticators = [\"jwt\"]\n[auth.jwt]\nskip_verification = true\n" + complete,
			want: []string{"config.toml:8: auth.jwt.skip_verification: whoever writes a token would be believed; to have that, set FLOVYN_INSECURE_DEV=1"},
		},
		"one and a half": {
			text: head + "authenticators = [\"jwt\"]\n[auth.jwt]\nskip_verification = true\n" + complete, environ: []string{"FLOVYN_INSECURE_DEV=0"},
			want: []string{"auth.jwt.skip_verification"},
		},
		"both switches": {
			text:    head + "authenticators = [\"jwt\"]\n[auth.jwt]\nskip_verification = true\n" + complete,
			environ: []string{"FLOVYN_INSECURE_DEV=1"},
		},
		"both switches, for anybody": {
			text:    head + "authenticators = [\"jwt\"]\n[auth.jwt]\nskip_verification = true\n",
			environ: []string{"FLOVYN_INSECURE_DEV=1"},
			want:    []string{"config.toml:7: auth.jwt.issuer: required", "config.toml:7: auth.jwt.audience: required"},
		},
		"organizations for anybody": {
			text:    head + "authenticators = [\"jwt\"]\n[auth.jwt]\nskip_verification = true\n" + complete + "[auth.org_resolver]\nauto_create = true\n",
			environ: []string{"FLOVYN_INSECURE_DEV=1"},
			want:    []string{"config.toml:8: auth.jwt.skip_verification: excludes auth.org_resolver.auto_create"},
		},
		"not in a chain": {
			text: head + "authenticators = [\"static_api_key\"]\n[auth.jwt]\nskip_verification = true\n",
		},
		"authentication off": {
			text: head + "authenticators = [\"better_auth_jwt\"]\n[auth]\nenabled = false\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := loadText(t, test.text, test.environ...)
			if len(test.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if err := cfg.Buildable(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no mistake found")
			}
			lines := strings.Split(err.Error(), "\n")
			for _, want := range test.want {
				if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("%q is not in %q", want, lines)
				}
			}
			if len(lines) != len(test.want) {
				t.Errorf("%d mistakes, want %d: %q", len(lines), len(test.want), lines)
			}
		})
	}
}

// Skipped verification is announced, and so is the place where it was written.
func TestSkippedVerificationIsLoud(t *testing.T) {
	t.Parallel()
	cfg, err := Load(filepath.Join("testdata", "guide-saas.toml"),
		[]string{"AUTH__BETTER_AUTH__JWT__SKIP_VERIFICATION=true", "FLOVYN_INSECURE_DEV=1"})
	if err != nil {
		t.Fatal(err)
	}
	want := "auth.better_auth_jwt.skip_verification is true: whoever writes a token is believed"
	if !slices.Contains(cfg.Warnings(), want) {
		t.Errorf("warnings %q lack %q", cfg.Warnings(), want)
	}
	_, err = Load(filepath.Join("testdata", "guide-saas.toml"), []string{"AUTH__BETTER_AUTH__JWT__SKIP_VERIFICATION=true"})
	if err == nil || !strings.Contains(err.Error(), "environment variable AUTH__BETTER_AUTH__JWT__SKIP_VERIFICATION: auth.better_auth_jwt.skip_verification") {
		t.Errorf("got %v", err)
	}
}
