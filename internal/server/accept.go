package server

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// quietAccept is for how long no connection may have come before a port closes.
	quietAccept = 20 * time.Millisecond
	// longestQuiet bounds the wait for that on a port where they never cease.
	longestQuiet = time.Second
)

// gentle is a listener that can close without turning away who is at the door:
// connections that the system has accepted and the server has not would be reset
// when the socket closes, with requests in them that a proxy must not send again.
type gentle struct {
	*net.TCPListener
	// until is when the port closes in any case, as nanoseconds; zero while nobody
	// wants it closed.
	until atomic.Int64
	// quiet is closed when no connection waits and none can come any more.
	quiet     chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
}

func newGentle(l *net.TCPListener) *gentle {
	return &gentle{TCPListener: l, quiet: make(chan struct{}), closed: make(chan struct{})}
}

// Accept takes the next connection. Once the port is quiet it waits for Close.
func (g *gentle) Accept() (net.Conn, error) {
	conn, err := g.TCPListener.Accept()
	until := g.until.Load()
	switch {
	case until == 0:
		return conn, err
	case err == nil: // there may be more of them
		_ = g.SetDeadline(time.Unix(0, min(time.Now().Add(quietAccept).UnixNano(), until)))
		return conn, nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return nil, err
	}
	_ = g.TCPListener.Close()
	close(g.quiet)
	<-g.closed
	return nil, net.ErrClosed
}

// Quiesce takes the connections that wait and closes the port. It is for a
// listener that is being served, and comes before Close.
func (g *gentle) Quiesce() {
	now := time.Now()
	g.until.Store(now.Add(longestQuiet).UnixNano())
	if g.SetDeadline(now.Add(quietAccept)) != nil {
		return // it is closed already
	}
	timer := time.NewTimer(2 * longestQuiet)
	defer timer.Stop()
	select {
	case <-g.quiet:
	case <-g.closed:
	case <-timer.C: // nobody accepts
	}
}

// Close closes the port at once, if it is still open.
func (g *gentle) Close() error {
	g.closeOnce.Do(func() { close(g.closed) })
	if err := g.TCPListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
