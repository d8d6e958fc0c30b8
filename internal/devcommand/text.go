package devcommand

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/flovyn/flovyn-server/internal/demo"
	"github.com/flovyn/flovyn-server/internal/devserver"
)

// introduce tells what runs where, and how to get in.
func introduce(w io.Writer, s *devserver.Server) {
	app := s.App()
	fmt.Fprintf(w, `
Flovyn Server is ready.

  HTTP        %s
  gRPC        %s
  database    %s
  org         %s (%s)
  user key    %s (user admin, OWNER)
  worker key  %s

A stand-in for a Flovyn App runs beside it, for this machine alone:

  app         %s (sign in a device at %s/device)
  users       %s (OWNER), %s (MEMBER)
  API keys    %s (of the owner)
              %s (of a worker)

For workers:

  export FLOVYN_GRPC_SERVER_URL=%s
  export FLOVYN_ORG_ID=%s
  export FLOVYN_WORKER_TOKEN=%s

`, s.HTTPURL(), s.GRPCURL(), s.Database(), devserver.OrgID, devserver.OrgSlug,
		devserver.UserKey, devserver.WorkerKey, app.URL(), app.URL(), devserver.OwnerEmail, devserver.MemberEmail,
		app.UserKey, app.WorkerKey, s.GRPCURL(), devserver.OrgID, devserver.WorkerKey)
}

// inviteNow prints what to paste while the example worker runs here.
func inviteNow(w io.Writer, s *devserver.Server) {
	fmt.Fprint(w, "The example worker goes on working; Ctrl-C stops everything.\n\n")
	commandLines(w, s.HTTPURL(), s.GRPCURL())
}

// inviteWorker prints what to paste where no worker runs.
func (d *run) inviteWorker(s *devserver.Server) {
	fmt.Fprintf(d.Stdout, `No worker runs here (with --demo one would). The example worker reads the
variables above, and is started in the source tree by

  go run ./examples/order -queue %s

`, demo.Queue)
	commandLines(d.Stdout, s.HTTPURL(), s.GRPCURL())
}

// inviteLater prints what to paste when the demonstration is over and its server
// goes: the lines are for one that stays, on the usual ports.
func (d *run) inviteLater() {
	fmt.Fprintf(d.Stdout, `That was all, and this server stops. Start one that stays, with an example
worker, by

  %s dev --demo     (or make dev, in the source tree)

and paste what follows.

`, d.Program)
	local := func(port int) string {
		return "http://" + net.JoinHostPort(devserver.DefaultHost, strconv.Itoa(port))
	}
	commandLines(d.Stdout, local(devserver.DefaultHTTPPort), local(devserver.DefaultGRPCPort))
}

// commandLines prints command lines to paste, which start an order for the
// example worker, approve it, and show what became of it.
func commandLines(w io.Writer, httpURL, grpcURL string) {
	order := fmt.Sprintf(`{"orgId": %q, "workflowKind": %q, "queue": %q, "input": %q}`,
		devserver.OrgID, demo.Kind, demo.Queue, inBase64(demo.Input))
	approval := fmt.Sprintf(`{"promiseId": %q, "value": %q}`, "ID:"+demo.ApprovalPromise, inBase64(demo.ApprovalValue))
	fmt.Fprintf(w, `Order something, with curl or with buf curl; the answer is the order's id. The
input is %s
in base64, as protobuf writes bytes in JSON.

%s

%s

The order waits for an approval. Put its id in place of ID:

%s

See what happened:

%s

`, demo.Input,
		curl(httpURL, "StartWorkflow", order), bufCurl(grpcURL, "StartWorkflow", order),
		curl(httpURL, "ResolvePromise", approval),
		bufCurl(grpcURL, "GetEvents", `{"workflowExecutionId": "ID"}`))
}

func inBase64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// curl is a command line that calls by the Connect protocol.
func curl(url, method, request string) string {
	return commandLine("curl "+url+procedure(method), "-H 'Authorization: Bearer "+devserver.UserKey+"'",
		"-H 'Content-Type: application/json'", "-d '"+request+"'")
}

// bufCurl is a command line that calls by gRPC, and learns the protocol from the
// server.
func bufCurl(url, method, request string) string {
	return commandLine("buf curl "+url+procedure(method), "--protocol grpc --http2-prior-knowledge --reflect-header '*'",
		"-H 'Authorization: Bearer "+devserver.UserKey+"'", "-d '"+request+"'")
}

func procedure(method string) string { return "/flovyn.v1.WorkflowDispatch/" + method }

func commandLine(parts ...string) string { return "  " + strings.Join(parts, " \\\n    ") }
