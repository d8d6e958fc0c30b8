package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// The exit codes, which scripts may rely on.
const (
	exitOK = 0
	// exitFailure is a command that could not do what it was asked, or a workflow
	// that was waited for and failed.
	exitFailure = 1
	// exitUsage is a command that was asked for something senseless.
	exitUsage = 2
	// exitDenied is a caller who is not logged in, or may not do this.
	exitDenied = 4
	// exitNotFound is a thing that is not there.
	exitNotFound = 5
	// exitTimedOut is a wait that was over before what it waited for.
	exitTimedOut = 124
	// exitInterrupted is the shell's for a program that was interrupted.
	exitInterrupted = 130
)

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// errTimedOut is a wait that took longer than it may.
type errTimedOut struct{ message string }

func (e errTimedOut) Error() string { return e.message }

// report writes an error, with what to do next, and returns the exit code.
func (i *invocation) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && interruption(err) {
		err = errInterrupted
	}
	code := exitCode(err)
	text, hint := i.explain(err)
	if text != "" {
		fmt.Fprintln(i.Stderr, "flovyn:", output.Clean(text))
	}
	if hint != "" {
		fmt.Fprintln(i.Stderr, hint)
	}
	return code
}

// interruption reports whether an error is what an ended context leads to.
func interruption(err error) bool {
	return errors.Is(err, context.Canceled) || connect.CodeOf(err) == connect.CodeCanceled
}

func exitCode(err error) int {
	if own, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return own.ExitCode()
	}
	if _, ok := errors.AsType[errTimedOut](err); ok {
		return exitTimedOut
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return exitOfKind(known.Kind)
	}
	if remote, ok := errors.AsType[*connect.Error](err); ok {
		return exitOfCode(remote.Code())
	}
	if _, ok := errors.AsType[executed](err); ok {
		return exitFailure
	}
	return exitUsage
}

func exitOfKind(kind fault.Kind) int {
	switch kind {
	case fault.Invalid:
		return exitUsage
	case fault.Unauthenticated, fault.Denied:
		return exitDenied
	case fault.NotFound:
		return exitNotFound
	default:
		return exitFailure
	}
}

func exitOfCode(code connect.Code) int {
	switch code {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return exitUsage
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return exitDenied
	case connect.CodeNotFound:
		return exitNotFound
	case connect.CodeDeadlineExceeded:
		return exitTimedOut
	default:
		return exitFailure
	}
}

// explain returns what happened, and what to do next.
func (i *invocation) explain(err error) (text, hint string) {
	if h, ok := errors.AsType[hinted](err); ok {
		hint = h.hint
	}
	remote, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err.Error(), hint
	}
	text = remote.Message()
	// Who says it, where it matters: "inserting: kind: required".
	if before, _, found := strings.Cut(err.Error(), remote.Error()); found && before != "" {
		text = before + text
	}
	if !remote.IsRemote() {
		if local, advice := i.explainTransport(err); local != "" {
			return local, advice
		}
	}
	if hint == "" {
		hint = i.adviceFor(remote)
	}
	return text, hint
}

// adviceFor says what to do about an answer of the server.
func (i *invocation) adviceFor(remote *connect.Error) string {
	settings, err := i.settings()
	if err != nil {
		return ""
	}
	switch remote.Code() {
	case connect.CodeUnauthenticated:
		if settings.Token == "" {
			return "You are not logged in. Log in with: flovyn auth login   (or set FLOVYN_API_KEY)"
		}
		if settings.Stored() {
			return fmt.Sprintf("The server does not accept the token of %s. Log in again with: flovyn auth login", settings.Source)
		}
		return fmt.Sprintf("The server %s does not accept the key of %s.", settings.Server, settings.Source)
	case connect.CodePermissionDenied:
		return "See who you are, and with which role: flovyn auth whoami"
	case connect.CodeUnavailable:
		return "It may pass; see what is wrong with: flovyn doctor"
	case connect.CodeUnimplemented, connect.CodeUnknown:
		return fmt.Sprintf("Is %s the HTTP address of a Flovyn server, and of this version? See: flovyn doctor", settings.Server)
	default:
		return ""
	}
}

// explainTransport puts into words why there was no answer at all.
func (i *invocation) explainTransport(err error) (text, hint string) {
	settings, settingsErr := i.settings()
	if settingsErr != nil {
		return "", ""
	}
	server := settings.Server
	dns, isDNS := errors.AsType[*net.DNSError](err)
	message := err.Error()
	switch {
	case strings.Contains(message, "server gave HTTP response to HTTPS client"), strings.Contains(message,
		"first record does not look like a TLS handshake"):
		return server + " does not speak https: the port answers in plain http",
			"If that is meant, use: --server " + strings.Replace(server, "https://", "http://", 1)
	case strings.Contains(message, "malformed HTTP response"), strings.Contains(message, "client sent an HTTP request to an HTTPS server"):
		return server + " does not speak http: the port wants something else",
			"If the server has a certificate, use: --server " + strings.Replace(server, "http://", "https://", 1)
	case strings.Contains(message, "x509:") || strings.Contains(message, "tls:"):
		return fmt.Sprintf("the certificate of %s is not trusted: %s", server, after(message, "x509: ")),
			"Check the address, and whether this machine knows the authority (SSL_CERT_FILE names more of them)."
	case isDNS:
		return "no machine has the name " + dns.Name, i.whichServer(settings.ServerSource)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at " + server, i.whichServer(settings.ServerSource)
	case broken(err):
		return fmt.Sprintf("%s cannot be reached: %s", server, innermost(err)), i.whichServer(settings.ServerSource)
	default:
		return "", ""
	}
}

// broken reports whether the connection failed, and not what was asked.
func broken(err error) bool {
	_, call := errors.AsType[*url.Error](err)
	return call || connect.CodeOf(err) == connect.CodeUnavailable
}

func (i *invocation) whichServer(source string) string {
	return fmt.Sprintf("The address comes from %s. Start a server on this machine with: flovyn dev   (or name another with --server)", source)
}

func after(text, mark string) string {
	if _, rest, found := strings.Cut(text, mark); found {
		return rest
	}
	return text
}

// innermost is the text of the first cause.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
