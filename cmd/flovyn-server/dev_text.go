package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/flovyn/flovyn-server/internal/demo"
	"github.com/flovyn/flovyn-server/internal/devserver"
)

// introduce tells what runs where, and how to get in.
func introduce(w io.Writer, s *devserver.Server) {
	fmt.Fprintf(w, `
Flovyn Server is ready.

  HTTP        %s
  gRPC        %s
  database    %s
  org         %s (%s)
  user key    %s (user admin, OWNER)
  worker key  %s

For workers:

  export FLOVYN_GRPC_SERVER_URL=%s
  export FLOVYN_ORG_ID=%s
  export FLOVYN_WORKER_TOKEN=%s

`, s.HTTPURL(), s.GRPCURL(), s.Database(), devserver.OrgID, devserver.OrgSlug,
		devserver.UserKey, devserver.WorkerKey, s.GRPCURL(), devserver.OrgID, devserver.WorkerKey)
}

// invite prints command lines to paste, which start an order for the worker that
// is running here, approve it, and show what became of it.
func invite(w io.Writer, s *devserver.Server) {
	order := fmt.Sprintf(`{"orgId": %q, "workflowKind": %q, "queue": %q, "input": %q}`,
		devserver.OrgID, demo.Kind, demo.Queue, inBase64(demo.Input))
	approval := fmt.Sprintf(`{"promiseId": %q, "value": %q}`, "ID:"+demo.ApprovalPromise, inBase64(demo.ApprovalValue))
	fmt.Fprintf(w, `The example worker goes on working; Ctrl-C stops everything.

Order something, with curl or with buf curl; the answer is the order's id. The
input is %s
in base64, as protobuf writes bytes in JSON.

%s

%s

The order waits for an approval. Put its id in place of ID:

%s

See what happened:

%s

`, demo.Input,
		curl(s.HTTPURL(), "StartWorkflow", order), bufCurl(s.GRPCURL(), "StartWorkflow", order),
		curl(s.HTTPURL(), "ResolvePromise", approval),
		bufCurl(s.GRPCURL(), "GetEvents", `{"workflowExecutionId": "ID"}`))
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
