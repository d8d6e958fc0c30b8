package rpc

import (
	"net/http"
	"strings"

	connect "connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/rest"
)

// NewRefuse makes the answer to requests that do not get as far as a handler,
// in the protocol that the client speaks: trailers for gRPC and gRPC-Web, a
// Connect error for procedures called otherwise, and {"error": "..."} for
// everything else.
func NewRefuse(server *connect.Server) authn.Refuse {
	services := map[string]bool{}
	for spec := range server.Specs() {
		services[serviceOf(spec.Procedure)] = true
	}
	writer := connecthttp.NewErrorWriter()
	return func(w http.ResponseWriter, r *http.Request, err error) {
		procedure := services[serviceOf(r.URL.Path)] || IsGRPC(r)
		if procedure && writer.IsSupported(r) {
			// A failure to write means that the client is gone.
			_ = writer.Write(w, r, wireError(err))
			return
		}
		WriteError(w, err)
	}
}

// IsGRPC reports whether a request is gRPC or gRPC-Web.
func IsGRPC(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// serviceOf returns the service of a procedure's path: what is between the first
// two slashes.
func serviceOf(path string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return service
}

// WriteError answers a plain HTTP request with {"error": "..."}.
func WriteError(w http.ResponseWriter, err error) { rest.WriteError(w, wireError(err)) }
