package config

import (
	"strings"
	"testing"
)

// What an authenticator of issued credentials needs is asked for where it
// belongs, by line; and only while it is in the chain of an open door.
func TestIssuedCredentialsNeedTheirSettings(t *testing.T) {
	t.Parallel()
	const head = "[database]\nurl = \"postgres://h/d\"\n[auth.endpoints.grpc]\nenabled = false\n[auth.endpoints.http]\n"
	const keys = head + "authenticators = [\"better_auth_api_key\"]\n"
	const tokens = head + "authenticators = [\n\"static_api_key\",\n\"worker_token\"]\n"
	for name, test := range map[string]struct {
		text    string
		environ []string
		want    string
	}{
		"no URL":                 {text: keys, want: "auth.better_auth.validation_url: required"},
		"no URL, by line":        {text: keys + "[auth.better_auth]\ntimeout_secs = 3\n", want: "config.toml:7: auth.better_auth.validation_url: required"},
		"clear text":             {text: keys + "[auth.better_auth]\nvalidation_url = \"http://app.acme.com/v\"\n", want: "config.toml:8: auth.better_auth.validation_url: want a URL that begins with https://, because"},
		"clear text, nowhere":    {text: tokens + "[auth.better_auth]\nvalidation_url = \"http://app.acme.com/v\"\n", environ: []string{"WORKER_TOKEN_SECRET=0123456789abcdef"}},
		"on this machine":        {text: keys + "[auth.better_auth]\nvalidation_url = \"http://127.0.0.1:3000/v\"\n"},
		"encrypted":              {text: keys + "[auth.better_auth]\nvalidation_url = \"https://app.acme.com/v\"\n"},
		"a long timeout":         {text: keys + "[auth.better_auth]\nvalidation_url = \"https://app.acme.com/v\"\ntimeout_secs = 61\n", want: "config.toml:9: auth.better_auth.timeout_secs: want a number from 1 to 60"},
		"no secret":              {text: tokens},
		"no secret, a table":     {text: tokens + "[auth.worker_token]\nprefix = \"fwt_\"\n", want: "auth.worker_token.secret: required where worker tokens are configured"},
		"no secret, a variable":  {text: tokens, environ: []string{"AUTH__WORKER_TOKEN__PREFIX=x_"}, want: "auth.worker_token.secret: required"},
		"a secret":               {text: tokens, environ: []string{"WORKER_TOKEN_SECRET=0123456789abcdef"}},
		"no secret, no door":     {text: tokens, environ: []string{"AUTH__ENABLED=false"}},
		"only a previous secret": {text: tokens, environ: []string{"WORKER_TOKEN_SECRET_PREVIOUS=0123456789abcdef"}, want: "auth.worker_token.secret: required"},
		"a long prefix":          {text: tokens + "[auth.worker_token]\nprefix = \"" + strings.Repeat("x", 33) + "\"\n", want: "config.toml:10: auth.worker_token.prefix: want visible"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := loadText(t, test.text, test.environ...)
			text := ""
			if err == nil {
				if err = cfg.Buildable(); err != nil {
					text = err.Error()[strings.LastIndex(err.Error(), "/")+1:]
				}
			} else {
				text = err.Error()
			}
			if (test.want == "") != (err == nil) || !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestWarningsAboutTheSecret(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{
		"short": "auth.worker_token.secret is shorter than 16", "dev-secret-key-for-testing-only": "which everybody knows", "0123456789abcdef": "",
		"": "every worker token is refused",
	} {
		cfg := load(t, "guide-saas.toml", "WORKER_TOKEN_SECRET="+secret)
		if got := strings.Join(cfg.Warnings(), "\n"); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", secret, got, want)
		}
		cfg.Server.Host = "127.0.0.1"
		if got := cfg.Warnings(); len(got) > 0 && secret != "" {
			t.Errorf("%s, on a private server: %q", secret, got)
		}
	}
}
