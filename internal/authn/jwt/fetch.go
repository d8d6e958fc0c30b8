package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	// fetchTimeout bounds a fetch from the first byte out to the last byte in.
	fetchTimeout = 5 * time.Second
	// maxDocumentBytes bounds a set of keys; real ones have less than 10 KiB.
	maxDocumentBytes = 1 << 20
	// maxRedirects bounds the detours, all on the same host.
	maxRedirects = 3
)

// source is where keys are published. The server goes to the configured host
// and nowhere else: whoever answers for that host must not be able to send it
// to a third one, least of all to the addresses by which clouds hand out
// credentials.
type source struct {
	url    string
	client *http.Client
}

// CheckJWKSURI refuses addresses where somebody on the way could put in keys of
// his own. The error does not quote the address.
func CheckJWKSURI(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("the address of the keys is not a URL")
	case u.User != nil:
		return errors.New("the address of the keys holds a password, which would be logged")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return errors.New("the address of the keys must begin with https://, except on this machine")
	}
	return nil
}

func newSource(address string) (*source, error) {
	if err := CheckJWKSURI(address); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: fetchTimeout, ControlContext: refuseLinkLocal}
	return &source{url: address, client: &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: stayOnHost,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: 64 << 10,
			// Once an hour is no reason to keep a connection.
			DisableKeepAlives: true,
		},
	}}, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && address.IsLoopback())
}

// refuseLinkLocal looks at the address that a name turned out to have.
func refuseLinkLocal(_ context.Context, _, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address to connect to: %w", err)
	}
	if peer.Addr().Unmap().IsLinkLocalUnicast() {
		return errors.New("the keys are at a link-local address, where no identity provider is")
	}
	return nil
}

func stayOnHost(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	switch {
	case next.URL.Host != first.Host || next.URL.Scheme != first.Scheme:
		return errors.New("the keys were redirected to another host")
	case len(before) > maxRedirects:
		return errors.New("the keys were redirected too often")
	default:
		return nil
	}
}

// fetch returns the document.
func (s *source) fetch(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking for keys: %w", err)
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching keys: the provider answered %s", response.Status)
	}
	document, err := io.ReadAll(io.LimitReader(response.Body, maxDocumentBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetching keys: %w", err)
	case len(document) > maxDocumentBytes:
		return nil, fmt.Errorf("fetching keys: the answer is longer than %d bytes", maxDocumentBytes)
	default:
		return document, nil
	}
}

// close gives back what the client holds.
func (s *source) close() { s.client.CloseIdleConnections() }
