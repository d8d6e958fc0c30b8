package flow

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

const (
	// callTimeout limits every call that is not a poll.
	callTimeout = 30 * time.Second
	// pollSlack is how much longer than asked the answer to a poll may take.
	pollSlack = 30 * time.Second
	// emptyPoll is how long a slot takes for an empty poll at least, should the
	// server not hold it.
	emptyPoll = 100 * time.Millisecond
	// firstPause and lastPause bound the waiting after failures.
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// serve is one slot: it takes work and does it, until ctx ends. Work goes on
// beyond that, on a context of its own. A server that turns the worker away ends
// all slots.
func (w *Worker) serve(
	ctx, work context.Context, giveUp context.CancelCauseFunc, take func(ctx, work context.Context) (bool, error),
) {
	for failures := 0; ctx.Err() == nil; {
		empty := time.NewTimer(emptyPoll)
		found, err := take(ctx, work)
		switch {
		case err != nil && unwelcome(err):
			giveUp(&rejection{err})
		case err != nil && ctx.Err() == nil:
			w.link.lost(ctx, err)
			failures++
			pause(ctx, backoff(failures))
		case err == nil:
			w.link.restored(ctx)
			failures = 0
		}
		if err == nil && !found {
			select {
			case <-ctx.Done():
			case <-empty.C:
			}
		}
		empty.Stop()
	}
}

// takeWorkflow polls for one activation and runs it.
func (w *Worker) takeWorkflow(ctx, work context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.PollTimeout+pollSlack)
	defer cancel()
	resp, err := w.client.Workflows.PollWorkflow(ctx, &flovynv1.PollRequest{
		WorkerId: *w.id.Load(), OrgId: w.opts.Org, Queue: w.opts.Queue,
		TimeoutSeconds: int64(w.opts.PollTimeout / time.Second),
	})
	if err != nil || resp.GetWorkflowExecution() == nil {
		return false, err
	}
	w.runWorkflow(work, resp.GetWorkflowExecution())
	return true, nil
}

func (w *Worker) runWorkflow(ctx context.Context, execution *flovynv1.WorkflowExecution) {
	logger := w.logger.With("workflow_execution_id", execution.GetId(), "kind", execution.GetKind())
	var history *flovynv1.GetEventsResponse
	err := w.deliver(ctx, func(ctx context.Context) (err error) {
		history, err = w.client.Workflows.GetEvents(ctx, &flovynv1.GetEventsRequest{WorkflowExecutionId: execution.GetId()})
		return err
	})
	if err != nil { // an empty history in its place would run the workflow anew
		logger.ErrorContext(ctx, "getting the history of a workflow failed", "error", err)
		return
	}
	submission := w.activation(ctx, logger, execution, history.GetEvents())
	err = w.submit(ctx, submission)
	if err != nil && refused(err) {
		logger.WarnContext(ctx, "the server refused a workflow's commands", "error", err)
		err = w.submit(ctx, failure(execution, failureRefused, "the server refused the workflow's commands: "+err.Error()))
	}
	if err != nil {
		logger.ErrorContext(ctx, "submitting a workflow's commands failed", "error", err)
	}
}

// activation is activate, with a failure for every execution that it cannot run:
// without one, the execution would stay with this worker.
func (w *Worker) activation(
	ctx context.Context, logger *slog.Logger, execution *flovynv1.WorkflowExecution, events []*flovynv1.WorkflowEvent,
) *flovynv1.SubmitWorkflowCommandsRequest {
	fn, ok := w.workflows[execution.GetKind()]
	if !ok {
		return failure(execution, failureUnknownKind, "the worker "+w.opts.Name+" knows no workflow "+execution.GetKind())
	}
	submission, err := activate(execution, events, fn)
	if err != nil {
		return failure(execution, failureError, err.Error())
	}
	if submission.GetStatus() == flovynv1.WorkflowStatus_FAILED {
		last := submission.GetCommands()[len(submission.GetCommands())-1].GetFailWorkflow()
		logger.WarnContext(ctx, "workflow failed", "error", last.GetError(), "failure_type", last.GetFailureType())
	}
	return submission
}

func failure(execution *flovynv1.WorkflowExecution, failureType, message string) *flovynv1.SubmitWorkflowCommandsRequest {
	return &flovynv1.SubmitWorkflowCommandsRequest{
		WorkflowExecutionId: execution.GetId(), Status: flovynv1.WorkflowStatus_FAILED,
		Commands: []*flovynv1.WorkflowCommand{failWorkflow(failureType, message, "")},
	}
}

func (w *Worker) submit(ctx context.Context, submission *flovynv1.SubmitWorkflowCommandsRequest) error {
	return w.deliver(ctx, func(ctx context.Context) error {
		_, err := w.client.Workflows.SubmitWorkflowCommands(ctx, submission)
		return err
	})
}

// deliver makes a call until the server has answered it, or ctx ends. A call
// whose answer was lost is made twice; the server drops the second one. Giving up
// earlier would leave the work with a worker that has forgotten it.
func (w *Worker) deliver(ctx context.Context, call func(context.Context) error) error {
	for failures := 1; ; failures++ {
		one, cancel := context.WithTimeout(ctx, callTimeout)
		err := call(one)
		cancel()
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		w.link.lost(ctx, err)
		pause(ctx, backoff(failures))
	}
}

// final reports whether the same call would end the same way again.
func final(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeResourceExhausted, connect.CodeOutOfRange, connect.CodeUnimplemented:
		return true
	case connect.CodeInternal: // a message that cannot be encoded never left
		return errors.Is(err, proto.Error)
	default:
		return gone(err)
	}
}

// gone reports whether the work is no longer this worker's.
func gone(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeNotFound, connect.CodeFailedPrecondition, connect.CodeAlreadyExists:
		return true
	default:
		return unwelcome(err)
	}
}

// unwelcome reports whether the server turns the caller away.
func unwelcome(err error) bool {
	code := connect.CodeOf(err)
	return code == connect.CodeUnauthenticated || code == connect.CodePermissionDenied
}

// refused reports whether the work is this worker's still, but the server will
// never take this message: another one must tell how the work ended.
func refused(err error) bool { return final(err) && !gone(err) }

// backoff is how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	p := firstPause << min(failures-1, 10)
	p = min(p, lastPause)
	return p/2 + rand.N(p/2)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// link remembers whether the server answers, so that the log tells of a change
// once and not for every slot.
type link struct {
	logger *slog.Logger
	mu     sync.Mutex
	down   bool
}

func (l *link) lost(ctx context.Context, err error) { l.set(ctx, true, err) }

func (l *link) restored(ctx context.Context) { l.set(ctx, false, nil) }

func (l *link) set(ctx context.Context, down bool, err error) {
	l.mu.Lock()
	changed := l.down != down
	l.down = down
	l.mu.Unlock()
	switch {
	case changed && down:
		l.logger.WarnContext(ctx, "the server does not answer; trying again", "error", err)
	case changed:
		l.logger.InfoContext(ctx, "the server answers again")
	}
}
