package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// answer is a call with one answer. It is kept back until the call has ended, so
// that a failure after it is still a failure.
type answer struct {
	*request
	info *connect.CallInfo
	w    http.ResponseWriter

	body     []byte
	status   int
	location string
}

// SendHeaders does nothing: the headers go with the body.
func (*answer) SendHeaders() error { return nil }

// Send takes the answer.
func (a *answer) Send(msg any) (err error) {
	message, ok := msg.(proto.Message)
	if !ok {
		return errors.New("what is sent is no protobuf message")
	}
	m, o := message.ProtoReflect(), a.operation
	a.status = o.Status
	if o.Created != nil && !m.Get(o.Created).Bool() {
		a.status = http.StatusOK
	}
	if a.status == http.StatusCreated {
		a.location = a.locate(m)
	}
	switch {
	case a.status == http.StatusNoContent:
	case o.answer == nil:
		a.body, err = o.out.appendMessage(a.body, m)
	case !m.Has(o.answer.desc) && o.answer.nullable():
		a.body = []byte("null")
	default:
		a.body, err = o.answer.append(a.body, m.Get(o.answer.desc))
	}
	return err
}

// locate returns where something new is to be found: where its links say, or where
// the path says that things of its sort are.
func (a *answer) locate(m protoreflect.Message) string {
	if f := a.operation.answer; f != nil && f.elem != nil && !f.desc.IsList() && !f.desc.IsMap() {
		m = m.Get(f.desc).Message()
	}
	if links := m.Descriptor().Fields().ByName("links"); links != nil && links.Message() != nil && !links.IsList() && !links.IsMap() {
		if self := text(m.Get(links).Message(), "self"); self != "" {
			return self
		}
	}
	if a.operation.item == "" {
		return ""
	}
	if name := text(m, a.operation.item); name != "" {
		return a.http.URL.EscapedPath() + "/" + url.PathEscape(name)
	}
	return ""
}

// text returns a field that is a string, or nothing.
func text(m protoreflect.Message, name protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return ""
	}
	return m.Get(f).String()
}

// write answers.
func (a *answer) write() {
	h := a.w.Header()
	maps.Insert(h, a.info.ResponseHeader().All())
	if a.location != "" {
		h.Set("Location", a.location)
	}
	// What an organization has is nobody else's to keep.
	h.Set("Cache-Control", "no-store")
	if a.operation.Single {
		h.Set("Cache-Control", "private, no-cache")
		h.Set("ETag", etag(a.body))
		if matches(a.http.Header.Values("If-None-Match"), h.Get("ETag")) {
			a.w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if a.status != http.StatusNoContent {
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	a.w.WriteHeader(a.status)
	if a.http.Method != http.MethodHead {
		// A failure to write means that the client is gone.
		_, _ = a.w.Write(a.body)
	}
}

// etag names a body. It is weak, because a proxy may compress what it names.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches reports whether a client has what tag names (RFC 9110, section 13.1.2).
func matches(conditions []string, tag string) bool {
	opaque := strings.TrimPrefix(tag, "W/")
	for _, condition := range conditions {
		for candidate := range strings.SplitSeq(condition, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == opaque {
				return true
			}
		}
	}
	return false
}
