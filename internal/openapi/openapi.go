// Package openapi describes the REST API to programs and to people: as a document
// of OpenAPI 3.1, and as a page that shows it.
//
// The document is made at start of what the transport itself serves: the
// operations of package rest, the descriptors of their messages with the rules of
// their validation, and the comments of the protos, which `make generate` keeps in
// comments/. So it cannot say anything else than what is served; a test calls every
// operation and holds requests and answers against it.
//
// The page is one file. It loads nothing but the document, from this server, and a
// strict policy for its content says so to the browser. One file, because a path
// is open without a credential only if the configuration names it, and the page
// then is open with all its parts.
package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/flovyn/flovyn-server/internal/rest"
)

// The paths of the page and of the document.
const (
	PagePath     = "/api/docs"
	DocumentPath = "/api/docs/openapi.json"
)

// Mount serves the document of some operations and its page. Both are made when
// they are first asked for.
func Mount(mux *http.ServeMux, operations []*rest.Operation, version string) {
	mux.Handle(PagePath, handler(page))
	mux.Handle(DocumentPath, handler(sync.OnceValues(func() (*file, error) {
		document, err := Document(operations, version)
		if err != nil {
			return nil, err
		}
		return newFile("application/json", "default-src 'none'; frame-ancestors 'none'", document)
	})))
}

// Document returns the document as JSON.
func Document(operations []*rest.Operation, version string) ([]byte, error) {
	words := map[string]string{}
	if err := json.Unmarshal(comments, &words); err != nil {
		return nil, fmt.Errorf("reading the comments: %w", err)
	}
	d := newDocument(words, version)
	for _, o := range operations {
		d.add(o)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(d.root)
	return b.Bytes(), err
}

// file is something that never changes while the server runs.
type file struct {
	content, policy string
	body, zipped    []byte
	tag             string
}

func newFile(content, policy string, body []byte) (*file, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	sum := sha256.Sum256(body)
	return &file{
		content: content, policy: policy, body: body, zipped: b.Bytes(),
		tag: `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}, nil
}

// handler serves a file that is made when it is first asked for.
type handler func() (*file, error)

// ServeHTTP serves the file.
func (prepared handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rest.RefuseMethod(w, r, http.MethodGet, http.MethodHead)
		return
	}
	f, err := prepared()
	if err != nil { // of what is compiled in; a test makes both
		rest.WriteError(w, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", f.policy)
	if strings.Contains(r.Header.Get("If-None-Match"), f.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.content)
	body := f.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		// A failure to write means that the client is gone.
		_, _ = w.Write(body)
	}
}
