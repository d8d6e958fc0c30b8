package server

import (
	"context"
	"net/http"
)

// What the tests of this package look into.
var (
	Refuses  = refuses
	Sensible = sensible
)

// ProbeReady is the handler of the readiness path.
func (s *Server) ProbeReady() http.HandlerFunc { return s.probeReady }

// SampleQueues measures the queues now.
func (s *Server) SampleQueues(ctx context.Context) error {
	sampling := s.queuesSampled()
	samples, err := s.store.SampleBacklogs(ctx, sampling.Queues, sampling.Most)
	sampling.Take(samples, err)
	return err
}

// CountDeleted counts something as retention does.
func (s *Server) CountDeleted(what string, n int) { s.metrics.Deleted(what, n) }

// Waiting is how many polls wait for work.
func (s *Server) Waiting() int { return s.engine.Waiting() }

// Door is the handler of the http door.
func (s *Server) Door() http.Handler { return s.doors[0].handler }
