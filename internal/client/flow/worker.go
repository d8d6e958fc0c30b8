package flow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Options configure a worker.
type Options struct {
	// Org is the organization's UUID.
	Org string
	// Name identifies the worker in the organization, across restarts; host name
	// and process id when empty.
	Name string
	// Queue is where the worker looks for work; flovyn.DefaultQueue when empty.
	Queue string
	// MaxWorkflows and MaxTasks limit how much runs at the same time, 16 and 32
	// when zero. Every free slot has a poll of its own outstanding.
	MaxWorkflows, MaxTasks int
	// PollTimeout is how long the server may hold a poll, a minute when zero.
	// The server holds polls of a minute and more until there is work.
	PollTimeout time.Duration
	// HeartbeatInterval is how often the worker tells that it and its tasks are
	// alive, 30 seconds when zero.
	HeartbeatInterval time.Duration
	// GracePeriod is how long running work may go on after Run's context ended,
	// 30 seconds when zero. Then the contexts of the tasks end too.
	GracePeriod time.Duration
	// Logger takes what nobody is returned; slog.DiscardHandler when nil.
	Logger *slog.Logger
}

// Worker runs the workflows and tasks that were registered with it.
type Worker struct {
	client    *client.Client
	opts      Options
	logger    *slog.Logger
	workflows map[string]WorkflowFunc
	tasks     map[string]TaskFunc
	// mistake is the first thing wrong with a registration.
	mistake error

	id      atomic.Pointer[string] // given by the server
	link    link
	running runningTasks
}

// NewWorker makes a worker. Register what it can do, then call Run.
func NewWorker(c *client.Client, opts Options) (*Worker, error) {
	if _, err := uuid.Parse(opts.Org); err != nil {
		return nil, fmt.Errorf("the worker's organization: %w", err)
	}
	if opts.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("naming the worker: %w", err)
		}
		opts.Name = host + "-" + strconv.Itoa(os.Getpid())
	}
	opts.Queue = cmp.Or(opts.Queue, flovyn.DefaultQueue)
	opts.MaxWorkflows = cmp.Or(opts.MaxWorkflows, 16)
	opts.MaxTasks = cmp.Or(opts.MaxTasks, 32)
	opts.PollTimeout = cmp.Or(opts.PollTimeout, time.Minute)
	opts.HeartbeatInterval = cmp.Or(opts.HeartbeatInterval, 30*time.Second)
	opts.GracePeriod = cmp.Or(opts.GracePeriod, 30*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	logger := opts.Logger.With("worker", opts.Name, "queue", opts.Queue)
	return &Worker{
		client: c, opts: opts, logger: logger, link: link{logger: logger},
		workflows: map[string]WorkflowFunc{}, tasks: map[string]TaskFunc{},
	}, nil
}

// RegisterWorkflow says which function runs the workflows of a kind.
func (w *Worker) RegisterWorkflow(kind string, fn WorkflowFunc) {
	if _, twice := w.workflows[kind]; twice || kind == "" || fn == nil {
		w.mistake = cmp.Or(w.mistake, fmt.Errorf("workflow %q is registered twice, or without a name or a function", kind))
	}
	w.workflows[kind] = fn
}

// RegisterTask says which function runs the tasks of a kind.
func (w *Worker) RegisterTask(kind string, fn TaskFunc) {
	if _, twice := w.tasks[kind]; twice || kind == "" || fn == nil {
		w.mistake = cmp.Or(w.mistake, fmt.Errorf("task %q is registered twice, or without a name or a function", kind))
	}
	w.tasks[kind] = fn
}

