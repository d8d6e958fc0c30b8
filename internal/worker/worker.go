// Package worker knows the workers: what they registered, when they were last
// seen, and how long their polls may be held.
//
// # Routing
//
// A poll names a worker by its id or its name. Work is routed by what that
// worker registered; a worker that never registered may take anything.
//
// # Holding polls
//
// A held poll is cheap for the server, but a worker with a single thread is
// frozen for as long as it is held. So a poll is held long only for a worker
// that asks for a minute or more, or that has been seen to have several polls
// under way on one connection, of whatever class; every other is answered after
// a moment, which still spares a spinning worker. Work that appears ends every
// hold at once.
//
// Behind a proxy a connection proves nothing: it may carry the polls of several
// single-threaded processes of one name. A call that a proxy has marked as
// forwarded therefore comes from no known connection, and never counts. A proxy
// that shares connections and leaves no mark can freeze such processes, for 5 s
// at most; one that forwards whole connections does no harm.
//
// # Processes
//
// Processes may share a name, as replicas do and as the old and the new do while
// they are replaced; a worker can execute what any of them registered. A poll
// does not say of which process it is, and a process that ends says nothing. So
// it is when a process registers that others of its name are forgotten: those of
// its host that registered more than 5 minutes ago, for it probably replaces
// them, and those of other hosts after 24 hours; never one that polls this server
// over the connection over which it registered. Replicas on one host that differ
// in what they execute, and reconnect, should have names of their own.
//
// # Liveness
//
// Any poll, heartbeat or registration is a sign of life. It is kept in memory
// and written for registered workers from time to time, so that other servers
// know. Of a worker that never registered only the server that it polls knows:
// where several servers share a database, another one takes its task for lost
// unless the task itself sends heartbeats. Workers of such an installation
// should register, as SDKs do.
package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/wake"
)

const (
	// patientTimeout is what a worker asks for that can be held for long.
	patientTimeout = 60 * time.Second
	// sharedHold bounds the hold of a worker that overlaps its polls but asks
	// for less: stopping it may have to wait for its last poll.
	sharedHold = 5 * time.Second
	// briefHold is the hold for all others.
	briefHold = 75 * time.Millisecond
	// keepProcesses is how long a process of a worker is believed to live after
	// it registered, and keepOnHost when it is another of its host that registers.
	keepProcesses = 24 * time.Hour
	keepOnHost    = 5 * time.Minute
	// heard is how long after its last poll a connection counts as open.
	heard = time.Minute
	// remember is how long what was read of a worker is used. A registration
	// elsewhere is announced by a hint; this bounds what a lost one costs.
	remember = 10 * time.Minute
	// forget is when a worker or connection that is silent is forgotten.
	forget = 10 * time.Minute
)

// Config says how the registry behaves.
type Config struct {
	Store *postgres.Store
	// MaxHold bounds how long a poll is held. Default 60 s.
	MaxHold time.Duration
	// Publish tells other servers that a worker registered.
	Publish func(org flovyn.OrgID)
	Logger  *slog.Logger
}

// Registry knows the workers. Methods are safe for concurrent use.
type Registry struct {
	cfg Config

	mu      sync.Mutex
	workers map[workerKey]*known
	peers   map[peerKey]*peer
	// processes are the connections over which processes registered.
	processes map[processKey]registered
	swept     time.Time
	// forgets counts the calls of Forget, so that what was read before one is not
	// remembered after it.
	forgets uint64
}

type workerKey struct {
	org  flovyn.OrgID
	name string
}

type peerKey struct {
	workerKey
	address string
}

// known is what is known of a worker, by one of its names.
type known struct {
	id         flovyn.WorkerID // zero when it never registered
	kinds      map[flovyn.Class][]string
	readAt     time.Time
	seenAt     time.Time
	writtenAt  time.Time
	registered bool
}

// peer is one connection over which a worker polls.
type peer struct {
	polls    int
	overlaps bool
	usedAt   time.Time
}

type processKey struct {
	workerKey
	process string
}

// registered is how a process registered.
type registered struct {
	address string
	at      time.Time
}

// New makes a registry.
func New(cfg Config) *Registry {
	if cfg.MaxHold == 0 {
		cfg.MaxHold = time.Minute
	}
	if cfg.Publish == nil {
		cfg.Publish = func(flovyn.OrgID) {}
	}
	return &Registry{cfg: cfg, workers: map[workerKey]*known{}, peers: map[peerKey]*peer{}, processes: map[processKey]registered{}}
}

