package server

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A port that closes takes whoever had come to it, and nobody after.
func TestGentleListener(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := listenTCP(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const visitors = 50
	for range visitors { // the system accepts them, nobody else has yet
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	var served sync.WaitGroup
	taken := 0
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken++
			_ = conn.Close()
		}
	})
	l.Quiesce()
	if conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
	_ = l.Close()
	served.Wait()
	if taken != visitors {
		t.Errorf("%d of %d were taken", taken, visitors)
	}
}
