package config

import (
	"strings"
	"testing"
)

// A developer's pages come from changing ports of this machine.
func TestOriginsWithAnyPort(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]bool{
		"*": true, "https://app.example.com": true, "http://localhost:3000": true, "http://localhost:*": true,
		"http://localhost:3000:*": false, "http://*": true, "http://:*": false,
		"http://localhost:*/": false, "localhost:*": false, "ftp://localhost:*": false, ":*": false, "": false,
	} {
		if got := isOrigin(origin); got != want {
			t.Errorf("isOrigin(%q) is %t, want %t", origin, got, want)
		}
	}
}

// A key that can be guessed is a danger where others can try.
func TestShortKeyOnLoopback(t *testing.T) {
	t.Parallel()
	for host, warns := range map[string]bool{
		"": true, "0.0.0.0": true, "192.0.2.1": true, "127.0.0.1": false, "::1": false,
	} {
		cfg := Default()
		cfg.Server.Host = host
		cfg.Auth.StaticAPIKey.Keys = []StaticKey{{Key: "short"}}
		if got := strings.Contains(strings.Join(cfg.Warnings(), "\n"), "can be guessed"); got != warns {
			t.Errorf("host %q: warns: %t, want %t", host, got, warns)
		}
	}
}
