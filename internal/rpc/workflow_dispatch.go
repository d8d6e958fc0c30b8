package rpc

import (
	"cmp"
	"context"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/emptypb"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/wake"
	"github.com/flovyn/flovyn-server/internal/worker"
)

// workflowDispatch serves flovyn.v1.WorkflowDispatch.
type workflowDispatch struct{ door }

// PollWorkflow claims an execution. When the client has gone meanwhile, nobody
// would ever submit it, and when its credential is good no longer, nobody may: the
// claim is undone.
func (h workflowDispatch) PollWorkflow(ctx context.Context, req *flovynv1.PollRequest) (*flovynv1.PollResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	if err := required("worker_id", req.GetWorkerId()); err != nil {
		return nil, err
	}
	poll, end, err := h.workers.BeginPoll(ctx, worker.PollRequest{
		Org: org, Worker: req.GetWorkerId(), Peer: peer(ctx), Class: flovyn.ClassWorkflow,
		Timeout: pollTimeout(req.GetTimeoutSeconds()), Kinds: req.GetWorkflowCapabilities(),
	})
	if err != nil {
		return nil, err
	}
	defer end()
	activation, err := h.engine.Poll(ctx, wake.Key{Org: org, Queue: cmp.Or(req.GetQueue(), flovyn.DefaultQueue)}, poll.Poller, poll.Hold)
	if err != nil || activation == nil {
		return &flovynv1.PollResponse{}, err
	}
	if err := stillThere(ctx); err != nil {
		h.engine.Return(context.WithoutCancel(ctx), *activation)
		return nil, err
	}
	h.activated(activation)
	return &flovynv1.PollResponse{WorkflowExecution: workflowOut(activation), Traceparent: activation.Execution.Traceparent}, nil
}

