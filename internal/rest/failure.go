package rest

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// statusClientClosed says that the client went away; no standard number does.
const statusClientClosed = 499

// statuses is the one map from codes to HTTP statuses. A resource in the wrong
// state is 400, as clients of the first server know it.
var statuses = map[connect.Code]int{
	connect.CodeCanceled:           statusClientClosed,
	connect.CodeUnknown:            http.StatusInternalServerError,
	connect.CodeInvalidArgument:    http.StatusBadRequest,
	connect.CodeDeadlineExceeded:   http.StatusGatewayTimeout,
	connect.CodeNotFound:           http.StatusNotFound,
	connect.CodeAlreadyExists:      http.StatusConflict,
	connect.CodePermissionDenied:   http.StatusForbidden,
	connect.CodeResourceExhausted:  http.StatusTooManyRequests,
	connect.CodeFailedPrecondition: http.StatusBadRequest,
	connect.CodeAborted:            http.StatusConflict,
	connect.CodeOutOfRange:         http.StatusBadRequest,
	connect.CodeUnimplemented:      http.StatusNotImplemented,
	connect.CodeInternal:           http.StatusInternalServerError,
	connect.CodeUnavailable:        http.StatusServiceUnavailable,
	connect.CodeDataLoss:           http.StatusInternalServerError,
	connect.CodeUnauthenticated:    http.StatusUnauthorized,
}

// statusError is the cause of a failure that has a status of its own.
type statusError int

func (e statusError) Error() string { return http.StatusText(int(e)) }

// refusal makes a failure with a status of its own.
func refusal(status int, code connect.Code, message string) *connect.Error {
	return connect.NewError(code, message).WithCause(statusError(status))
}

// badRequest turns a mistake at a place into a failure of the call.
func badRequest(err error) error {
	wrong, ok := errors.AsType[*fieldError](err)
	if !ok {
		return err
	}
	failure := connect.NewError(connect.CodeInvalidArgument, wrong.Error())
	if wrong.path == "" {
		return failure
	}
	detail, err := connectproto.NewErrorDetail(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: wrong.path, Description: wrong.message},
	}})
	if err != nil {
		return err
	}
	return failure.WithDetail(detail)
}

// problem is the body of every failure.
type problem struct {
	Error   string   `json:"error"`
	Details []detail `json:"details,omitempty"`
}

// detail is one field at fault; its path is a JSON pointer.
type detail struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// WriteError answers a request with {"error": "..."}. err is the failure of a call,
// a *connect.Error; any other is internal and not told.
func WriteError(w http.ResponseWriter, err error) { writeFailure(w, nil, err) }

// RefuseMethod answers a request whose path does not have its method, but others.
func RefuseMethod(w http.ResponseWriter, r *http.Request, others ...string) {
	w.Header().Set("Allow", allow(others))
	WriteError(w, refusal(http.StatusMethodNotAllowed, connect.CodeUnimplemented, r.Method+" is not offered here"))
}

// writeFailure answers with a failure. request is the shape of what was asked, by
// which fields get the names that they have in JSON; it may be nil.
func writeFailure(w http.ResponseWriter, request *shape, err error) {
	status, body, wait := explain(request, err)
	h := w.Header()
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// A failure to write means that the client is gone.
	_ = encoder.Encode(body)
}

// explain returns what a failure looks like, and after how many seconds to try
// again, if at all.
func explain(request *shape, err error) (status int, body problem, wait int) {
	failure, ok := errors.AsType[*connect.Error](err)
	if !ok || failure.IsRemote() {
		return http.StatusInternalServerError, problem{Error: "internal error"}, 0
	}
	status, body.Error = statuses[failure.Code()], failure.Message()
	if body.Error == "" {
		body.Error = failure.Code().String()
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		wait = 1
	}
	for _, d := range failure.Details() {
		message, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			continue // a detail of a type that nobody here knows
		}
		switch message := message.(type) {
		case *errdetails.RetryInfo:
			wait = int(math.Ceil(message.GetRetryDelay().AsDuration().Seconds()))
		case *errdetails.BadRequest:
			for _, v := range message.GetFieldViolations() {
				body.Details = append(body.Details, detail{Path: request.pointerTo(v.GetField()), Message: v.GetDescription()})
			}
		}
	}
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Kind == fault.Exhausted && known.Field != "" {
		// A field beyond its limit does not fit later either.
		status, wait = http.StatusRequestEntityTooLarge, 0
	}
	if own, ok := errors.AsType[statusError](err); ok {
		status = int(own)
	}
	return status, body, wait
}

// pointerTo turns the path of a field as protos write it, such as
// targets[0].queue_name or metadata["env"], into a JSON pointer with the names
// that the fields have in JSON. What follows a payload is left as it is: it names
// what is within.
func (s *shape) pointerTo(path string) string {
	if path == "" || strings.HasPrefix(path, "/") {
		return path
	}
	var b jsontext.Pointer
	for path != "" {
		var token string
		token, path = nextToken(path)
		if f := s.lookup(token); f != nil {
			b, s = b.AppendToken(f.name), f.elem
			if f.desc.IsMap() || f.desc.IsList() {
				if strings.HasPrefix(path, "[") {
					token, path = nextToken(path)
					b = b.AppendToken(token)
				}
			}
			continue
		}
		b, s = b.AppendToken(token), nil
	}
	return string(b)
}

func (s *shape) lookup(name string) *field {
	if s == nil {
		return nil
	}
	return s.named[name]
}

// nextToken cuts the first name, index or key off a path.
func nextToken(path string) (token, rest string) {
	if subscript, ok := strings.CutPrefix(path, "["); ok {
		if quoted, err := strconv.QuotedPrefix(subscript); err == nil {
			token, _ = strconv.Unquote(quoted)
			subscript = subscript[len(quoted):]
			return token, strings.TrimPrefix(strings.TrimPrefix(subscript, "]"), ".")
		}
		token, rest, _ = strings.Cut(subscript, "]")
		return token, strings.TrimPrefix(rest, ".")
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		return path, ""
	}
	return path[:end], strings.TrimPrefix(path[end:], ".")
}
