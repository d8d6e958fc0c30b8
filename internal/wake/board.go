// Package wake brings work and waiting pollers together.
//
// A Board holds, for each (organization, queue), the pollers that wait. When a
// commit makes work runnable, the engine reserves a waiting poller before the
// commit and delivers to it afterwards: the work never touches the backlog
// table. Work that finds no poller is listed in the table, and a pump claims it
// from there as soon as pollers come.
//
// The board knows which queues it has drained, for which kinds of work, so that
// an idle poller costs no query however often it comes back. What it knows is
// forgotten when something is listed (Wake): by this server, by another one
// (through the Bus), or found by the sweep that stands behind both. The table
// is the truth, the board a hint.
package wake

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Key names a queue of an organization.
type Key struct {
	Org   flovyn.OrgID
	Queue string
}

// Poller is who waits for work.
type Poller struct {
	// Worker is the name or id that the worker gave.
	Worker string
	// Kinds restricts the work; nil accepts every kind, an empty list none.
	Kinds []string
}

func (p Poller) accepts(kind string) bool { return p.Kinds == nil || slices.Contains(p.Kinds, kind) }

// signature is equal for pollers that accept the same work.
func (p Poller) signature() string {
	if p.Kinds == nil {
		return "*"
	}
	return strings.Join(p.Kinds, "\x00")
}

// Source is where a board gets work from, and gives it back to.
type Source[T any] struct {
	// Claim takes up to len(workers) items off the backlog, one for each worker,
	// the first ones first. Fewer mean that there are no more.
	Claim func(ctx context.Context, key Key, kinds, workers []string) ([]T, error)
	// Worker says for which of the workers an item was claimed.
	Worker func(item T) string
	// Return undoes the claim of an item whose poller went away.
	Return func(ctx context.Context, item T)
}

const (
	// maxClaim bounds the items of one claim.
	maxClaim = 64
	// forgetAfter is when a queue without pollers is forgotten.
	forgetAfter = 10 * time.Minute
	// claimTimeout bounds one claim.
	claimTimeout = 15 * time.Second
	// closedHold is how long a closed board holds a poller. Whoever stops the
	// server waits for it.
	closedHold = 75 * time.Millisecond
	// claimPause is waited after a failed claim.
	claimPause = time.Second
)

// Board brings items of type T and pollers together. The zero value is not
// usable; see NewBoard.
type Board[T any] struct {
	source Source[T]
	log    *slog.Logger
	ctx    context.Context //nolint:containedctx // ends what waits at Close
	cancel context.CancelFunc

	mu sync.Mutex
	// busy counts what runs on the board's own time; quiet is when nothing does.
	// A wait group would not do: something may begin while somebody waits.
	busy   int
	quiet  *sync.Cond
	queues map[Key]*queue[T]
	closed bool
	swept  time.Time
}

type queue[T any] struct {
	waiting []*waiter[T]
	// drained holds the signatures for which the backlog is known to be empty.
	drained map[string]bool
	// wakes counts the calls of Wake, so that a pump notices one during its claim.
	wakes   uint64
	pumping bool
	used    time.Time
}

type waiterState uint8

const (
	waiting  waiterState = iota
	reserved             // off the list, an item may come
	served               // an item was handed over
	gone                 // the poller left
)

type waiter[T any] struct {
	poller Poller
	state  waiterState // guarded by the board, as is expired
	// expired tells that the hold was over while the poller was reserved: it
	// does not wait on.
	expired bool
	result  chan T // receives at most one item
	freed   chan struct{}
}

// NewBoard makes a board. Close ends it.
func NewBoard[T any](source Source[T], log *slog.Logger) *Board[T] {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Board[T]{source: source, log: log, ctx: ctx, cancel: cancel, queues: map[Key]*queue[T]{}}
	b.quiet = sync.NewCond(&b.mu)
	return b
}