// SubscribeToNotifications keeps the stream open until the client or the server
// ends. Notifications are hints that may be lost, and a poll is answered the
// moment there is work: there is nothing to hint at.
func (h workflowDispatch) SubscribeToNotifications(
	ctx context.Context, req *flovynv1.SubscriptionRequest, stream flovynv1connect.WorkflowDispatchSubscribeToNotificationsServerStream,
) error {
	if _, err := h.named(ctx, req.GetOrgId()); err != nil {
		return err
	}
	if err := required("worker_id", req.GetWorkerId()); err != nil {
		return err
	}
	if err := stream.SendHeaders(); err != nil {
		return err
	}
	select {
	case <-h.stopping:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// StartWorkflow creates an execution or finds the one of its idempotency key.
func (h workflowDispatch) StartWorkflow(ctx context.Context, req *flovynv1.StartWorkflowRequest) (*flovynv1.StartWorkflowResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	ttl, err := keyTTL("idempotency_key_ttl_seconds", req.IdempotencyKeyTtlSeconds)
	if err != nil {
		return nil, err
	}
	if err := required("workflow_kind", req.GetWorkflowKind()); err != nil {
		return nil, err
	}
	started, err := h.engine.Start(ctx, engine.StartRequest{
		Org: org, Kind: req.GetWorkflowKind(), Input: req.GetInput(), Queue: req.GetQueue(),
		Priority: priority(req.GetPrioritySeconds()), Version: req.GetWorkflowVersion(), Metadata: req.GetMetadata(),
		IdempotencyKey: req.GetIdempotencyKey(), KeyTTL: ttl,
	})
	if err != nil {
		return nil, err
	}
	return &flovynv1.StartWorkflowResponse{
		WorkflowExecutionId: started.ID.String(), IdempotencyKeyUsed: started.KeyUsed, IdempotencyKeyNew: started.KeyNew,
	}, nil
}

// GetVisualWorkflowDefinitionById knows no definition: there is no visual editor.
func (h workflowDispatch) GetVisualWorkflowDefinitionById(
	_ context.Context, req *flovynv1.GetVisualWorkflowDefinitionByIdRequest,
) (*flovynv1.GetVisualWorkflowDefinitionByIdResponse, error) {
	id, err := parseUUID("workflow_definition_id", req.GetWorkflowDefinitionId())
	if err != nil {
		return nil, err
	}
	return nil, fault.New(fault.NotFound, "visual workflow definition %s not found", id)
}

// StartChildWorkflow creates a child of an execution from outside its code.
func (h workflowDispatch) StartChildWorkflow(ctx context.Context, req *flovynv1.StartChildWorkflowRequest) (*flovynv1.StartChildWorkflowResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	parent, err := parseExecution("parent_workflow_execution_id", req.GetParentWorkflowExecutionId())
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(
		required("child_execution_name", req.GetChildExecutionName()), required("workflow_kind", req.GetWorkflowKind()),
	); err != nil {
		return nil, err
	}
	child, err := h.engine.StartChild(ctx, engine.ChildRequest{
		Org: org, Parent: parent, Name: req.GetChildExecutionName(), Kind: req.GetWorkflowKind(),
		Queue: req.GetQueue(), Input: req.GetInput(), Priority: priority(req.GetPrioritySeconds()),
	})
	if err != nil {
		return nil, err
	}
	return &flovynv1.StartChildWorkflowResponse{ChildWorkflowExecutionId: child.String()}, nil
}

// ResolvePromise settles a promise with a value.
func (h workflowDispatch) ResolvePromise(ctx context.Context, req *flovynv1.ResolvePromiseRequest) (*emptypb.Empty, error) {
	org, err := h.promise(ctx, req.GetPromiseId())
	if err != nil {
		return nil, err
	}
	return done(h.engine.ResolvePromise(ctx, org, req.GetPromiseId(), req.GetValue()))
}

// RejectPromise settles a promise with an error.
func (h workflowDispatch) RejectPromise(ctx context.Context, req *flovynv1.RejectPromiseRequest) (*emptypb.Empty, error) {
	org, err := h.promise(ctx, req.GetPromiseId())
	if err != nil {
		return nil, err
	}
	return done(h.engine.RejectPromise(ctx, org, req.GetPromiseId(), req.GetError()))
}

// promise returns the organization in which a promise is looked for. The engine
// reads its identifier, which has several forms.
func (d door) promise(ctx context.Context, ref string) (flovyn.OrgID, error) {
	if err := required("promise_id", ref); err != nil {
		return flovyn.OrgID{}, err
	}
	if _, err := uuid.Parse(ref); err == nil && len(ref) != uuidLength {
		return flovyn.OrgID{}, fault.InvalidField("promise_id", "is not a UUID in its usual form")
	}
	return own(ctx, func() (flovyn.OrgID, error) { return d.engine.LocatePromise(ctx, ref) })
}

// SignalWithStartWorkflow signals the execution of a key, starting it if need be.
func (h workflowDispatch) SignalWithStartWorkflow(
	ctx context.Context, req *flovynv1.SignalWithStartWorkflowRequest,
) (*flovynv1.SignalWithStartWorkflowResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	ttl, err := keyTTL("idempotency_key_ttl_seconds", req.IdempotencyKeyTtlSeconds)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(required("workflow_kind", req.GetWorkflowKind()), required("signal_name", req.GetSignalName())); err != nil {
		return nil, err
	}
	signalled, err := h.engine.SignalWithStart(ctx, engine.SignalWithStartRequest{
		StartRequest: engine.StartRequest{
			Org: org, Kind: req.GetWorkflowKind(), Input: req.GetWorkflowInput(), Queue: req.GetQueue(),
			Priority: priority(req.GetPrioritySeconds()), Version: req.GetWorkflowVersion(), Metadata: req.GetMetadata(),
			IdempotencyKey: req.GetWorkflowId(), KeyTTL: ttl,
		},
		SignalName: req.GetSignalName(), SignalValue: req.GetSignalValue(),
	})
	if err != nil {
		return nil, err
	}
	return &flovynv1.SignalWithStartWorkflowResponse{
		WorkflowExecutionId: signalled.ID.String(), WorkflowCreated: signalled.Created, SignalEventSequence: int64(signalled.Seq),
	}, nil
}

// SignalWorkflow appends a signal to an execution's history.
func (h workflowDispatch) SignalWorkflow(ctx context.Context, req *flovynv1.SignalWorkflowRequest) (*flovynv1.SignalWorkflowResponse, error) {
	org, err := h.named(ctx, req.GetOrgId())
	if err != nil {
		return nil, err
	}
	id, err := parseExecution("workflow_execution_id", req.GetWorkflowExecutionId())
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
	return &flovynv1.SignalWorkflowResponse{SignalEventSequence: int64(seq)}, nil
}

// GetEvents returns an execution's whole history, as workers are to see it.
func (h workflowDispatch) GetEvents(ctx context.Context, req *flovynv1.GetEventsRequest) (*flovynv1.GetEventsResponse, error) {
	org, id, err := h.execution(ctx, req.GetWorkflowExecutionId())
	if err != nil {
		return nil, err
	}
	events, err := h.engine.Events(ctx, org, id)
	if err != nil {
		return nil, err
	}
	return &flovynv1.GetEventsResponse{Events: eventsOut(history.ForWorkers(events))}, nil
}

// SubmitWorkflowCommands takes what a worker decided in an activation.
func (h workflowDispatch) SubmitWorkflowCommands(ctx context.Context, req *flovynv1.SubmitWorkflowCommandsRequest) (*emptypb.Empty, error) {
	org, id, err := h.execution(ctx, req.GetWorkflowExecutionId())
	if err != nil {
		return nil, err
	}
	commands, err := commandsOf(req.GetCommands(), h.engine.MaxPayload())
	if err != nil {
		h.engine.NoteRefusal(org, id, err)
		return nil, err
	}
	status, err := statusOf(req.GetStatus(), commands)
	if err != nil {
		return nil, err
	}
	return done(h.engine.Submit(ctx, org, id, commands, status))
}

// execution reads the id of a request about an existing execution, and says
// whose it must be.
func (d door) execution(ctx context.Context, text string) (flovyn.OrgID, flovyn.ExecutionID, error) {
	id, err := parseExecution("workflow_execution_id", text)
	if err != nil {
		return flovyn.OrgID{}, id, err
	}
	org, err := own(ctx, func() (flovyn.OrgID, error) { return d.engine.Locate(ctx, id) })
	return org, id, err
}

// priority is by how much an execution counts as created earlier.
func priority(seconds int32) time.Duration { return time.Duration(seconds) * time.Second }

// stillThere returns nil while whoever polled is there and may have the work.
func stillThere(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return caller.Recheck(ctx)
}

// peer returns the remote address of the caller's connection. Of a call that a
// proxy forwarded it is not known: the connection is the proxy's.
func peer(ctx context.Context) string {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return ""
	}
	for _, mark := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if info.RequestHeader().Get(mark) != "" {
			return ""
		}
	}
	return info.PeerAddr
}

// done is the answer of a deed that returns nothing.
func done(err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
