package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// SQLSTATEs that have a meaning for callers.
const (
	stateUniqueViolation      = "23505"
	stateCheckViolation       = "23514"
	stateSerializationFailure = "40001"
	stateDeadlock             = "40P01"
	stateDuplicateTable       = "42P07"
	stateInvalidParameter     = "22023"
	stateInvalidText          = "22021" // a character the encoding does not have
	stateUntranslatable       = "22P05"
	stateTooManyConnections   = "53300"
	stateDiskFull             = "53100"
	stateAdminShutdown        = "57P01"
	stateCrashShutdown        = "57P02"
	stateCannotConnectNow     = "57P03"
)

// translate gives a database error its meaning. What has none stays as it is
// and is an internal failure at the door; so does the end of the caller's own
// context, which the database has no part in.
func translate(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		if _, known := errors.AsType[*fault.Error](err); !known {
			return err
		}
	}
	return translateStep(err)
}

// translateStep is translate for what runs on a context of the server's own:
// there, a deadline that passed means a database that did not answer.
func translateStep(err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.Wrap(fault.NotFound, err, "not found")
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return translateState(pg, err)
	}
	if lostConnection(err) {
		return fault.Wrap(fault.Unavailable, err, "the database is not available, try again")
	}
	return err
}

func translateState(pg *pgconn.PgError, err error) error {
	switch pg.Code {
	case stateUniqueViolation:
		return fault.Wrap(fault.Exists, err, "%s", uniqueMessage(pg.ConstraintName))
	case stateCheckViolation:
		return fault.Wrap(fault.Invalid, err, "a value is outside of what is allowed")
	case stateInvalidText, stateUntranslatable:
		return fault.Wrap(fault.Invalid, err, "a text holds a character that cannot be stored")
	case stateSerializationFailure, stateDeadlock:
		return fault.Wrap(fault.Conflict, err, "a concurrent change interfered, try again")
	case stateTooManyConnections, stateDiskFull, stateAdminShutdown, stateCrashShutdown, stateCannotConnectNow:
		return fault.Wrap(fault.Unavailable, err, "the database is not available, try again")
	default:
		return err
	}
}

func uniqueMessage(constraint string) string {
	switch constraint {
	case "organization_slug_unique":
		return "an organization with this slug exists"
	case "task_execution_pkey":
		return "a task with this id exists"
	case "workflow_execution_pkey":
		return "a workflow execution with this id exists"
	case "saved_query_name_unique":
		return "a saved query with this name exists"
	case "metadata_field_unique":
		return "a metadata field with this key and scope exists"
	case "schedule_name_unique":
		return "a schedule with this name exists"
	default:
		return "this name or identifier is taken"
	}
}

// lostConnection reports whether the server went away or was never reached.
func lostConnection(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.Timeout(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err)
}

// serverGone reports whether the server went away, by the silence of the
// connection or by the server's last words. Even those say nothing about a
// commit under way: a dying server may have made it.
func serverGone(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == stateAdminShutdown || pg.Code == stateCrashShutdown || pg.Code == stateCannotConnectNow
	}
	return lostConnection(err)
}

// tableExists reports whether a table was not made because it is there.
func tableExists(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == stateDuplicateTable
}

// neverAssigned reports whether the server has not come to a transaction yet, as
// when it crashed before anything of it had reached the disk.
func neverAssigned(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == stateInvalidParameter
}

// mayRetry reports whether the same transaction may succeed when run again.
func mayRetry(err error) bool {
	if errors.Is(err, errUnknown) {
		return false
	}
	kind := fault.KindOf(translateStep(err))
	return kind == fault.Conflict || kind == fault.Unavailable
}