// Close sends every poller away empty-handed and waits for claims under way.
// What they bring is given back.
func (b *Board[T]) Close() {
	b.mu.Lock()
	b.closed = true
	for _, q := range b.queues {
		for _, w := range q.waiting {
			w.state = gone
			close(w.freed)
		}
		q.waiting = nil
	}
	b.mu.Unlock()
	b.cancel()
	b.Drain()
}

// Drain waits until what is being claimed or given back is settled.
func (b *Board[T]) Drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.busy > 0 {
		b.quiet.Wait()
	}
}

// spawn does something on the board's own time, which Drain waits for. The lock
// is held.
func (b *Board[T]) spawn(do func()) {
	b.busy++
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.busy--; b.busy == 0 {
				b.quiet.Broadcast()
			}
		}()
		do()
	}()
}

func (b *Board[T]) queue(key Key) *queue[T] {
	now := time.Now()
	if now.Sub(b.swept) > forgetAfter/10 {
		b.swept = now
		for k, q := range b.queues {
			if len(q.waiting) == 0 && !q.pumping && now.Sub(q.used) > forgetAfter {
				delete(b.queues, k)
			}
		}
	}
	q, ok := b.queues[key]
	if !ok {
		q = &queue[T]{drained: map[string]bool{}}
		b.queues[key] = q
	}
	q.used = now
	return q
}

// Wait waits up to hold for an item. ok is false when none came; that is no
// error. When ctx ends, an item on its way is given back.
func (b *Board[T]) Wait(ctx context.Context, key Key, p Poller, hold time.Duration) (item T, ok bool) {
	if b.ctx.Err() != nil {
		refuse(ctx, hold)
		return item, false
	}
	if p.Kinds != nil && len(p.Kinds) == 0 {
		b.idle(ctx, hold)
		return item, false
	}
	w := &waiter[T]{poller: p, result: make(chan T, 1), freed: make(chan struct{})}
	if !b.enlist(key, w) {
		refuse(ctx, hold)
		return item, false
	}
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case item = <-w.result:
		return item, true
	case <-w.freed:
		return item, false
	case <-timer.C:
		if b.withdraw(key, w) {
			return item, false
		}
		// Reserved: what is on its way is waited for.
		select {
		case item = <-w.result:
			return item, true
		case <-w.freed:
			return item, false
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	b.leave(key, w)
	return item, false
}

// refuse holds a poller that came after Close for a moment: answered at once it
// would come back at once, for as long as the server drains.
func refuse(ctx context.Context, hold time.Duration) { sleep(ctx, min(hold, closedHold)) }

// idle holds a poller for which there can be no work.
func (b *Board[T]) idle(ctx context.Context, hold time.Duration) {
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
}

func (b *Board[T]) enlist(key Key, w *waiter[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	q := b.queue(key)
	q.waiting = append(q.waiting, w)
	if !q.drained[w.poller.signature()] {
		b.pump(key, q)
	}
	return true
}

// withdraw takes a waiting poller off the list; it is false when the poller is
// reserved.
func (b *Board[T]) withdraw(key Key, w *waiter[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.state != waiting {
		w.expired = true
		return false
	}
	w.state = gone
	q := b.queue(key)
	q.waiting = slices.DeleteFunc(q.waiting, func(other *waiter[T]) bool { return other == w })
	return true
}

// leave is the end of a poller whose caller went away.
func (b *Board[T]) leave(key Key, w *waiter[T]) {
	if b.withdraw(key, w) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.state = gone
	select {
	case item := <-w.result:
		b.giveBack(item)
	default:
	}
}

// giveBack undoes the claim of an item that reached nobody. The lock is held.
func (b *Board[T]) giveBack(item T) {
	b.spawn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), claimTimeout)
		defer cancel()
		b.source.Return(ctx, item)
	})
}

