package fql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind is a sort of token.
type kind int

const (
	end kind = iota
	word
	text
	integer
	relative
	symbol
)

// token is a word, a value or a sign. at and to are in characters.
type token struct {
	kind   kind
	at, to int
	// text is the word or sign as it was written, or what a text in quotes stands for.
	text  string
	value any
}

var keywords = []string{"AND", "OR", "NOT", "IN", "IS", "NULL", "ORDER", "BY", "ASC", "DESC", "TRUE", "FALSE"}

// is reports whether the token is a keyword or a sign.
func (t token) is(word string) bool {
	return t.kind == symbol && t.text == word || t.isWord() && strings.EqualFold(t.text, word)
}

func (t token) isWord() bool { return t.kind == word }

func (t token) keyword() bool {
	return t.isWord() && slices.Contains(keywords, strings.ToUpper(t.text))
}

// describe says what was found, for messages.
func (t token) describe() string {
	switch t.kind {
	case end:
		return "the end"
	case text:
		return "a text"
	default:
		return t.text
	}
}

// lexer cuts a text into tokens.
type lexer struct {
	text []rune
	at   int
}

// lex cuts a whole text.
func lex(query string) ([]token, error) {
	if len(query) > MaxBytes {
		return nil, &Error{Position: 0, Message: fmt.Sprintf("the query is longer than %d bytes", MaxBytes)}
	}
	if !utf8.ValidString(query) {
		return nil, &Error{Position: 0, Message: "the query is not valid UTF-8"}
	}
	l := lexer{text: []rune(query)}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return tokens, err
		}
		tokens = append(tokens, t)
		if t.kind == end {
			return tokens, nil
		}
	}
}

func (l *lexer) peek() rune { return l.ahead(0) }

// ahead returns a character further on, 0 at the end.
func (l *lexer) ahead(n int) rune {
	if l.at+n < len(l.text) {
		return l.text[l.at+n]
	}
	return 0
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.text) && unicode.IsSpace(l.text[l.at]) {
		l.at++
	}
	start := l.at
	if l.at == len(l.text) {
		return token{kind: end, at: start, to: start}, nil
	}
	switch c := l.peek(); {
	case isLetter(c):
		return l.word()
	case c == '"':
		s, err := l.quoted()
		return token{kind: text, at: start, to: l.at, text: s, value: s}, err
	case isDigit(c), c == '-' && isDigit(l.ahead(1)):
		return l.number()
	default:
		return l.symbol()
	}
}

func isLetter(c rune) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isDigit(c rune) bool { return c >= '0' && c <= '9' }

// inKey reports whether a key of metadata may hold the character without quotes.
func inKey(c rune) bool {
	return isLetter(c) || isDigit(c) || c == '.' || c == '-' || c == '/' || c == ':'
}

// word reads a name; after "metadata." it goes on as a key, which may be quoted.
func (l *lexer) word() (token, error) {
	start := l.at
	for isLetter(l.peek()) || isDigit(l.peek()) {
		l.at++
	}
	name := string(l.text[start:l.at])
	if name+"." != metadataPrefix || l.peek() != '.' {
		return token{kind: word, at: start, to: l.at, text: name}, nil
	}
	l.at++
	if l.peek() == '"' {
		at := l.at
		key, err := l.quoted()
		if err == nil && key == "" {
			err = &Error{Position: at, Message: "expected a key of the metadata"}
		}
		return token{kind: word, at: start, to: l.at, text: metadataPrefix + key}, err
	}
	keyAt := l.at
	for inKey(l.peek()) {
		l.at++
	}
	if l.at == keyAt {
		return token{}, &Error{Position: keyAt, Message: `expected a key of the metadata, as in metadata.region or metadata."my key"`}
	}
	return token{kind: word, at: start, to: l.at, text: string(l.text[start:l.at])}, nil
}

// quoted reads a text in double quotes, with \" and \\ for what would end it.
func (l *lexer) quoted() (string, error) {
	start := l.at
	l.at++
	var b strings.Builder
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch {
		case c == 0:
			return "", &Error{Position: l.at - 1, Message: "a text cannot hold a NUL character"}
		case c == '"':
			return b.String(), nil
		case c == '\\' && (l.peek() == '"' || l.peek() == '\\'):
			b.WriteRune(l.peek())
			l.at++
		case c == '\\':
			return "", &Error{Position: l.at - 1, Message: `a backslash in a text is written \\, and a double quote \"`}
		default:
			b.WriteRune(c)
		}
	}
	return "", &Error{Position: start, Message: "expected a double quote at the end of this text"}
}

// quote writes a text as quoted reads it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// number reads a whole number, or a relative time such as -7d.
func (l *lexer) number() (token, error) {
	start := l.at
	l.at++
	for isDigit(l.peek()) {
		l.at++
	}
	digits := string(l.text[start:l.at])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return token{}, &Error{Position: start, Message: "this number is too large"}
	}
	if !isLetter(l.peek()) {
		if l.peek() == '.' {
			return token{}, &Error{Position: l.at, Message: "expected a whole number"}
		}
		return token{kind: integer, at: start, to: l.at, text: strconv.FormatInt(n, 10), value: n}, nil
	}
	unit := l.peek()
	length, known := units[byte(min(unit, unicode.MaxASCII))]
	if !known || isLetter(l.ahead(1)) || isDigit(l.ahead(1)) {
		return token{}, &Error{Position: l.at, Message: "expected a unit of time: s, m, h, d or w, as in -7d"}
	}
	l.at++
	if digits[0] != '-' {
		return token{}, &Error{Position: start, Message: "a relative time begins with a minus sign, as in -7d"}
	}
	if n < -int64(maxAgo/length) {
		return token{}, &Error{Position: start, Message: "this is longer ago than a hundred years"}
	}
	clock := Clock{Number: -n, Unit: byte(unit)}
	return token{kind: relative, at: start, to: l.at, text: clock.String(), value: clock}, nil
}

// String writes a clock as queries do.
func (c Clock) String() string {
	switch {
	case c.Today:
		return "TODAY()"
	case c.Unit == 0:
		return "NOW()"
	default:
		return "-" + strconv.FormatInt(c.Number, 10) + string(c.Unit)
	}
}

// symbols are the signs; longer ones first.
var symbols = []string{"!=", ">=", "<=", "!~", "=", ">", "<", "~", "(", ")", ","}

func (l *lexer) symbol() (token, error) {
	rest := string(l.text[l.at:min(l.at+2, len(l.text))])
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			start := l.at
			l.at += len(s)
			return token{kind: symbol, at: start, to: l.at, text: s}, nil
		}
	}
	message := fmt.Sprintf("unexpected character %q", l.peek())
	if l.peek() == '\'' {
		message += "; texts stand in double quotes"
	}
	return token{}, &Error{Position: l.at, Message: message}
}

// writeValue writes a value as queries do.
func writeValue(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return quote(v.UTC().Format(time.RFC3339Nano))
	case Clock:
		return v.String()
	default:
		return "?"
	}
}
