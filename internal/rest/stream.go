package rest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// errSlow ends a stream whose client does not read.
var errSlow = errors.New("the client does not read its events")

// stream is a call whose answers are events.
//
// Two goroutines write: the handler, and the one that says between events that
// the stream is alive. Each write has a deadline of its own. A client that has not
// taken an event by then gets no other: the call is cancelled, and neither the
// handler nor a connection is held by somebody who does not read.
type stream struct {
	*request
	info   *connect.CallInfo
	w      http.ResponseWriter
	cfg    Config
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	begun  bool
	failed error
}

// stream serves a stream until it ends, on whichever side.
func (h *Handler) stream(in *request, info *connect.CallInfo, w http.ResponseWriter) {
	ctx, cancel := context.WithCancelCause(in.http.Context())
	s := &stream{request: in, info: info, w: w, cfg: h.cfg, cancel: cancel}
	var alive sync.WaitGroup
	alive.Go(func() { s.keepAlive(ctx) })
	err := h.server.Call(ctx, in.operation.name, info, s)
	cancel(nil)
	alive.Wait() // nobody else writes from here on
	switch {
	case s.failed != nil: // nobody reads
	case !s.begun && err != nil:
		writeFailure(w, in.operation.in, err)
	case err != nil:
		_, body, _ := explain(in.operation.in, err)
		_ = s.write(appendEvent(nil, "", "error", body.Error)) // the stream ends anyhow
	default:
		_ = s.SendHeaders()
	}
	// The connection may serve another request.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// SendHeaders opens the stream before its first event.
func (s *stream) SendHeaders() error { return s.write(nil) }

// Send sends an event.
func (s *stream) Send(msg any) error {
	message, ok := msg.(proto.Message)
	if !ok {
		return errors.New("what is sent is no protobuf message")
	}
	m := message.ProtoReflect()
	return s.write(appendEvent(nil, text(m, "id"), text(m, "event"), text(m, "data")))
}

// write sends what is ready, the headers first.
func (s *stream) write(frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if s.begun && len(frame) == 0 {
		return nil
	}
	control := http.NewResponseController(s.w)
	_ = control.SetWriteDeadline(time.Now().Add(s.cfg.Patience)) // a writer may have none
	if !s.begun {
		s.begin()
	}
	_, err := s.w.Write(frame)
	if err == nil {
		err = control.Flush()
	}
	if err != nil {
		s.failed = connect.NewError(connect.CodeCanceled, errSlow.Error()).WithCause(fmt.Errorf("%w: %w", errSlow, err))
		s.cancel(s.failed)
	}
	return s.failed
}

func (s *stream) begin() {
	s.begun = true
	h := s.w.Header()
	maps.Insert(h, s.info.ResponseHeader().All())
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	s.w.WriteHeader(http.StatusOK)
}

// keepAlive says from time to time that the stream is alive, once it has begun.
func (s *stream) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.KeepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.mu.Lock()
			due := s.begun
			s.mu.Unlock()
			if due && s.write([]byte(": keep-alive\n\n")) != nil {
				return
			}
		}
	}
}

// appendEvent appends an event. Lines are what separates its parts, so every line
// of the data gets one of its own; the reader puts them together again with line
// feeds.
func appendEvent(b []byte, id, event, data string) []byte {
	if id != "" && !strings.ContainsAny(id, "\r\n\x00") {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	if event != "" && !strings.ContainsAny(event, "\r\n") {
		b = append(append(append(b, "event: "...), event...), '\n')
	}
	data = strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(data, "\n") {
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n')
}
