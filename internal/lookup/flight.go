package lookup

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrClosed is the answer to a question that comes after Close.
var ErrClosed = errors.New("no more questions are asked")

// Flights lets those who ask the same question at the same time share one
// answer. Asking is detached from whoever asked first: that one may go away
// while others wait. The zero value is ready for use.
type Flights[V any] struct {
	mu     sync.Mutex
	under  map[string]*flight[V]
	closed bool
	work   sync.WaitGroup
}

// flight is a question under way. value and err are set before done is closed.
type flight[V any] struct {
	cancel context.CancelFunc
	done   chan struct{}
	value  V
	err    error
}

// Do returns what ask answers, or what it is answering already for the same key.
// ask gets a context with the values of ctx that ends after limit, or at Close.
// When ctx ends first, its error is returned and ask goes on.
func (f *Flights[V]) Do(ctx context.Context, key string, limit time.Duration, ask func(context.Context) (V, error)) (V, error) {
	var zero V
	joined, err := f.join(ctx, key, limit, ask)
	if err != nil {
		return zero, err
	}
	select {
	case <-joined.done:
		return joined.value, joined.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

func (f *Flights[V]) join(ctx context.Context, key string, limit time.Duration, ask func(context.Context) (V, error)) (*flight[V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if joined, ok := f.under[key]; ok {
		return joined, nil
	}
	if f.closed {
		return nil, ErrClosed
	}
	// Whoever asks first may go away while others wait for the answer.
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	begun := &flight[V]{cancel: cancel, done: make(chan struct{})}
	if f.under == nil {
		f.under = map[string]*flight[V]{}
	}
	f.under[key] = begun
	f.work.Go(func() {
		defer cancel()
		begun.value, begun.err = ask(detached)
		f.mu.Lock()
		delete(f.under, key)
		f.mu.Unlock()
		close(begun.done)
	})
	return begun, nil
}

// Close ends what is under way and returns when nothing is.
func (f *Flights[V]) Close() {
	f.mu.Lock()
	f.closed = true
	for _, begun := range f.under {
		begun.cancel()
	}
	f.mu.Unlock()
	f.work.Wait()
}
