// Package fault is the vocabulary of failures.
//
// An error is made where its meaning is known (the engine knows that an
// execution is absent; the database driver does not) and mapped to a status
// number once per door. Whatever is not a *fault.Error is an internal failure:
// it is logged in full and answered with a fixed sentence, so that neither SQL
// nor file paths nor panic texts ever reach a client.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what sort of failure happened, never where.
type Kind uint8

// The kinds. A table test in each door asserts that every kind has a mapping.
const (
	// Internal is a failure the caller can do nothing about.
	Internal Kind = iota
	// Invalid is input that will never be accepted as it stands.
	Invalid
	// Unauthenticated is a missing or unacceptable credential.
	Unauthenticated
	// Denied is a known caller who may not do this.
	Denied
	// NotFound is an absent resource, or one of another organization.
	NotFound
	// Exists is a name or identifier that is taken.
	Exists
	// Conflict is a concurrent change; the same request may succeed later.
	Conflict
	// Precondition is a resource in a state that does not allow the operation.
	Precondition
	// Exhausted is a documented limit that was reached.
	Exhausted
	// Unavailable is a dependency that does not answer; try again later.
	Unavailable
	// Canceled is a caller who went away, or a deadline of the caller's own.
	Canceled
	// Unimplemented is an operation this server does not offer.
	Unimplemented
	kindCount
)

var kindNames = [kindCount]string{
	"internal", "invalid", "unauthenticated", "denied", "not_found", "exists",
	"conflict", "precondition", "exhausted", "unavailable", "canceled", "unimplemented",
}

// String returns the kind's name in snake case.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return "internal"
}

// Kinds returns every kind, for tests that prove a mapping is complete.
func Kinds() []Kind {
	kinds := make([]Kind, kindCount)
	for i := range kinds {
		kinds[i] = Kind(i)
	}
	return kinds
}

// Error is a failure whose meaning is known. Message is written for the client:
// it says what is wrong and what to do, and holds no internals.
type Error struct {
	Kind    Kind
	Message string
	// Field is the path of the offending input field, when one is at fault.
	Field string
	// Details are the faults of several places of the input.
	Details []Detail
	cause   error
}

// Detail is what is wrong at one place of the input.
type Detail struct {
	// Path names the place: a field, or a place within a payload.
	Path string
	// Message says what is wrong there, and does not repeat the path.
	Message string
}

// Error returns the client's message, followed by the cause for the log.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause, which is never shown to a client.
func (e *Error) Unwrap() error { return e.cause }

// New makes a failure of the given kind with a message for the client.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a failure that keeps its cause for the log.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), cause: cause}
}

// InvalidField is Invalid, naming the input field that is at fault.
func InvalidField(field, format string, args ...any) *Error {
	reason := fmt.Sprintf(format, args...)
	return &Error{Kind: Invalid, Field: field, Message: field + ": " + reason, Details: []Detail{{Path: field, Message: reason}}}
}

// InvalidInput is Invalid, naming every place that is at fault.
func InvalidInput(message string, details []Detail) *Error {
	e := &Error{Kind: Invalid, Message: message, Details: details}
	if len(details) > 0 {
		e.Field = details[0].Path
	}
	return e
}

// DetailsOf returns the places of the input that are at fault, if err names any.
func DetailsOf(err error) []Detail {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Details
	}
	return nil
}

// KindOf returns the kind of err: that of the outermost *Error in its chain,
// Canceled for a context that ended, Internal for everything else.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	default:
		return Internal
	}
}

// Is reports whether err is a failure of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Message returns the text a client may see: that of the *Error in the chain,
// else a fixed sentence.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	if KindOf(err) == Canceled {
		return "the request was canceled"
	}
	return "internal error"
}