// requeue lets pollers wait on that were reserved and got nothing. A wake-up may
// have found none of them waiting, so that the backlog may have to be looked at.
func (b *Board[T]) requeue(key Key, ws []*waiter[T]) {
	q := b.queue(key)
	var back []*waiter[T]
	look := false
	for _, w := range ws {
		switch {
		case w.state != reserved:
		case b.closed || w.expired:
			w.state = gone
			close(w.freed)
		default:
			w.state = waiting
			back = append(back, w)
			look = look || !q.drained[w.poller.signature()]
		}
	}
	q.waiting = append(back, q.waiting...)
	if look {
		b.pump(key, q)
	}
}

// Wake says that the backlog of a queue may have grown.
func (b *Board[T]) Wake(key Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, ok := b.queues[key]
	if !ok || b.closed {
		return // whoever comes first will look
	}
	q.wakes++
	clear(q.drained)
	if len(q.waiting) > 0 {
		b.pump(key, q)
	}
}

// WakeAll says that the backlog of any queue may have grown, as after a time
// in which hints may have been missed.
func (b *Board[T]) WakeAll() {
	b.mu.Lock()
	keys := make([]Key, 0, len(b.queues))
	for key := range b.queues {
		keys = append(keys, key)
	}
	b.mu.Unlock()
	for _, key := range keys {
		b.Wake(key)
	}
}

// Waiting returns how many pollers wait.
func (b *Board[T]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, q := range b.queues {
		n += len(q.waiting)
	}
	return n
}

// Pollers returns how many pollers wait on each queue of an organization.
func (b *Board[T]) Pollers(org flovyn.OrgID) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for key, q := range b.queues {
		if key.Org == org && len(q.waiting) > 0 {
			counts[key.Queue] = len(q.waiting)
		}
	}
	return counts
}

// pump starts claiming for the waiting pollers of a queue. The lock is held.
func (b *Board[T]) pump(key Key, q *queue[T]) {
	if q.pumping {
		return
	}
	q.pumping = true
	b.spawn(func() {
		for b.claimOnce(key) {
		}
	})
}

// claimOnce claims for the first group of like pollers whose backlog is not
// known to be empty. It returns false when there is none left.
func (b *Board[T]) claimOnce(key Key) bool {
	group, wakes := b.takeGroup(key)
	if len(group) == 0 {
		return false
	}
	workers := make([]string, len(group))
	for i, w := range group {
		workers[i] = w.poller.Worker
	}
	// Close does not interrupt a claim: it might commit all the same, and what it
	// took would belong to nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), claimTimeout)
	defer cancel()
	items, err := b.source.Claim(ctx, key, group[0].poller.Kinds, workers)
	if err != nil && b.ctx.Err() == nil {
		b.log.Warn("claiming work failed", "queue", key.Queue, "error", err)
	}
	b.settle(key, group, items, err == nil && len(items) < len(group), wakes)
	if err != nil {
		b.idle(b.ctx, claimPause)
	}
	return true
}

// takeGroup reserves the pollers to claim for; the pump ends when there is none.
func (b *Board[T]) takeGroup(key Key) ([]*waiter[T], uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(key)
	var group []*waiter[T]
	var signature string
	rest := q.waiting[:0:0]
	for _, w := range q.waiting {
		s := w.poller.signature()
		if !b.closed && !q.drained[s] && len(group) < maxClaim && (len(group) == 0 || s == signature) {
			signature, w.state = s, reserved
			group = append(group, w)
			continue
		}
		rest = append(rest, w)
	}
	q.waiting = rest
	q.pumping = len(group) > 0
	return group, q.wakes
}

// settle delivers what was claimed and lets the others wait on.
func (b *Board[T]) settle(key Key, group []*waiter[T], items []T, drained bool, wakes uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(key)
	for _, item := range items {
		worker := b.source.Worker(item)
		i := slices.IndexFunc(group, func(w *waiter[T]) bool { return w.state == reserved && w.poller.Worker == worker })
		if i < 0 {
			b.giveBack(item)
			continue
		}
		group[i].state = served
		group[i].result <- item
	}
	if drained && q.wakes == wakes {
		q.drained[group[0].poller.signature()] = true
	}
	b.requeue(key, group)
}
