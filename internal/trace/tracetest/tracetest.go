// Package tracetest is a collector of traces for tests: it speaks OTLP over gRPC
// as a real one does, and keeps what it receives.
package tracetest

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Span is a span as it arrived.
type Span struct {
	Trace, ID, Parent, Name string
	Failed                  bool
	// Message says what went wrong.
	Message string
	// Attributes are those that are text; Numbers the others.
	Attributes map[string]string
	Numbers    map[string]int64
	// Service is the name of the program that sent it.
	Service string
}

// Collector receives traces until its test ends.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	// URL is where it listens.
	URL string

	mu      sync.Mutex
	spans   []Span
	arrived chan struct{} // closed and replaced at each arrival
}

// New starts a collector.
func New(tb testing.TB) *Collector {
	tb.Helper()
	socket, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	c := &Collector{URL: "http://" + socket.Addr().String(), arrived: make(chan struct{})}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(socket) // ends with Stop
	}()
	tb.Cleanup(func() {
		server.Stop()
		<-done
	})
	return c
}

// Export is what programs call.
func (c *Collector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, spanOf(span, service))
			}
		}
	}
	close(c.arrived)
	c.arrived = make(chan struct{})
	return &collector.ExportTraceServiceResponse{}, nil
}

func spanOf(span *tracev1.Span, service string) Span {
	s := Span{
		Trace: hex.EncodeToString(span.GetTraceId()), ID: hex.EncodeToString(span.GetSpanId()),
		Parent: hex.EncodeToString(span.GetParentSpanId()), Name: span.GetName(), Service: service,
		Failed: span.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR, Message: span.GetStatus().GetMessage(),
		Attributes: map[string]string{}, Numbers: map[string]int64{},
	}
	for _, a := range span.GetAttributes() {
		if text := a.GetValue().GetStringValue(); text != "" {
			s.Attributes[a.GetKey()] = text
		} else {
			s.Numbers[a.GetKey()] = a.GetValue().GetIntValue()
		}
	}
	return s
}

// Spans returns what has arrived.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Await returns the first span that fits, once it has arrived; the test fails
// when ctx ends first.
func (c *Collector) Await(ctx context.Context, tb testing.TB, name string) Span {
	tb.Helper()
	for {
		c.mu.Lock()
		arrived := c.arrived
		c.mu.Unlock()
		for _, s := range c.Spans() {
			if s.Name == name {
				return s
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			tb.Fatalf("no span %q has arrived; there are %v", name, c.Spans())
		}
	}
}
