package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
)

const (
	// readHeaderTimeout bounds how long a client may take to say what it wants.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is how long a connection may do nothing. It is long: workers
	// keep theirs open between activations and rely on it.
	idleTimeout = time.Hour
	// pingAfter is the silence after which an HTTP/2 client is asked whether it
	// is still there, so that a worker that vanished does not hold a poll.
	pingAfter = time.Minute
	// maxHeaderBytes bounds the headers of a request.
	maxHeaderBytes = 64 << 10
	// maxStreams bounds the calls under way on one connection. A process with
	// many workers has that many polls open.
	maxStreams = 5000
)

// listener is an open port and the server behind it.
type listener struct {
	*gentle
	name string
	// served tells that somebody accepts.
	served bool
	tls    bool
	http   *http.Server
}

// listen opens the ports. Both are opened before either is served.
func (s *Server) listen(ctx context.Context) error {
	var certificates []tls.Certificate
	if s.cfg.Server.TLSCertFile != "" {
		certificate, err := tls.LoadX509KeyPair(s.cfg.Server.TLSCertFile, s.cfg.Server.TLSKeyFile)
		if err != nil {
			return fmt.Errorf("reading the TLS certificate: %w", err)
		}
		certificates = []tls.Certificate{certificate}
	}
	for _, d := range s.doors {
		address := net.JoinHostPort(s.cfg.Server.Host, strconv.Itoa(d.port))
		socket, err := listenTCP(ctx, address)
		if err != nil {
			return fmt.Errorf("opening the %s port %d: %w", d.name, d.port, err)
		}
		l := &listener{gentle: socket, name: d.name, tls: certificates != nil, http: s.httpServer(d.handler)}
		if l.tls {
			l.http.TLSConfig = &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
		}
		s.listeners = append(s.listeners, l)
	}
	return s.listenForMetrics(ctx)
}

// listenTCP opens a port.
func listenTCP(ctx context.Context, address string) (*gentle, error) {
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp, ok := socket.(*net.TCPListener)
	if !ok {
		return nil, fault.Bug("a listener of type %T", socket)
	}
	return newGentle(tcp), nil
}

// httpServer serves HTTP/1.1 and HTTP/2, in clear text and over TLS. There is no
// write timeout, because polls and streams are answered late; pings of clients
// are always welcome.
func (s *Server) httpServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: handler, Protocols: protocols,
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// serve serves one listener until it is closed.
func (s *Server) serve(l *listener) {
	var err error
	if l.tls {
		err = l.http.ServeTLS(l, "", "")
	} else {
		err = l.http.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serving the %s port: %w", l.name, err)
	}
}

// closeListeners lets requests in flight finish, and cuts them off when ctx ends.
func (s *Server) closeListeners(ctx context.Context) error {
	ends := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() {
			if l.served {
				l.Quiesce()
			}
			err := l.http.Shutdown(ctx)
			if err != nil {
				err = errors.Join(fmt.Errorf("requests at the %s port did not finish in time: %w", l.name, err), l.http.Close())
			}
			// A listener that was never served is not the HTTP server's to close.
			_ = l.Close()
			ends <- err
		}()
	}
	var failures error
	for range s.listeners {
		failures = errors.Join(failures, <-ends)
	}
	return failures
}

// Addr returns the address of a door, "http" or "grpc", or of "metrics", or
// nothing while it is not open. With one port for both, both have the same.
func (s *Server) Addr(name string) string {
	for _, l := range s.listeners {
		if l.name == name || l.name == bothDoors && name != metricsListener {
			return l.Addr().String()
		}
	}
	return ""
}

// Addrs returns the addresses of both doors.
func (s *Server) Addrs() (http, grpc string) { return s.Addr(httpDoor), s.Addr(grpcDoor) }
