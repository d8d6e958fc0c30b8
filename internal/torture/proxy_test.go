package torture

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy is a stretch of network that can be cut and healed.
type proxy struct {
	listener net.Listener
	dial     func(ctx context.Context) (net.Conn, error)
	ctx      context.Context //nolint:containedctx // ends what the proxy does
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	// cut refuses connections; healed is closed while bytes pass, and open while
	// they are held up.
	cut    bool
	healed chan struct{}
}

func newProxy(t *testing.T, network, address string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &proxy{listener: l, ctx: ctx, stop: stop, conns: map[net.Conn]bool{}, healed: make(chan struct{})}
	close(p.healed)
	p.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		p.sever()
		p.running.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(from net.Conn) {
	defer from.Close()
	if !p.enlist(from) {
		return
	}
	defer p.delist(from)
	if !p.pass() {
		return
	}
	to, err := p.dial(p.ctx)
	if err != nil {
		return
	}
	defer to.Close()
	if !p.enlist(to) {
		return
	}
	defer p.delist(to)
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from) })
	both.Go(func() { p.copy(from, to) })
	both.Wait()
}

// copy passes bytes on while the network is whole.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until bytes pass, and is false when the proxy ends first.
func (p *proxy) pass() bool {
	p.mu.Lock()
	healed := p.healed
	p.mu.Unlock()
	select {
	case <-healed:
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *proxy) enlist(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.ctx.Err() != nil {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) delist(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// sever ends all connections and refuses new ones.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// stall leaves connections open and lets nothing through.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.healed:
		p.healed = make(chan struct{})
	default:
	}
}

// heal mends whatever is broken.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.healed:
	default:
		close(p.healed)
	}
}
