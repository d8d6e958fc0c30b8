package fql

import (
	"slices"
	"strings"
)

// SuggestionType is what a suggestion is.
type SuggestionType string

// The types of suggestion.
const (
	SuggestField    SuggestionType = "field"
	SuggestOperator SuggestionType = "operator"
	SuggestValue    SuggestionType = "value"
	SuggestKeyword  SuggestionType = "keyword"
	SuggestFunction SuggestionType = "function"
)

// Suggestion is something that may stand at the cursor.
type Suggestion struct {
	Value, Label string
	Type         SuggestionType
	Description  string
}

// Completion is what may stand at the cursor of a query.
type Completion struct {
	Suggestions []Suggestion
	// Field is the field whose values are asked for, if they are: there may be
	// more than those of the language itself.
	Field *Field
	// Prefix is what has been written of the value.
	Prefix string
}

// Complete says what may stand at a position, in characters, of a query; what
// follows it does not count.
func Complete(entity Entity, query string, position int) Completion {
	if runes := []rune(query); position < len(runes) {
		query = string(runes[:max(position, 0)])
	}
	// An open text is a value that is being written.
	tokens, err := lex(query)
	open := ""
	if err != nil {
		at := strings.LastIndexByte(query, '"')
		if at < 0 {
			return Completion{}
		}
		open = query[at:]
		if tokens, err = lex(query[:at]); err != nil {
			return Completion{}
		}
	}
	tokens = tokens[:len(tokens)-1]
	// A word that touches the cursor is still being written.
	if n := len(tokens); open == "" && n > 0 && tokens[n-1].isWord() && tokens[n-1].to == len([]rune(query)) {
		open, tokens = tokens[n-1].text, tokens[:n-1]
	}
	c := (&completer{entity: entity}).after(tokens)
	c.Prefix = strings.TrimPrefix(open, `"`)
	c.Suggestions = slices.DeleteFunc(c.Suggestions, func(s Suggestion) bool {
		return !strings.HasPrefix(strings.ToLower(s.Value), strings.ToLower(open))
	})
	return c
}

// completer walks over tokens and keeps what may follow.
type completer struct {
	entity Entity
	field  Field
	depth  int
}

// state is what is expected next.
type state int

const (
	atField state = iota
	atOperator
	atNotIn
	atIsNull
	atNull
	atListOpen
	atListValue
	atListComma
	atValue
	atFunctionOpen
	atFunctionClose
	atEnd
	atBy
	atOrderField
	atDirection
	atNothing
)

func (c *completer) after(tokens []token) Completion {
	s, inList := atField, false
	if len(tokens) == 0 {
		return Completion{Suggestions: append(c.fields(), keyword("NOT", "The opposite"), keyword("ORDER BY", "How to sort"))}
	}
	for _, t := range tokens {
		if s == atListOpen && t.is("(") {
			inList = true
		}
		s = c.step(s, t, inList)
		if s == atEnd {
			inList = false
		}
	}
	return c.expect(s)
}

func (c *completer) step(s state, t token, inList bool) state {
	switch s {
	case atField:
		return c.stepField(t)
	case atOperator:
		return stepOperator(t)
	case atNotIn:
		return when(t.is("IN"), atListOpen)
	case atIsNull:
		if t.is("NOT") {
			return atNull
		}
		return when(t.is("NULL"), atEnd)
	case atNull:
		return when(t.is("NULL"), atEnd)
	case atListOpen:
		return when(t.is("("), atListValue)
	case atListValue, atValue:
		if t.is("NOW") || t.is("TODAY") {
			return atFunctionOpen
		}
		if inList {
			return atListComma
		}
		return atEnd
	case atListComma:
		if t.is(",") {
			return atListValue
		}
		return when(t.is(")"), atEnd)
	case atFunctionOpen:
		return when(t.is("("), atFunctionClose)
	case atFunctionClose:
		return when(t.is(")"), atEnd)
	case atEnd:
		return c.stepEnd(t)
	case atBy:
		return when(t.is("BY"), atOrderField)
	case atOrderField:
		return when(t.isWord(), atDirection)
	default:
		return atNothing
	}
}

func when(ok bool, s state) state {
	if ok {
		return s
	}
	return atNothing
}

func (c *completer) stepField(t token) state {
	switch {
	case t.is("NOT"):
		return atField
	case t.is("("):
		c.depth++
		return atField
	case t.is("ORDER"):
		return atBy
	}
	f, ok := c.entity.Field(t.text)
	c.field = f
	return when(ok && t.isWord(), atOperator)
}

