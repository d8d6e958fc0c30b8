package rpc

import (
	"cmp"
	"context"
	"errors"
	"time"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/live"
)

// workflowExecutions serves flovyn.api.v1.WorkflowExecutionService.
type workflowExecutions struct {
	apiv1connect.UnimplementedWorkflowExecutionServiceHandler
	door
}

// startMessage is what the requests that start a workflow have in common.
type startMessage interface {
	GetOrg() string
	GetQueue() string
	GetPrioritySeconds() int32
	GetVersion() string
	GetMetadata() map[string]string
}

// startRequestOf reads a start. The input is checked against what the workers
// say of the kind.
func (d door) startRequestOf(ctx context.Context, m startMessage, kind string, input []byte, key string, ttl *string) (engine.StartRequest, error) {
	org, err := d.slugged(ctx, m.GetOrg())
	if err != nil {
		return engine.StartRequest{}, err
	}
	if err := required("kind", kind); err != nil {
		return engine.StartRequest{}, err
	}
	keyTTL, err := keyTTLText("idempotency_key_ttl", ttl)
	if err != nil {
		return engine.StartRequest{}, err
	}
	if err := checkMetadata(m.GetMetadata()); err != nil {
		return engine.StartRequest{}, err
	}
	if input, err = history.Payload("input", input, d.engine.MaxPayload()); err != nil {
		return engine.StartRequest{}, err
	}
	if len(input) == 0 {
		input = []byte("{}")
	}
	if err := d.checkInput(ctx, org, flovyn.ClassWorkflow, kind, input); err != nil {
		return engine.StartRequest{}, err
	}
	return engine.StartRequest{
		Org: org, Kind: kind, Input: input, Queue: m.GetQueue(), Priority: priority(m.GetPrioritySeconds()),
		Version: m.GetVersion(), Metadata: m.GetMetadata(), IdempotencyKey: key, KeyTTL: keyTTL,
	}, nil
}

// checkInput checks an input against the JSON Schema that workers registered for
// the kind, if any did.
func (d door) checkInput(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string, input []byte) error {
	schema, err := d.workers.InputSchema(ctx, org, class, kind)
	if err != nil || len(schema) == 0 {
		return err
	}
	return d.schemas.Check(string(class)+" "+kind, schema, input)
}

// StartWorkflowExecution creates an execution or finds the one of its key.
func (h workflowExecutions) StartWorkflowExecution(
	ctx context.Context, req *apiv1.StartWorkflowExecutionRequest,
) (*apiv1.StartWorkflowExecutionResponse, error) {
	start, err := h.startRequestOf(ctx, req, req.GetKind(), req.GetInput(), req.GetIdempotencyKey(), req.IdempotencyKeyTtl)
	if err != nil {
		return nil, err
	}
	started, err := h.engine.Start(ctx, start)
	if err != nil {
		return nil, err
	}
	return &apiv1.StartWorkflowExecutionResponse{
		WorkflowExecutionId: started.ID.String(), Status: string(started.Status), Kind: started.Kind,
		CreatedAt: at(started.CreatedAt), Links: linksOf(req.GetOrg(), started.ID), IdempotencyKeyUsed: started.KeyUsed,
		IdempotencyKeyNew: started.KeyNew, Created: started.Created,
	}, nil
}

// defaultWait is how long a call waits for the end of an execution that does not
// say.
const defaultWait = 30 * time.Second

// waitFor reads how long to wait.
func waitFor(seconds *int32) time.Duration {
	if seconds == nil {
		return defaultWait
	}
	return time.Duration(*seconds) * time.Second
}

