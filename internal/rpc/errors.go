package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// codes is the one map from the kinds of failure to the codes of the wire.
var codes = map[fault.Kind]connect.Code{
	fault.Internal:        connect.CodeInternal,
	fault.Invalid:         connect.CodeInvalidArgument,
	fault.Unauthenticated: connect.CodeUnauthenticated,
	fault.Denied:          connect.CodePermissionDenied,
	fault.NotFound:        connect.CodeNotFound,
	fault.Exists:          connect.CodeAlreadyExists,
	fault.Conflict:        connect.CodeAborted,
	fault.Precondition:    connect.CodeFailedPrecondition,
	fault.Exhausted:       connect.CodeResourceExhausted,
	fault.Unavailable:     connect.CodeUnavailable,
	fault.Canceled:        connect.CodeCanceled,
	fault.Unimplemented:   connect.CodeUnimplemented,
}

// CodeOf returns the code under which a failure travels.
func CodeOf(err error) connect.Code { return wireError(err).Code() }

// wireError turns any failure into the one that the client sees; the failure
// itself stays behind as its cause, for the log.
//
// What is no known fault is internal: the client gets a fixed sentence and an
// id, under which the log has the whole story.
func wireError(err error) *connect.Error {
	var known *fault.Error
	var transport *connect.Error
	switch {
	case errors.As(err, &known) && known.Kind != fault.Internal:
		return withDetails(connect.NewError(codeOf(known.Kind), fault.Message(err)), known.Details).WithCause(err)
	case known == nil && errors.As(err, &transport) && !transport.IsRemote():
		// Of the transport's own making: a message too long, or not decodable.
		return transport
	case known == nil && errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "the request's deadline passed").WithCause(err)
	case known == nil && errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, fault.Message(err)).WithCause(err)
	default:
		id := flovyn.NewUUID().String()
		return connect.Errorf(connect.CodeInternal, "internal error; the server's log has it under error_id %s", id).
			WithCause(internalError{id: id, cause: err})
	}
}

// withDetails adds the places of the input that are at fault, as the well-known
// google.rpc.BadRequest.
func withDetails(wire *connect.Error, places []fault.Detail) *connect.Error {
	if len(places) == 0 {
		return wire
	}
	bad := &errdetails.BadRequest{}
	for _, place := range places {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: text(place.Path), Description: text(place.Message),
		})
	}
	detail, err := connectproto.NewErrorDetail(bad)
	if err != nil { // the message says it as well
		return wire
	}
	return wire.WithDetail(detail)
}

// text is what of s a message can carry: protobuf texts are UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func codeOf(kind fault.Kind) connect.Code {
	if code, ok := codes[kind]; ok {
		return code
	}
	return connect.CodeInternal
}

// internalError is a failure that nobody foresaw, under the id that was given
// to the client.
type internalError struct {
	id    string
	cause error
}

func (e internalError) Error() string { return fmt.Sprintf("error_id %s: %v", e.id, e.cause) }

func (e internalError) Unwrap() error { return e.cause }