func stepOperator(t token) state {
	switch {
	case t.is("IN"):
		return atListOpen
	case t.is("NOT"):
		return atNotIn
	case t.is("IS"):
		return atIsNull
	default:
		return when(t.kind == symbol, atValue)
	}
}

func (c *completer) stepEnd(t token) state {
	switch {
	case t.is("AND"), t.is("OR"):
		return atField
	case t.is(")") && c.depth > 0:
		c.depth--
		return atEnd
	default:
		return when(t.is("ORDER"), atBy)
	}
}

func keyword(value, description string) Suggestion {
	return Suggestion{Value: value, Label: value, Type: SuggestKeyword, Description: description}
}

func (c *completer) expect(s state) Completion {
	switch s {
	case atField:
		return Completion{Suggestions: append(c.fields(), keyword("NOT", "The opposite"))}
	case atOperator:
		return Completion{Suggestions: c.operators()}
	case atNotIn:
		return Completion{Suggestions: []Suggestion{keyword("IN", "Is none of")}}
	case atIsNull:
		return Completion{Suggestions: []Suggestion{keyword("NULL", "Is absent"), keyword("NOT NULL", "Is there")}}
	case atNull:
		return Completion{Suggestions: []Suggestion{keyword("NULL", "Is there")}}
	case atListOpen, atFunctionOpen:
		return Completion{Suggestions: []Suggestion{keyword("(", "")}}
	case atFunctionClose:
		return Completion{Suggestions: []Suggestion{keyword(")", "")}}
	case atListValue, atValue:
		field := c.field
		return Completion{Suggestions: c.values(), Field: &field}
	case atListComma:
		return Completion{Suggestions: []Suggestion{keyword(",", "Another value"), keyword(")", "The end of the list")}}
	case atEnd:
		return Completion{Suggestions: []Suggestion{
			keyword("AND", "Both"), keyword("OR", "One of both"), keyword("ORDER BY", "How to sort"),
		}}
	case atBy:
		return Completion{Suggestions: []Suggestion{keyword("BY", "")}}
	case atOrderField:
		return Completion{Suggestions: slices.DeleteFunc(c.fields(), func(s Suggestion) bool { return s.Value == metadataPrefix })}
	case atDirection:
		return Completion{Suggestions: []Suggestion{keyword("ASC", "Least first"), keyword("DESC", "Greatest first")}}
	default:
		return Completion{}
	}
}

func (c *completer) fields() []Suggestion {
	var all []Suggestion
	for _, f := range c.entity.Fields() {
		all = append(all, Suggestion{Value: f.Name, Label: f.Name, Type: SuggestField, Description: f.Description})
	}
	if c.entity.HasMetadata() {
		all = append(all, Suggestion{
			Value: metadataPrefix, Label: "metadata.<key>", Type: SuggestField, Description: metadataField("").Description,
		})
	}
	return all
}

func (c *completer) operators() []Suggestion {
	var all []Suggestion
	for _, op := range c.field.Type.Operators() {
		all = append(all, Suggestion{Value: string(op), Label: string(op), Type: SuggestOperator, Description: op.Describe()})
	}
	return all
}

func (c *completer) values() []Suggestion {
	var all []Suggestion
	for _, v := range c.field.ValueTexts() {
		all = append(all, Suggestion{Value: v, Label: v, Type: SuggestValue})
	}
	if c.field.Type == Time {
		all = append(all,
			Suggestion{Value: "-1h", Label: "-1h", Type: SuggestValue, Description: "An hour ago"},
			Suggestion{Value: "-24h", Label: "-24h", Type: SuggestValue, Description: "A day ago"},
			Suggestion{Value: "-7d", Label: "-7d", Type: SuggestValue, Description: "A week ago"},
			Suggestion{Value: "NOW()", Label: "NOW()", Type: SuggestFunction, Description: "The time at which the query runs"},
			Suggestion{Value: "TODAY()", Label: "TODAY()", Type: SuggestFunction, Description: "The beginning of the day in UTC"})
	}
	return all
}

// ValueTexts returns the values that the language itself knows for the field, as
// they are written.
func (f Field) ValueTexts() []string {
	if f.Type == Bool {
		return []string{"true", "false"}
	}
	var all []string
	for _, v := range f.Values {
		all = append(all, QuoteText(v))
	}
	return all
}

// QuoteText writes a text as a value of the language.
func QuoteText(s string) string { return quote(s) }