// StartAndWaitWorkflowExecution creates an execution, or finds the one of its
// key, and waits for its end.
func (h workflowExecutions) StartAndWaitWorkflowExecution(
	ctx context.Context, req *apiv1.StartAndWaitWorkflowExecutionRequest,
) (*apiv1.StartAndWaitWorkflowExecutionResponse, error) {
	start, err := h.startRequestOf(ctx, req, req.GetKind(), req.GetInput(), req.GetIdempotencyKey(), req.IdempotencyKeyTtl)
	if err != nil {
		return nil, err
	}
	started, err := h.engine.Start(ctx, start)
	if err != nil {
		return nil, err
	}
	result, err := h.await(ctx, start.Org, started.ID, waitFor(req.TimeoutSeconds))
	if err != nil {
		return nil, err
	}
	return &apiv1.StartAndWaitWorkflowExecutionResponse{
		WorkflowExecutionId: started.ID.String(), Status: string(result.Status), Done: result.Status.Terminal(),
		Output: result.Output, Error: maybe(result.Error), Links: linksOf(req.GetOrg(), started.ID),
		IdempotencyKeyUsed: started.KeyUsed, IdempotencyKeyNew: started.KeyNew,
	}, nil
}

// WaitWorkflowExecution waits for the end of an execution.
func (h workflowExecutions) WaitWorkflowExecution(
	ctx context.Context, req *apiv1.WaitWorkflowExecutionRequest,
) (*apiv1.WaitWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	result, err := h.await(ctx, org, id, waitFor(req.TimeoutSeconds))
	if err != nil {
		return nil, err
	}
	return &apiv1.WaitWorkflowExecutionResponse{Result: &apiv1.WorkflowResult{
		WorkflowExecutionId: id.String(), Status: string(result.Status), Done: result.Status.Terminal(),
		Output: result.Output, Error: maybe(result.Error),
	}}, nil
}

// await returns the result of an execution as soon as there is one, and where it
// stands when the time is over, or the server stops, before. It asks the database
// only when it is told to look.
func (d door) await(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, atMost time.Duration) (engine.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, errWaited)
	defer cancel()
	for {
		wait, err := d.live.Await(live.Workflow(org, id))
		if err != nil {
			return engine.Result{}, err
		}
		result, over, err := d.awaitOnce(ctx, org, id, wait)
		wait.Close()
		if err != nil || over {
			return result, err
		}
	}
}

// errWaited ends a wait whose time is over.
var errWaited = errors.New("the time to wait is over")

// awaitOnce looks, and looks again when it is told to; over tells that the result
// is what there is to say.
func (d door) awaitOnce(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID, wait *live.Wait) (_ engine.Result, over bool, _ error) {
	result, err := d.engine.Result(context.WithoutCancel(ctx), org, id)
	if err != nil || result.Status.Terminal() {
		return result, true, err
	}
	select {
	case <-wait.Told():
		return result, false, nil
	case <-d.stopping:
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), errWaited) {
			return result, true, ctx.Err()
		}
	}
	result, err = d.engine.Result(context.WithoutCancel(ctx), org, id)
	return result, true, err
}

// about is a request about one execution.
type about interface {
	GetOrg() string
	GetId() string
}

// one reads which execution a request is about.
func (d door) one(ctx context.Context, req about) (flovyn.OrgID, flovyn.ExecutionID, error) {
	org, err := d.slugged(ctx, req.GetOrg())
	if err != nil {
		return org, flovyn.ExecutionID{}, err
	}
	id, err := parseExecution("id", req.GetId())
	return org, id, err
}

