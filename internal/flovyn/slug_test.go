package flovyn

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckSlug(t *testing.T) {
	t.Parallel()
	for slug, good := range map[string]bool{
		"acme": true, "a-1": true, "customer-corp": true, "0ab": true, "api2": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, "-ab": false, "ab-": false, "a--b": false, "Acme": false, "ac me": false, "acmé": false,
		"ａｃｍｅ": false, "a_b": false, "acme\n": false, "acme\x00": false, strings.Repeat("a", 64): false, "api": false, "oauth2": false,
	} {
		if err := CheckSlug(slug); (err == nil) != good {
			t.Errorf("%q: %v", slug, err)
		}
	}
}

// The database has the same rule, as a pattern.
func TestSlugIsThePattern(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-c0-2A_-]{0,8}`).Draw(t, "text")
		if isSlug(text) != pattern.MatchString(text) {
			t.Errorf("%q", text)
		}
	})
}
