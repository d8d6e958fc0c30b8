package devserver

import (
	"context"
	"fmt"
	"net"
	"strconv"
)

// ports are bound ports. They are held while the database starts, so that a
// taken one is found before anything else happens, and nobody takes one in the
// meantime; the server then binds them itself.
type ports []net.Listener

// maxPort is the largest number of a port.
const maxPort = 65535

// choice is a port that was chosen, and the flag that chose it.
type choice struct {
	port int
	flag string
}

func (cfg *Config) ports() []choice {
	return []choice{{cfg.HTTPPort, "--http-port"}, {cfg.GRPCPort, "--grpc-port"}, {cfg.AppPort, "--app-port"}}
}

// reserve binds the server's ports that were chosen. Free ones need no reservation,
// and the identity provider binds its own at once.
func reserve(ctx context.Context, cfg Config) (reserved ports, err error) {
	wanted := cfg.ports()[:2]
	if cfg.GRPCPort == cfg.HTTPPort {
		wanted = wanted[:1]
	}
	for _, w := range wanted {
		if w.port == 0 {
			continue
		}
		address := net.JoinHostPort(cfg.Host, strconv.Itoa(w.port))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			reserved.release()
			return nil, fmt.Errorf("port %d cannot be used: %w; stop the program that has it, "+
				"or choose another port with %s (0 picks a free one)", w.port, err, w.flag)
		}
		reserved = append(reserved, l)
	}
	return reserved, nil
}

// release gives the ports back. It may be called again.
func (p ports) release() {
	for _, l := range p {
		_ = l.Close() // it has accepted nobody, or it is closed
	}
}
