package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// shutdown is how a server ends, in the order of rising force.
type shutdown uint8

const (
	// fast ends the sessions and writes everything out.
	fast shutdown = iota
	// immediate ends all processes at once; the next start recovers from the log.
	immediate
	// kill ends the postmaster without a word.
	kill
)

// Stop ends all sessions, shuts the server down and returns when no process of
// it is left. If ctx ends first, the server is stopped immediately, and killed if
// that does not help; committed data is safe in each case. Stopping a stopped
// server does nothing.
func (s *Server) Stop(ctx context.Context) error { return s.stop(ctx, fast) }

// StopImmediate stops the server without writing anything out, as an operator
// does in an emergency; the next start recovers.
func (s *Server) StopImmediate(ctx context.Context) error { return s.stop(ctx, immediate) }

// Kill kills the postmaster, as the kernel does when memory runs out. It returns
// when the other processes have noticed and gone.
func (s *Server) Kill(ctx context.Context) error { return s.stop(ctx, kill) }

func (s *Server) stop(ctx context.Context, how shutdown) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	if err := s.terminate(ctx, s.proc, how); err != nil {
		return fmt.Errorf("stopping PostgreSQL in %s: %w", s.dir, err)
	}
	return s.finish(s.proc)
}

// terminate ends the postmaster, with rising force. The caller's patience counts
// for the first attempt only: the end of ctx must not leave a process behind.
func (s *Server) terminate(ctx context.Context, p *process, how shutdown) error {
	for ; how <= kill; how++ {
		if err := s.signal(p, how); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("asking it to stop: %w", err)
		}
		select {
		case <-p.exited:
			return nil
		case <-patience(ctx, how):
		}
	}
	return errors.New("it does not even end when killed")
}

// patience is how long to wait before using more force.
func patience(ctx context.Context, how shutdown) <-chan struct{} {
	if how == fast {
		return ctx.Done()
	}
	c := make(chan struct{})
	time.AfterFunc(killAfter, func() { close(c) })
	return c
}

// finish waits for the last children and gives back what the run held.
func (s *Server) finish(p *process) error {
	err := p.life.wait(killAfter)
	p.life.close()
	p.unlock()
	s.proc = nil
	return err
}
