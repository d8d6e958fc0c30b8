package wake

import "slices"

// Slot is a reserved poller. Exactly one of Deliver and Release must be called.
type Slot[T any] struct {
	// Worker is who will receive the item.
	Worker string
	board  *Board[T]
	key    Key
	w      *waiter[T]
}

// Reserve picks the poller that has waited longest for work of the kind. ok is
// false when nobody waits, or when older work may be in the backlog: it comes
// first.
func (b *Board[T]) Reserve(key Key, kind string) (slot Slot[T], ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, known := b.queues[key]
	if !known || b.closed {
		return slot, false
	}
	for i, w := range q.waiting {
		if w.poller.accepts(kind) && q.drained[w.poller.signature()] {
			q.waiting = slices.Delete(q.waiting, i, i+1)
			w.state = reserved
			return Slot[T]{Worker: w.poller.Worker, board: b, key: key, w: w}, true
		}
	}
	return slot, false
}

// Deliver hands the item over. If the poller has gone, the item is given back.
func (s Slot[T]) Deliver(item T) {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if s.w.state == gone {
		s.board.giveBack(item)
		return
	}
	s.w.state = served
	s.w.result <- item
}

// Release lets the poller wait on, first in line.
func (s Slot[T]) Release() {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	s.board.requeue(s.key, []*waiter[T]{s.w})
}
