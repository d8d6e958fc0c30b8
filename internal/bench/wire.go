package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// The calls that the benchmark makes.
const (
	callPollWorkflow = "/flovyn.v1.WorkflowDispatch/PollWorkflow"
	callEvents       = "/flovyn.v1.WorkflowDispatch/GetEvents"
	callSubmit       = "/flovyn.v1.WorkflowDispatch/SubmitWorkflowCommands"
	callStart        = "/flovyn.v1.WorkflowDispatch/StartWorkflow"
	callSignal       = "/flovyn.v1.WorkflowDispatch/SignalWorkflow"
	callSubmitTask   = "/flovyn.v1.TaskExecution/SubmitTask"
	callPollTask     = "/flovyn.v1.TaskExecution/PollTask"
	callComplete     = "/flovyn.v1.TaskExecution/CompleteTask"
	callRegister     = "/flovyn.v1.WorkerLifecycle/RegisterWorker"
	callStartAndWait = "/flovyn.api.v1.WorkflowExecutionService/StartAndWaitWorkflowExecution"
	callWait         = "/flovyn.api.v1.WorkflowExecutionService/WaitWorkflowExecution"
	callHealth       = "/grpc.health.v1.Health/Check"
)

// wire is a set of connections over which calls are spread.
type wire struct {
	conns []*grpc.ClientConn
	next  atomic.Uint32
}

// dial connects to every address, so many times each. grpc-go is the client
// because it is close to what SDKs have in speed.
func dial(token string, perAddress int, addresses ...string) (*wire, error) {
	w := &wire{}
	for range perAddress {
		for _, address := range addresses {
			conn, err := grpc.NewClient("passthrough:///"+address,
				grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)))
			if err != nil {
				w.close()
				return nil, fmt.Errorf("connecting to %s: %w", address, err)
			}
			w.conns = append(w.conns, conn)
		}
	}
	return w, nil
}

func (w *wire) call(ctx context.Context, method string, request, response proto.Message) error {
	conn := w.conns[int(w.next.Add(1))%len(w.conns)]
	return conn.Invoke(ctx, method, request, response)
}

func (w *wire) close() {
	for _, conn := range w.conns {
		_ = conn.Close()
	}
}

// bearer attaches a token to every call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: everything
// is on this machine.
func (bearer) RequireTransportSecurity() bool { return false }
