package flow

import (
	"encoding/json"
	"fmt"
	"strings"
)

type futureKind byte

const (
	taskFuture futureKind = iota
	timerFuture
	promiseFuture
	childFuture
	signalFuture
)

var futureKindNames = [...]string{"task", "timer", "promise", "child workflow", "signal"}

func (k futureKind) String() string { return futureKindNames[k] }

// Future is something that a workflow has asked for and may wait for. It is only
// good within the activation that made it.
type Future struct {
	ctx  *Context
	kind futureKind
	name string
	id   string
	// settled is nil while the history has no end for it.
	settled   *settlement
	cancelled bool
	// broken is a mistake in asking, reported instead of a value.
	broken error
}

// ID is the identifier of the task, timer, promise or child. A promise has none
// before the activation after the one that created it.
func (f *Future) ID() string { return f.id }

func (f *Future) what() string { return f.kind.String() + " " + f.name }

// Get waits for the future and decodes its value into the given pointer, or drops
// it when that is nil. The error is a *Failure when there is no value.
func (f *Future) Get(into any) error {
	f.ctx.mustRun()
	if f.broken != nil {
		return f.broken
	}
	if f.settled == nil {
		f.ctx.suspend("waiting for " + f.what())
	}
	if f.settled.reason != "" {
		return &Failure{Reason: f.settled.reason, What: f.what(), Message: f.settled.message}
	}
	if into == nil || len(f.settled.value) == 0 {
		return nil
	}
	if err := json.Unmarshal(f.settled.value, into); err != nil {
		return fmt.Errorf("decoding the value of %s: %w", f.what(), err)
	}
	return nil
}

// Cancel gives the future up: from here on it fails with Cancelled, whatever
// happens. A timer that has not fired is withdrawn, a child is asked to stop; a
// task, a promise or a signal goes on without anybody waiting for it.
func (f *Future) Cancel() {
	f.ctx.mustRun()
	if f.broken != nil || f.cancelled {
		return
	}
	f.cancelled = true
	switch {
	case f.kind == timerFuture && f.settled == nil:
		f.ctx.command(cancelTimer(f.id))
	case f.kind == childFuture: // ended or not: what is recorded must not depend on it
		f.ctx.once("cancel child "+f.name, cancelChild(f.name, f.id))
	}
	f.settled = &settlement{reason: Cancelled}
}

// Result waits for the future and returns its value as a T.
func Result[T any](f *Future) (T, error) {
	var value T
	err := f.Get(&value)
	return value, err
}

// All waits until every future has a value, or one of them fails. Which failure
// is reported does not depend on how late the workflow looks: it is the first.
func All(futures ...*Future) error {
	var first *Future
	var open []string
	for _, f := range futures {
		f.ctx.mustRun()
		switch {
		case f.broken != nil:
			return f.broken
		case f.settled == nil:
			open = append(open, f.what())
		case f.settled.reason != "" && (first == nil || f.settled.seq < first.settled.seq):
			first = f
		}
	}
	if first != nil {
		return first.Get(nil)
	}
	if len(open) > 0 {
		futures[0].ctx.suspend("waiting for " + strings.Join(open, ", "))
	}
	return nil
}

// Any waits until one of the futures is settled, with a value or not, and returns
// the one that was settled first. Without futures it returns nil.
func Any(futures ...*Future) *Future {
	if len(futures) == 0 {
		return nil
	}
	var first *Future
	names := make([]string, len(futures))
	for i, f := range futures {
		f.ctx.mustRun()
		names[i] = f.what()
		switch {
		case f.broken != nil:
			return f
		case f.settled != nil && (first == nil || f.settled.seq < first.settled.seq):
			first = f
		}
	}
	if first == nil {
		futures[0].ctx.suspend("waiting for any of " + strings.Join(names, ", "))
	}
	return first
}
