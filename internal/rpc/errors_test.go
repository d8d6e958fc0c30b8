package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// Every kind of failure has a code of its own and an HTTP status.
func TestEveryKindIsMapped(t *testing.T) {
	t.Parallel()
	seen := map[connect.Code]fault.Kind{}
	for _, kind := range fault.Kinds() {
		code, ok := codes[kind]
		if !ok {
			t.Errorf("kind %v has no code", kind)
		}
		if other, taken := seen[code]; taken {
			t.Errorf("kinds %v and %v share code %v", kind, other, code)
		}
		seen[code] = kind
		w := httptest.NewRecorder()
		if WriteError(w, fault.New(kind, "x")); w.Code < 400 || w.Code > 599 {
			t.Errorf("kind %v has HTTP status %d", kind, w.Code)
		}
		if got := CodeOf(fault.New(kind, "x")); got != code {
			t.Errorf("a failure of kind %v travels as %v, want %v", kind, got, code)
		}
	}
}

func TestWireError(t *testing.T) {
	t.Parallel()
	secret := errors.New("password=hunter2")
	for name, test := range map[string]struct {
		err     error
		code    connect.Code
		message string
	}{
		"known":                  {fault.New(fault.NotFound, "no task 7"), connect.CodeNotFound, "no task 7"},
		"known, below others":    {fmt.Errorf("a: %w", fault.Wrap(fault.Conflict, secret, "try again")), connect.CodeAborted, "try again"},
		"names the field":        {fault.InvalidField("org_id", "is not a UUID"), connect.CodeInvalidArgument, "org_id: is not a UUID"},
		"the transport's own":    {connect.NewError(connect.CodeResourceExhausted, "too large"), connect.CodeResourceExhausted, "too large"},
		"the client went away":   {fmt.Errorf("polling: %w", context.Canceled), connect.CodeCanceled, "the request was canceled"},
		"the client's deadline":  {fmt.Errorf("polling: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, "the request's deadline passed"},
		"a wrapped cancellation": {fault.Wrap(fault.Unavailable, context.Canceled, "no database"), connect.CodeUnavailable, "no database"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := wireError(test.err)
			if got.Code() != test.code || got.Message() != test.message {
				t.Errorf("%v %q, want %v %q", got.Code(), got.Message(), test.code, test.message)
			}
		})
	}
}

// What nobody foresaw is answered with a fixed sentence and an id; the cause has
// the same id, for the log.
func TestInternalErrorsDoNotLeak(t *testing.T) {
	t.Parallel()
	secret := errors.New("pq: relation \"secrets\" at /src/store.go:17")
	sentence := regexp.MustCompile(`^internal error; the server's log has it under error_id ([0-9a-f-]{36})$`)
	for name, err := range map[string]error{
		"unknown":        fmt.Errorf("reading: %w", secret),
		"known internal": fault.Wrap(fault.Internal, secret, "writing /etc/passwd"),
		"from upstream":  connect.NewError(connect.CodeNotFound, secret.Error()).WithRemote(),
	} {
		got := wireError(err)
		match := sentence.FindStringSubmatch(got.Message())
		if got.Code() != connect.CodeInternal || match == nil {
			t.Errorf("%s: %v %q", name, got.Code(), got.Message())
			continue
		}
		if cause := causeOf(got); !strings.Contains(cause, match[1]) || !strings.Contains(cause, "secrets") {
			t.Errorf("%s: the log has %q", name, cause)
		}
	}
}
