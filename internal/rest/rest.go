// Package rest is the door for curl and for every program that speaks plain HTTP:
// JSON over REST, and streams as server-sent events.
//
// It is a transport, not a second set of handlers. The google.api.http annotation
// of a procedure says on which path it is offered; a request there becomes a call
// of the same procedure, through the same interceptors and to the same handler as
// over gRPC. What an annotation cannot say, flovyn.api.v1.Rest does.
//
// # A request
//
// Path variables bind fields of the request. With `body: "*"` the others come as a
// JSON object, else as parameters of the query. Everything that is not understood
// is refused: an unknown field or parameter, one that is given twice, a second
// JSON value. A variable of the path is no parameter, so nothing overrides it.
//
// # JSON
//
// A field of type bytes is a payload: a JSON value, kept byte for byte in both
// directions, whatever its numbers, white space, escapes and repeated members. (In
// Connect's JSON it is base64, as protobuf has it.) 64-bit integers are numbers.
// Times are RFC 3339 in UTC. In answers every field is there: null if it has
// nothing to say, except that an empty map and the unchosen members of a oneof are
// left out. In requests null means absent.
//
// # Failures
//
// {"error": "...", "details": [{"path": "/field", "message": "..."}]}, with details
// where a field is at fault. One table maps the codes of the wire to statuses.
//
// # Streams
//
// A procedure that streams messages with id, event and data is offered as
// text/event-stream. A client that does not read is cut off, see stream.go.
package rest

import (
	"cmp"
	"net/http"
	"time"

	connect "connectrpc.com/connect/v2"
)

// Config is what a transport needs to know.
type Config struct {
	// MaxBytes bounds the body of a request.
	MaxBytes int
	// KeepAlive is after how much silence a comment goes into a stream; 15 s if
	// it is not given.
	KeepAlive time.Duration
	// Patience is how long a client may take to accept one event, or an answer; 30 s
	// if it is not given.
	Patience time.Duration
}

// Handler serves the procedures of a server.
type Handler struct {
	server     *connect.Server
	cfg        Config
	operations []*Operation
	root       node
}

// New makes the transport. It fails if a mapping cannot be served, or two are the
// same.
func New(server *connect.Server, cfg Config) (*Handler, error) {
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, 15*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 30*time.Second)
	operations, err := Operations(server.Specs())
	if err != nil {
		return nil, err
	}
	h := &Handler{server: server, cfg: cfg, operations: operations}
	for _, o := range operations {
		if err := h.root.add(o); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Operations returns what is served.
func (h *Handler) Operations() []*Operation { return h.operations }

// ServeHTTP answers a request: by a call of the procedure that its method and path
// name, or by saying that there is none.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments, err := split(r.URL)
	if err != nil {
		WriteError(w, badRequest(err))
		return
	}
	o, allowed := h.root.find(segments, r.Method)
	switch {
	case o != nil:
		h.call(o, segments, w, r)
	case len(allowed) > 0:
		RefuseMethod(w, r, allowed...)
	default:
		WriteError(w, connect.NewError(connect.CodeNotFound, "not found"))
	}
}

func (h *Handler) call(o *Operation, segments []string, w http.ResponseWriter, r *http.Request) {
	info := &connect.CallInfo{
		Spec: o.spec, PeerAddr: r.RemoteAddr, Protocol: "rest", Codec: "json",
		RequestEncoding: "identity", ResponseEncoding: "identity",
	}
	for key, values := range r.Header {
		info.RequestHeader().SetValues(key, values)
	}
	in := &request{operation: o, segments: segments, http: r, limited: http.MaxBytesReader(w, r.Body, int64(h.cfg.MaxBytes))}
	if o.Stream {
		h.stream(in, info, w)
		return
	}
	a := &answer{request: in, info: info, w: w}
	if err := h.server.Call(r.Context(), o.name, info, a); err != nil {
		writeFailure(w, o.in, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.cfg.Patience)) // a writer may have none
	a.write()
}
