package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// WorkerConfig says what a worker works for.
type WorkerConfig struct {
	// Addresses are the servers' gRPC addresses, host:port.
	Addresses []string
	// Token is a worker's key, and Org its organization's id.
	Token, Org string
	// Workflows and Tasks are how many polls of each are held at once.
	Workflows, Tasks int
	// Report receives the schedule-to-start latencies of tasks that carry the
	// time of their submission, as nanoseconds, one on a line; nil for none.
	Report io.Writer
}

// pollTimeout is what a poll asks for, as published SDKs do.
const pollTimeout = 60

// RunWorker works until ctx ends.
func RunWorker(ctx context.Context, config WorkerConfig) error {
	wire, err := dial(config.Token, 1+(config.Workflows+config.Tasks)/100, config.Addresses...)
	if err != nil {
		return err
	}
	defer wire.close()
	w := &worker{WorkerConfig: config, wire: wire}
	if err := w.register(ctx); err != nil {
		return err
	}
	var group sync.WaitGroup
	for range config.Workflows {
		group.Go(func() { w.loop(ctx, w.workflow) })
	}
	for range config.Tasks {
		group.Go(func() { w.loop(ctx, w.task) })
	}
	group.Wait()
	return nil
}

type worker struct {
	WorkerConfig
	wire *wire
	mu   sync.Mutex // guards Report
}

const workerName = "bench"

func (w *worker) register(ctx context.Context) error {
	request := &flovynv1.WorkerRegistrationRequest{
		WorkerName: workerName, WorkerType: "UNIFIED", OrgId: w.Org, HostName: "bench", ProcessId: "1",
		Tasks: []*flovynv1.TaskCapability{{Kind: kindWork}},
	}
	for _, kind := range kinds {
		request.Workflows = append(request.Workflows, &flovynv1.WorkflowCapability{Kind: kind})
	}
	if err := w.wire.call(ctx, callRegister, request, &flovynv1.WorkerRegistrationResponse{}); err != nil {
		return fmt.Errorf("registering the worker: %w", err)
	}
	return nil
}

// loop goes on after failures: servers come and go while a worker works.
func (w *worker) loop(ctx context.Context, turn func(context.Context) error) {
	for ctx.Err() == nil {
		if err := turn(ctx); err != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

func (w *worker) workflow(ctx context.Context) error {
	polled := &flovynv1.PollResponse{}
	err := w.wire.call(ctx, callPollWorkflow, &flovynv1.PollRequest{
		WorkerId: workerName, OrgId: w.Org, Queue: "default", TimeoutSeconds: pollTimeout, WorkflowCapabilities: kinds,
	}, polled)
	execution := polled.GetWorkflowExecution()
	if err != nil || execution == nil {
		return err
	}
	past := &flovynv1.GetEventsResponse{}
	if err := w.wire.call(ctx, callEvents, &flovynv1.GetEventsRequest{WorkflowExecutionId: execution.GetId()}, past); err != nil {
		return err
	}
	commands, status := decide(execution.GetKind(), past.GetEvents())
	for i, command := range commands {
		command.SequenceNumber = int32(min(len(past.GetEvents())+i+1, math.MaxInt32)) //nolint:gosec // bounded
	}
	return w.wire.call(ctx, callSubmit, &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: execution.GetId(), Commands: commands, Status: status,
	}, &emptypb.Empty{})
}

func (w *worker) task(ctx context.Context) error {
	polled := &flovynv1.PollTaskResponse{}
	err := w.wire.call(ctx, callPollTask, &flovynv1.PollTaskRequest{
		WorkerId: workerName, OrgId: w.Org, Queue: "default", TimeoutSeconds: pollTimeout,
	}, polled)
	task := polled.GetTask()
	if err != nil || task == nil {
		return err
	}
	w.report(task.GetInput())
	return w.wire.call(ctx, callComplete, &flovynv1.CompleteTaskRequest{TaskExecutionId: task.GetTaskExecutionId(), Output: result}, &emptypb.Empty{})
}

// report writes how long ago a task was submitted, when its input says so.
func (w *worker) report(input []byte) {
	if w.Report == nil {
		return
	}
	at, err := strconv.ParseInt(string(input), 10, 64)
	if err != nil {
		return
	}
	line := strconv.AppendInt(nil, time.Now().UnixNano()-at, 10)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.Report.Write(slices.Concat(line, []byte("\n")))
}