// GetWorkflowExecution returns an execution.
func (h workflowExecutions) GetWorkflowExecution(
	ctx context.Context, req *apiv1.GetWorkflowExecutionRequest,
) (*apiv1.GetWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	view, err := h.engine.View(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetWorkflowExecutionResponse{Execution: executionOut(view)}, nil
}

// ListWorkflowEvents returns the history, whole or a page of it.
func (h workflowExecutions) ListWorkflowEvents(
	ctx context.Context, req *apiv1.ListWorkflowEventsRequest,
) (*apiv1.ListWorkflowEventsResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	events, more, err := h.engine.EventsAfter(ctx, org, id, flovyn.Seq(req.GetSinceSequence()), int(req.GetLimit()))
	if err != nil {
		return nil, err
	}
	return &apiv1.ListWorkflowEventsResponse{Events: workflowEventsOut(events), HasMore: more}, nil
}

// ListWorkflowTasks returns the tasks of an execution.
func (h workflowExecutions) ListWorkflowTasks(
	ctx context.Context, req *apiv1.ListWorkflowTasksRequest,
) (*apiv1.ListWorkflowTasksResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	views, err := h.engine.TasksOf(ctx, org, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListWorkflowTasksResponse{Tasks: make([]*apiv1.TaskExecution, len(views))}
	for i := range views {
		out.Tasks[i] = taskExecutionOut(&views[i])
	}
	return out, nil
}

// ListWorkflowTaskAttempts returns the attempts of one task of an execution.
func (h workflowExecutions) ListWorkflowTaskAttempts(
	ctx context.Context, req *apiv1.ListWorkflowTaskAttemptsRequest,
) (*apiv1.ListWorkflowTaskAttemptsResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	taskID, err := parseTask("task_id", req.GetTaskId())
	if err != nil {
		return nil, err
	}
	view, err := h.tasks.View(ctx, org, taskID)
	if err == nil && view.Workflow != id {
		err = fault.New(fault.NotFound, "task execution %s not found", taskID)
	}
	if err != nil {
		return nil, err
	}
	attempts, err := h.tasks.Attempts(ctx, &view)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListWorkflowTaskAttemptsResponse{Attempts: attemptsOut(attempts)}, nil
}

// ListWorkflowChildren returns the children of an execution.
func (h workflowExecutions) ListWorkflowChildren(
	ctx context.Context, req *apiv1.ListWorkflowChildrenRequest,
) (*apiv1.ListWorkflowChildrenResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	children, err := h.engine.Children(ctx, org, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListWorkflowChildrenResponse{Children: make([]*apiv1.WorkflowChild, len(children))}
	for i, c := range children {
		out.Children[i] = &apiv1.WorkflowChild{
			ChildWorkflowExecutionId: c.ID.String(), ChildExecutionName: c.Name, Kind: c.Kind, Status: string(c.Status),
			CreatedAt: at(c.CreatedAt), CompletedAt: at(c.EndedAt),
		}
	}
	return out, nil
}

// ListWorkflowPromises returns the promises of an execution.
func (h workflowExecutions) ListWorkflowPromises(
	ctx context.Context, req *apiv1.ListWorkflowPromisesRequest,
) (*apiv1.ListWorkflowPromisesResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	found, err := h.engine.Promises(ctx, org, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListWorkflowPromisesResponse{Promises: make([]*apiv1.Promise, len(found))}
	for i, p := range found {
		out.Promises[i] = promiseOut(p)
	}
	return out, nil
}

// GetWorkflowState returns what a workflow keeps, all of it or under one key.
func (h workflowExecutions) GetWorkflowState(
	ctx context.Context, req *apiv1.GetWorkflowStateRequest,
) (*apiv1.GetWorkflowStateResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	state, err := h.engine.State(ctx, org, id)
	if err != nil {
		return nil, err
	}
	if req.Key != nil {
		value, ok := state[req.GetKey()]
		state = map[string][]byte{}
		if ok {
			state[req.GetKey()] = value
		}
	}
	return &apiv1.GetWorkflowStateResponse{State: state}, nil
}

// wholeState is the query for everything that a workflow keeps. Clients of the
// worker protocol know it by the engine's name.
const wholeState = "state"

// QueryWorkflowExecution answers from what a workflow keeps.
func (h workflowExecutions) QueryWorkflowExecution(
	ctx context.Context, req *apiv1.QueryWorkflowExecutionRequest,
) (*apiv1.QueryWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	name := req.GetQueryName()
	if name == wholeState {
		name = engine.AllState
	}
	result, problem, err := h.engine.Query(ctx, org, id, name, req.GetParams())
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return nil, fault.New(fault.NotFound, "%s", problem)
	}
	return &apiv1.QueryWorkflowExecutionResponse{Result: result}, nil
}

// SignalWorkflowExecution sends a signal.
func (h workflowExecutions) SignalWorkflowExecution(
	ctx context.Context, req *apiv1.SignalWorkflowExecutionRequest,
) (*apiv1.SignalWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := required("signal_name", req.GetSignalName()); err != nil {
		return nil, err
	}
	seq, err := h.engine.Signal(ctx, org, id, req.GetSignalName(), req.GetSignalValue())
	if err != nil {
		return nil, err
	}
	return &apiv1.SignalWorkflowExecutionResponse{SignalEventSequence: int32(seq)}, nil
}

// SignalWithStartWorkflowExecution signals the open execution of a workflow id,
// starting it if need be.
func (h workflowExecutions) SignalWithStartWorkflowExecution(
	ctx context.Context, req *apiv1.SignalWithStartWorkflowExecutionRequest,
) (*apiv1.SignalWithStartWorkflowExecutionResponse, error) {
	if err := cmp.Or(required("workflow_kind", req.GetWorkflowKind()), required("signal_name", req.GetSignalName())); err != nil {
		return nil, err
	}
	start, err := h.startRequestOf(ctx, req, req.GetWorkflowKind(), req.GetWorkflowInput(), req.GetWorkflowId(), req.IdempotencyKeyTtl)
	if err != nil {
		return nil, err
	}
	signalled, err := h.engine.SignalWithStart(ctx, engine.SignalWithStartRequest{
		StartRequest: start, SignalName: req.GetSignalName(), SignalValue: req.GetSignalValue(),
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.SignalWithStartWorkflowExecutionResponse{
		WorkflowExecutionId: signalled.ID.String(), WorkflowCreated: signalled.Created, SignalEventSequence: int32(signalled.Seq),
	}, nil
}

// requester names the caller in histories.
func requester(ctx context.Context) string {
	c, ok := caller.From(ctx)
	if !ok || c.ID == "" {
		return ""
	}
	return c.Label()
}

// CancelWorkflowExecution cancels an execution, with its children unless told
// otherwise.
func (h workflowExecutions) CancelWorkflowExecution(
	ctx context.Context, req *apiv1.CancelWorkflowExecutionRequest,
) (*apiv1.CancelWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	result, err := h.engine.CancelExecution(ctx, engine.CancelRequest{
		Org: org, ID: id, Reason: req.GetReason(), RequestedBy: requester(ctx),
		Cascade: req.CascadeToChildren == nil || req.GetCascadeToChildren(),
	})
	if err != nil {
		return nil, err
	}
	if result.AlreadyEnded {
		return &apiv1.CancelWorkflowExecutionResponse{Status: "ALREADY_TERMINAL"}, nil
	}
	return &apiv1.CancelWorkflowExecutionResponse{
		Status: string(flovyn.WorkflowCancelled), CancelledChildren: int32(result.Descendants),
	}, nil
}

// TerminateWorkflowExecution ends an execution without asking its worker.
func (h workflowExecutions) TerminateWorkflowExecution(
	ctx context.Context, req *apiv1.TerminateWorkflowExecutionRequest,
) (*apiv1.TerminateWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	ended, err := h.engine.Terminate(ctx, org, id, req.GetReason(), requester(ctx))
	if err != nil {
		return nil, err
	}
	if !ended {
		return &apiv1.TerminateWorkflowExecutionResponse{Status: "ALREADY_TERMINAL"}, nil
	}
	return &apiv1.TerminateWorkflowExecutionResponse{Status: "TERMINATED"}, nil
}

// RetryWorkflowExecution opens a failed execution again.
func (h workflowExecutions) RetryWorkflowExecution(
	ctx context.Context, req *apiv1.RetryWorkflowExecutionRequest,
) (*apiv1.RetryWorkflowExecutionResponse, error) {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := h.engine.Retry(ctx, org, id, req.GetNote(), requester(ctx)); err != nil {
		return nil, err
	}
	return &apiv1.RetryWorkflowExecutionResponse{
		WorkflowExecutionId: id.String(), Status: string(flovyn.WorkflowPending), Success: true,
		Message: "the workflow execution tries again",
	}, nil
}
