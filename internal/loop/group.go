package loop

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Part is something that runs in the background: a Loop, a listener, a Group.
type Part interface {
	// Name is what errors and tests call the part.
	Name() string
	// Start returns at once, or says why the part cannot run. The part ends when
	// ctx ends or when it is stopped.
	Start(ctx context.Context) error
	// Started is closed when the part runs.
	Started() <-chan struct{}
	// Stop returns when nothing of the part runs any more.
	Stop()
}

var _, _ Part = (*Loop)(nil), (*Group)(nil)

// Group is a list of parts in which each may rely on those before it: they are
// started in order and stopped in reverse.
type Group struct {
	name  string
	parts []Part

	mu      sync.Mutex // held while starting or stopping
	running []Part
	cancel  context.CancelFunc

	startedMu sync.Mutex
	started   chan struct{}
}

// NewGroup makes a group of the parts, in the order they are to be started.
func NewGroup(name string, parts ...Part) *Group {
	return &Group{name: name, parts: slices.Clone(parts), started: make(chan struct{})}
}

// Name returns the name given to NewGroup.
func (g *Group) Name() string { return g.name }

// Parts returns the parts in order, so that a test can assert that none is missing.
func (g *Group) Parts() []Part { return slices.Clone(g.parts) }

// Start starts the parts, each when the one before it runs. If one cannot start,
// those before it are stopped.
//
// The end of ctx stops the group as Stop does, in reverse order: the parts
// themselves do not see it, or all of them would stop at once.
func (g *Group) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil {
		return fmt.Errorf("group %s is running already", g.name)
	}
	for _, p := range g.parts {
		if err := g.startPart(ctx, p); err != nil {
			g.stopAll()
			return fmt.Errorf("starting %s: %w", p.Name(), err)
		}
	}
	stop := context.AfterFunc(ctx, g.Stop)
	g.cancel = func() { stop() }
	close(g.started)
	return nil
}

func (g *Group) startPart(ctx context.Context, p Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	g.running = append(g.running, p)
	select {
	case <-p.Started():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Started returns a channel that is closed when all parts run.
func (g *Group) Started() <-chan struct{} {
	g.startedMu.Lock()
	defer g.startedMu.Unlock()
	return g.started
}

// Stop stops the parts, the last one first, and returns when all have stopped.
func (g *Group) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel == nil {
		return
	}
	g.cancel()
	g.cancel = nil
	g.stopAll()
	g.startedMu.Lock()
	defer g.startedMu.Unlock()
	g.started = make(chan struct{})
}

func (g *Group) stopAll() {
	for _, p := range slices.Backward(g.running) {
		p.Stop()
	}
	g.running = nil
}
