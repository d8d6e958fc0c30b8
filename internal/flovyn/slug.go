package flovyn

import (
	"slices"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// The bounds of a slug's length.
const (
	MinSlugLength = 3
	MaxSlugLength = 63
)

// reservedSlugs would be mistaken for paths and hosts of the product.
var reservedSlugs = []string{
	"api", "www", "admin", "app", "docs", "health", "metrics", "oauth2", "login", "userinfo", "auth",
}

// CheckSlug returns what keeps a text from being an organization's name in URLs
// and tokens. Nothing is folded or trimmed: two slugs are equal or different.
func CheckSlug(slug string) error {
	if len(slug) < MinSlugLength || len(slug) > MaxSlugLength || !isSlug(slug) {
		return fault.New(fault.Invalid, "want %d to %d lower-case letters and digits, with single hyphens between",
			MinSlugLength, MaxSlugLength)
	}
	if slices.Contains(reservedSlugs, slug) {
		return fault.New(fault.Invalid, "%q is reserved", slug)
	}
	return nil
}

// isSlug reports whether a text is words of ASCII letters and digits between
// single hyphens.
func isSlug(text string) bool {
	previous := byte('-')
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && previous != '-':
		default:
			return false
		}
		previous = c
	}
	return previous != '-'
}
