package client

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
)

// Protocol is how calls travel.
type Protocol string

// The protocols that a server answers.
const (
	// GRPC is gRPC over HTTP/2, encrypted or not. The empty Protocol means it.
	GRPC Protocol = "grpc"
	// GRPCWeb is gRPC-Web, which passes through HTTP/1 proxies.
	GRPCWeb Protocol = "grpcweb"
	// Connect is the Connect protocol with binary messages.
	Connect Protocol = "connect"
	// ConnectJSON is the Connect protocol with JSON messages, readable on the wire.
	ConnectJSON Protocol = "connectjson"
)

func (p Protocol) options() ([]connecthttp.Option, error) {
	switch p {
	case GRPC, "":
		return []connecthttp.Option{connecthttp.WithGRPC()}, nil
	case GRPCWeb:
		return []connecthttp.Option{connecthttp.WithGRPCWeb()}, nil
	case Connect:
		return nil, nil
	case ConnectJSON:
		return []connecthttp.Option{connecthttp.WithProtoJSON()}, nil
	default:
		return nil, fmt.Errorf("unknown protocol %q: use %s, %s, %s or %s", p, GRPC, GRPCWeb, Connect, ConnectJSON)
	}
}

// newHTTPClient makes a client for one server. It has no timeout of its own,
// since a poll may last minutes; pings find out when a connection is dead.
func newHTTPClient(protocol Protocol, scheme string) *http.Client {
	var protocols http.Protocols
	switch {
	case scheme == "https":
		protocols.SetHTTP2(true)
		protocols.SetHTTP1(protocol != GRPC && protocol != "")
	case protocol == GRPC || protocol == "":
		protocols.SetUnencryptedHTTP2(true)
	default:
		protocols.SetHTTP1(true)
	}
	transport := &http.Transport{
		Protocols:           &protocols,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		// Every slot of a worker polls over a connection of its own in HTTP/1.
		MaxIdleConnsPerHost: 128,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
	}
	if scheme == "https" { // a proxy would see a token sent in clear text
		transport.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// confidential reports whether nobody else can read what is sent to the address.
func confidential(address *url.URL) bool {
	if address.Scheme == "https" || address.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(address.Hostname())
	return ip != nil && ip.IsLoopback()
}
