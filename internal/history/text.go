package history

import (
	"strings"
	"unicode/utf8"
)

// TruncationMark ends a free text of which the rest was dropped.
const TruncationMark = "… (truncated)"

// FreeText makes a text storable in which people and programs say what happened.
// It is often the last words of something that failed, whose sender does not try
// again, so it is never a reason to refuse: what the database cannot store (a
// NUL, broken UTF-8) becomes the replacement character, and what exceeds limit
// bytes is cut off between two characters, visibly.
func FreeText(text string, limit int) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(TruncationMark), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + TruncationMark
}
