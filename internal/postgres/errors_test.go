package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// Every database error that has a meaning is given it, and shows no internals.
func TestTranslate(t *testing.T) {
	t.Parallel()
	pg := func(code, constraint string) error {
		return fmt.Errorf("writing: %w", &pgconn.PgError{Code: code, ConstraintName: constraint, Message: "secret internals"})
	}
	known := fault.New(fault.Precondition, "known")
	for name, c := range map[string]struct {
		err   error
		kind  fault.Kind
		retry bool
		gone  bool
	}{
		"no rows":              {pgx.ErrNoRows, fault.NotFound, false, false},
		"a fault":              {fmt.Errorf("doing: %w", known), fault.Precondition, false, false},
		"unique":               {pg("23505", "x"), fault.Exists, false, false},
		"unique slug":          {pg("23505", "organization_slug_unique"), fault.Exists, false, false},
		"unique task":          {pg("23505", "task_execution_pkey"), fault.Exists, false, false},
		"unique execution":     {pg("23505", "workflow_execution_pkey"), fault.Exists, false, false},
		"check":                {pg("23514", ""), fault.Invalid, false, false},
		"a bad character":      {pg("22021", ""), fault.Invalid, false, false},
		"untranslatable":       {pg("22P05", ""), fault.Invalid, false, false},
		"serialization":        {pg("40001", ""), fault.Conflict, true, false},
		"deadlock":             {pg("40P01", ""), fault.Conflict, true, false},
		"too many connections": {pg("53300", ""), fault.Unavailable, true, false},
		"a full disk":          {pg("53100", ""), fault.Unavailable, true, false},
		"shutdown":             {pg("57P01", ""), fault.Unavailable, true, true},
		"crash":                {pg("57P02", ""), fault.Unavailable, true, true},
		"starting":             {pg("57P03", ""), fault.Unavailable, true, true},
		"syntax":               {pg("42601", ""), fault.Internal, false, false},
		"end of file":          {fmt.Errorf("reading: %w", io.EOF), fault.Unavailable, true, true},
		"unexpected end":       {io.ErrUnexpectedEOF, fault.Unavailable, true, true},
		"closed":               {net.ErrClosed, fault.Unavailable, true, true},
		"refused":              {&net.OpError{Op: "dial", Err: errors.New("refused")}, fault.Unavailable, true, true},
		"deadline":             {context.DeadlineExceeded, fault.Unavailable, true, true},
		"anything else":        {errors.New("strange"), fault.Internal, false, false},
		"an unknown outcome":   {fault.Wrap(fault.Unavailable, errors.Join(errUnknown, io.EOF), "unknown"), fault.Unavailable, false, true},
		"an unassigned number": {pg("22023", ""), fault.Internal, false, false},
	} {
		got := translateStep(c.err)
		if fault.KindOf(got) != c.kind || !errors.Is(got, c.err) {
			t.Errorf("%s: kind %s of %v", name, fault.KindOf(got), got)
		}
		if strings.Contains(fault.Message(got), "secret") {
			t.Errorf("%s: shows %q", name, fault.Message(got))
		}
		if mayRetry(c.err) != c.retry {
			t.Errorf("%s: retry %v", name, !c.retry)
		}
		if serverGone(c.err) != c.gone {
			t.Errorf("%s: gone %v", name, !c.gone)
		}
	}
	// A caller's own deadline is not the database's fault.
	for _, ended := range []error{context.DeadlineExceeded, fmt.Errorf("reading: %w", context.Canceled)} {
		if got := translate(ended); fault.KindOf(got) != fault.Canceled || !errors.Is(got, ended) {
			t.Errorf("%v became %v", ended, got)
		}
	}
	if translate(nil) != nil || serverGone(nil) || !neverAssigned(pg("22023", "")) || neverAssigned(nil) {
		t.Error("no error is one")
	}
}
