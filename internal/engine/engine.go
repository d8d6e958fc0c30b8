// Package engine is what can be done with workflow executions. Every use-case
// is one step of the store: it decides on locked rows, with the rules of
// package history, and everything it causes commits with it.
//
// # Runnable work
//
// An execution that becomes runnable is handed to a waiting poller within the
// same commit when there is one (MakeRunnable): it is written as RUNNING, and
// the poller is answered once the commit is there. Otherwise it is listed in
// the backlog, and pollers and other servers are woken after the commit.
//
// # Lost wake-ups
//
// Whatever happens to an execution from outside goes through Tell: waiting, it
// becomes runnable; held by a worker, the news is noted, and the submission
// that would suspend it makes it runnable again. An activation that a worker
// never submits is taken back after a time (Reclaim); because that worker may
// yet submit on an older view, the next activation counts as having news. And when
// such a worker does submit in the place of a later one, it is the later one's
// submission, now stale, that makes the waiting execution runnable once more.
//
// # Poison
//
// An execution whose activations are lost several times in a row is parked: it
// stays PENDING and is listed nowhere, so that it takes no worker with it any
// more and holds up nobody. What happens to it is still told to its history. It
// runs again when it is released.
package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/live"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/quota"
	"github.com/flovyn/flovyn-server/internal/trace"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// Config says how the engine behaves.
type Config struct {
	Store *postgres.Store
	// Publish tells other servers that the backlog of a queue grew.
	Publish func(class flovyn.Class, key wake.Key)
	// Say passes on what tasks say while they run, to whoever watches.
	Say func(*live.Frame)
	// TimerSet is called after a commit that set a timer due after the given
	// time, so that whoever fires timers looks again in time.
	TimerSet func(in time.Duration)
	// Limits bounds what workflows, tasks and polls may take up.
	Limits
	// Tracer takes the spans of what is over. Default: none are sent.
	Tracer *trace.Tracer
	Logger *slog.Logger
}

// Engine runs workflow executions. Methods are safe for concurrent use.
type Engine struct {
	store *postgres.Store
	cfg   Config
	log   *slog.Logger
	// The pollers that wait for activations and for tasks.
	workflows *wake.Board[flovyn.Activation]
	tasks     *wake.Board[flovyn.Assignment]
	polls     *quota.Gauge[flovyn.OrgID]
	// refusals remembers why the last submission of an execution was refused.
	refusals *lru.Cache[refusalKey, string]
	later    sync.WaitGroup
}

// afterwardsTimeout bounds what is done after a request was answered.
const afterwardsTimeout = 30 * time.Second

// New makes an engine. Close ends it.
func New(cfg Config) *Engine {
	cfg.Limits = cfg.orDefault()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = trace.Off()
	}
	if cfg.Say == nil {
		cfg.Say = func(*live.Frame) {}
	}
	if cfg.Publish == nil {
		cfg.Publish = func(flovyn.Class, wake.Key) {}
	}
	if cfg.TimerSet == nil {
		cfg.TimerSet = func(time.Duration) {}
	}
	e := &Engine{
		store: cfg.Store, cfg: cfg, log: cfg.Logger, polls: quota.NewGauge[flovyn.OrgID](cfg.MaxPollers), refusals: newRefusals(),
	}
	e.workflows = wake.NewBoard(wake.Source[flovyn.Activation]{
		Claim: e.claim, Return: e.Return, Worker: func(a flovyn.Activation) string { return a.Execution.WorkerID },
	}, cfg.Logger)
	e.tasks = wake.NewBoard(wake.Source[flovyn.Assignment]{
		Claim: e.claimTasks, Return: e.ReturnTask, Worker: func(a flovyn.Assignment) string { return a.Task.WorkerID },
	}, cfg.Logger)
	return e
}

// Say passes on what a task says while it runs.
func (e *Engine) Say(f *live.Frame) { e.cfg.Say(f) }

// Tracer takes the spans of what is over.
func (e *Engine) Tracer() *trace.Tracer { return e.cfg.Tracer }

// ClosePolls sends all pollers away empty-handed. Polls that come later return
// at once.
func (e *Engine) ClosePolls() {
	e.workflows.Close()
	e.tasks.Close()
}

// Close waits for what is still being done. ClosePolls comes first.
func (e *Engine) Close() {
	e.workflows.Drain()
	e.tasks.Drain()
	e.later.Wait()
}

// Wake says that the backlog of a queue grew on another server.
func (e *Engine) Wake(class flovyn.Class, key wake.Key) {
	switch class {
	case flovyn.ClassWorkflow:
		e.workflows.Wake(key)
	case flovyn.ClassTask:
		e.tasks.Wake(key)
	case flovyn.ClassAgent: // agents are not dispatched yet
	}
}

// WakeAll says that hints from other servers may have been missed.
func (e *Engine) WakeAll() {
	e.workflows.WakeAll()
	e.tasks.WakeAll()
}

// afterwards does something on its own time, which Close waits for.
func (e *Engine) afterwards(what string, do func(ctx context.Context) error) {
	e.later.Go(func() {
		//nolint:forbidigo // the request that caused this has been answered
		ctx, cancel := context.WithTimeout(context.Background(), afterwardsTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			e.log.Warn("an afterthought failed", "what", what, "error", err)
		}
	})
}
