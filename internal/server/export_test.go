package server

import "net/http"

// What the tests of this package look into.
var (
	Refuses  = refuses
	Sensible = sensible
)

// ProbeReady is the handler of the readiness path.
func (s *Server) ProbeReady() http.HandlerFunc { return s.probeReady }

// Waiting is how many polls wait for work.
func (s *Server) Waiting() int { return s.engine.Waiting() }