// Run works until ctx ends, then takes nothing new, finishes what runs, and
// returns nil. A server that is away is waited for. If the server does not accept
// the worker, or accepts it no longer, Run ends in the same way and says why.
func (w *Worker) Run(ctx context.Context) error {
	if w.mistake != nil {
		return w.mistake
	}
	if err := w.register(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("registering worker %s: %w", w.opts.Name, err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var slots, attendant sync.WaitGroup
	if len(w.workflows) > 0 {
		for range w.opts.MaxWorkflows {
			slots.Go(func() { w.serve(ctx, work, giveUp, w.takeWorkflow) })
		}
	}
	if len(w.tasks) > 0 {
		for range w.opts.MaxTasks {
			slots.Go(func() { w.serve(ctx, work, giveUp, w.takeTask) })
		}
	}
	idle := make(chan struct{})
	attendant.Go(func() { w.attend(ctx, work, cancel, idle) })
	slots.Wait()
	close(idle)
	attendant.Wait()
	if rejected, ok := errors.AsType[*rejection](context.Cause(ctx)); ok {
		return rejected
	}
	return nil
}

// rejection is why a worker gave up by itself.
type rejection struct{ cause error }

func (r *rejection) Error() string { return "the server turns the worker away: " + r.cause.Error() }

func (r *rejection) Unwrap() error { return r.cause }

// register makes the worker and what it can do known, for as long as it takes.
func (w *Worker) register(ctx context.Context) error {
	req := w.registration()
	return w.deliver(ctx, func(ctx context.Context) error {
		resp, err := w.client.Workers.RegisterWorker(ctx, req)
		if err != nil {
			return err
		}
		if !resp.GetSuccess() {
			return connect.NewError(connect.CodeInvalidArgument, resp.GetError())
		}
		w.id.Store(&resp.WorkerId)
		return nil
	})
}

func (w *Worker) registration() *flovynv1.WorkerRegistrationRequest {
	host, _ := os.Hostname() // shown to people, who can do without
	req := &flovynv1.WorkerRegistrationRequest{
		WorkerName: w.opts.Name, WorkerVersion: "1.0.0", WorkerType: "UNIFIED", OrgId: w.opts.Org,
		HostName: host, ProcessId: strconv.Itoa(os.Getpid()),
	}
	for kind := range w.workflows {
		const version = "1.0.0"
		hash := sha256.Sum256([]byte(kind + ":" + version))
		req.Workflows = append(req.Workflows, &flovynv1.WorkflowCapability{
			Kind: kind, Name: kind, Version: version, ContentHash: hex.EncodeToString(hash[:]),
		})
	}
	for kind := range w.tasks {
		req.Tasks = append(req.Tasks, &flovynv1.TaskCapability{Kind: kind, Name: kind})
	}
	return req
}

// attend sends heartbeats until every slot is idle for good, and ends the work's
// context when its grace is over.
func (w *Worker) attend(ctx, work context.Context, cancel context.CancelFunc, idle <-chan struct{}) {
	ticker := time.NewTicker(w.opts.HeartbeatInterval)
	defer ticker.Stop()
	stopped := ctx.Done()
	var graceOver <-chan time.Time
	for {
		select {
		case <-idle:
			return
		case <-stopped:
			stopped, graceOver = nil, time.After(w.opts.GracePeriod)
		case <-graceOver:
			graceOver = nil
			cancel()
		case <-ticker.C:
			w.heartbeat(work)
		}
	}
}

// heartbeat tells the server that the worker and its tasks are alive, and ends
// the tasks that the server has given up.
func (w *Worker) heartbeat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := w.client.Workers.SendHeartbeat(ctx, &flovynv1.WorkerHeartbeatRequest{WorkerId: *w.id.Load()})
	if connect.CodeOf(err) == connect.CodeNotFound { // the server has lost its memory of us
		err = w.register(ctx)
	}
	if err != nil {
		w.logger.WarnContext(ctx, "heartbeat failed", "error", err)
		return
	}
	for id, stop := range w.running.all() {
		_, err := w.client.Tasks.Heartbeat(ctx, &flovynv1.HeartbeatRequest{TaskExecutionId: id})
		if err != nil && gone(err) {
			stop(errors.Join(ErrTaskGone, err))
		}
	}
}