// Register creates or updates a worker and returns its stable id. peer is the
// address of the connection, as in a PollRequest.
func (r *Registry) Register(ctx context.Context, reg *flovyn.Registration, peer string) (flovyn.WorkerID, error) {
	if err := checkRegistration(reg); err != nil {
		return flovyn.WorkerID{}, err
	}
	id, err := r.cfg.Store.RegisterWorker(ctx, reg, postgres.Believed{
		OnHost: keepOnHost, Elsewhere: keepProcesses, Living: r.living(workerKey{reg.Org, reg.Name}),
	})
	if err != nil {
		return id, err
	}
	r.noteProcess(processKey{workerKey{reg.Org, reg.Name}, postgres.Process(reg)}, peer)
	r.Forget(reg.Org)
	r.cfg.Publish(reg.Org)
	return id, nil
}

func checkRegistration(reg *flovyn.Registration) error {
	if err := engine.CheckName("worker_name", reg.Name, true); err != nil {
		return err
	}
	for _, c := range reg.Capabilities {
		if err := engine.CheckName(string(c.Class)+".kind", c.Kind, true); err != nil {
			return err
		}
	}
	return nil
}

// Forget drops what was read of an organization's workers.
func (r *Registry) Forget(org flovyn.OrgID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
	for key, k := range r.workers {
		if key.org == org {
			k.readAt = time.Time{}
		}
	}
}

// ForgetAll drops what was read of all workers, as after a time in which hints
// may have been missed.
func (r *Registry) ForgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
	for _, k := range r.workers {
		k.readAt = time.Time{}
	}
}

// Heartbeat notes a sign of life; an unknown worker is NotFound.
func (r *Registry) Heartbeat(ctx context.Context, org flovyn.OrgID, id flovyn.WorkerID) error {
	k, err := r.lookUp(ctx, org, id.String())
	if err != nil {
		return err
	}
	if !k.registered {
		return fault.New(fault.NotFound, "worker %s not found", id)
	}
	return nil
}

// LocateWorker returns the organization of a worker. Only callers that no
// organization binds may use it: while authentication is switched off.
func (r *Registry) LocateWorker(ctx context.Context, id flovyn.WorkerID) (flovyn.OrgID, error) {
	return r.cfg.Store.OrgOfWorker(ctx, id)
}

// PollRequest is a poll as it arrives.
type PollRequest struct {
	Org flovyn.OrgID
	// Worker is a worker's id or name.
	Worker string
	// Peer is the remote address of the worker's connection, empty when a proxy
	// stands between.
	Peer  string
	Class flovyn.Class
	// Timeout is how long the worker is willing to wait.
	Timeout time.Duration
	// Kinds is what the poll itself restricts the work to; usually empty.
	Kinds []string
}

// Poll says what a poll may receive and how long it is held.
type Poll struct {
	Poller wake.Poller
	Hold   time.Duration
}

// BeginPoll notes that a worker polls. end must be called when the poll returns.
func (r *Registry) BeginPoll(ctx context.Context, req PollRequest) (Poll, func(), error) {
	if err := engine.CheckName("worker_id", req.Worker, false); err != nil {
		return Poll{}, nil, err
	}
	k, err := r.lookUp(ctx, req.Org, req.Worker)
	if err != nil {
		return Poll{}, nil, err
	}
	poll := Poll{Poller: wake.Poller{Worker: req.Worker, Kinds: kindsFor(k, req)}}
	overlaps, end := r.enter(peerKey{workerKey{req.Org, req.Worker}, req.Peer})
	poll.Hold = r.hold(req.Timeout, overlaps)
	return poll, end, nil
}

// kindsFor is what the poll names, else what its worker registered; nil for a
// worker that never did.
func kindsFor(k *known, req PollRequest) []string {
	if len(req.Kinds) > 0 {
		return req.Kinds
	}
	if !k.registered {
		return nil
	}
	if kinds := k.kinds[req.Class]; kinds != nil {
		return kinds
	}
	return []string{}
}

// lookUp notes a sign of life and returns what is known of a worker.
func (r *Registry) lookUp(ctx context.Context, org flovyn.OrgID, name string) (*known, error) {
	key := workerKey{org, name}
	now := time.Now()
	r.mu.Lock()
	if k, ok := r.workers[key]; ok {
		k.seenAt = now
		if now.Sub(k.readAt) < remember {
			found := *k
			r.mu.Unlock()
			return &found, nil
		}
	}
	forgets := r.forgets
	r.mu.Unlock()
	fresh, err := r.read(ctx, org, name)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.workers[key]; ok {
		fresh.writtenAt = before.writtenAt
	}
	if r.forgets != forgets {
		fresh.readAt = time.Time{}
	}
	r.workers[key] = fresh
	found := *fresh
	return &found, nil
}

func (r *Registry) read(ctx context.Context, org flovyn.OrgID, name string) (*known, error) {
	k := &known{readAt: time.Now(), seenAt: time.Now()}
	w, err := r.cfg.Store.FindWorker(ctx, org, name)
	switch {
	case fault.Is(err, fault.NotFound):
		return k, nil
	case err != nil:
		return nil, err
	}
	k.id, k.kinds, k.registered = w.ID, w.Kinds, true
	return k, nil
}
