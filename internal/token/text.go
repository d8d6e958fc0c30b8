package token

import (
	"crypto/rand"
	"strings"
)

// The parts of a token's text after its prefix. The secret part has 190 bits.
const (
	publicLength = 12
	secretLength = 32
	// maxDescription bounds what people write about a token.
	maxDescription = 4096
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// random returns letters of the alphabet, each as likely as any other.
func random(length int) string {
	const fair = 256 - 256%len(alphabet) // beyond it the first letters would be likelier
	var text strings.Builder
	for buffer := make([]byte, length); text.Len() < length; {
		_, _ = rand.Read(buffer) // never fails: it ends the program instead
		for _, b := range buffer {
			if int(b) < fair && text.Len() < length {
				text.WriteByte(alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return text.String()
}

// HasPrefix reports whether a text begins as this server's tokens do.
func (t *Tokens) HasPrefix(text string) bool { return strings.HasPrefix(text, t.cfg.Prefix) }

// isWellFormed reports whether a text could be a token.
func (t *Tokens) isWellFormed(text string) bool {
	rest, ok := strings.CutPrefix(text, t.cfg.Prefix)
	return ok && len(rest) == publicLength+secretLength && strings.Trim(rest, alphabet) == ""
}

// beginning is the part of a well-formed token by which it is found.
func (t *Tokens) beginning(text string) string { return text[:len(t.cfg.Prefix)+publicLength] }
