package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/flovyn/flovyn-server/internal/devserver"
)

// introduce tells what runs where, and how to get in.
func introduce(w io.Writer, s *devserver.Server) {
	fmt.Fprintf(w, `
Flovyn Server is ready.

  HTTP      %s
  gRPC      %s
  database  %s
  org       %s  %s
  API key   %s  (user admin, OWNER)
  worker    %s

For workers, in any of the SDKs:

  export FLOVYN_GRPC_SERVER_URL=%s FLOVYN_ORG_ID=%s FLOVYN_WORKER_TOKEN=%s

`, s.HTTPURL(), s.GRPCURL(), s.Database(), devserver.OrgSlug, devserver.OrgID,
		devserver.UserKey, devserver.WorkerKey, s.GRPCURL(), devserver.OrgID, devserver.WorkerKey)
}

// invite prints command lines to paste, which start a workflow that the worker
// here runs.
func invite(w io.Writer, s *devserver.Server, kind, input string) {
	request := fmt.Sprintf(`{"orgId": "%s", "workflowKind": "%s", "input": "%s"}`,
		devserver.OrgID, kind, base64.StdEncoding.EncodeToString([]byte(input)))
	const procedure = "/flovyn.v1.WorkflowDispatch/StartWorkflow"
	curl := []string{
		"curl " + s.HTTPURL() + procedure,
		"-H 'Authorization: Bearer " + devserver.UserKey + "'",
		"-H 'Content-Type: application/json'",
		"-d '" + request + "'",
	}
	buf := []string{
		"buf curl " + s.GRPCURL() + procedure,
		"--protocol grpc --http2-prior-knowledge --reflect-header '*'",
		"-H 'Authorization: Bearer " + devserver.UserKey + "'",
		"-d '" + request + "'",
	}
	const newLine = " \\\n    "
	fmt.Fprintf(w, "Start another one (the input, in base64 as protobuf has it, is %s):\n\n  %s\n\n  %s\n\n",
		input, strings.Join(curl, newLine), strings.Join(buf, newLine))
}
