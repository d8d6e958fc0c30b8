package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
)

// databasePatience is how long the database may take to answer a probe.
const databasePatience = 5 * time.Second

// errStopping is why a stopping server is not ready.
var errStopping = errors.New("the server is stopping")

// Ready returns nil when the server can do its work.
func (s *Server) Ready(ctx context.Context) error {
	select {
	case <-s.stopping:
		return fault.Wrap(fault.Unavailable, errStopping, "%s", errStopping.Error())
	default:
		return s.pingDatabase(ctx)
	}
}

func (s *Server) pingDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database does not answer")
	}
	return nil
}

// probe is the answer of a health path.
type probe struct {
	Status  string               `json:"status"`
	Version string               `json:"version,omitempty"`
	Plugins []string             `json:"plugins,omitzero"`
	Checks  map[string]component `json:"checks,omitempty"`
}

// component is the state of something that the server depends on.
type component struct {
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

func stateOf(err error) component {
	if err != nil {
		return component{Status: "DOWN", Error: fault.Message(err)}
	}
	return component{Status: "UP"}
}

// mountProbes adds the health paths, which answer everybody and reveal nothing.
func (s *Server) mountProbes(mux *http.ServeMux) {
	mux.HandleFunc("GET /_/health", func(w http.ResponseWriter, _ *http.Request) {
		writeProbe(w, http.StatusOK, probe{Status: "UP", Version: s.version, Plugins: []string{}})
	})
	mux.HandleFunc("GET /_/health/live", func(w http.ResponseWriter, _ *http.Request) {
		writeProbe(w, http.StatusOK, probe{Status: "UP"})
	})
	mux.HandleFunc("GET /_/health/ready", s.probeReady)
	mux.HandleFunc("GET /_/health/startup", s.probeReady)
}

// probeReady tells whether requests should be sent here.
func (s *Server) probeReady(w http.ResponseWriter, r *http.Request) {
	answer := probe{Status: "UP", Checks: map[string]component{"database": stateOf(s.pingDatabase(r.Context()))}}
	status := http.StatusOK
	select {
	case <-s.stopping:
		answer.Checks["server"] = stateOf(fault.Wrap(fault.Unavailable, errStopping, "%s", errStopping.Error()))
	default:
		answer.Checks["server"] = stateOf(nil)
	}
	for _, c := range answer.Checks {
		if c.Status != "UP" {
			answer.Status, status = "DOWN", http.StatusServiceUnavailable
		}
	}
	writeProbe(w, status, answer)
}

func writeProbe(w http.ResponseWriter, status int, answer probe) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A failure to write means that the prober is gone.
	_ = json.NewEncoder(w).Encode(answer)
}
