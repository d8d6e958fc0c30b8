package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	connect "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// request is the receiving half of a call: the one message that a request makes.
type request struct {
	operation *Operation
	segments  []string
	http      *http.Request
	limited   io.Reader
	received  bool
}

// Receive makes the message. There is no second one.
func (r *request) Receive(msg any) error {
	if r.received {
		return io.EOF
	}
	r.received = true
	message, ok := msg.(proto.Message)
	if !ok {
		return errors.New("what is received is no protobuf message")
	}
	m := message.ProtoReflect()
	if err := r.readBody(m); err != nil {
		return badRequest(err)
	}
	if err := r.operation.bindQuery(r.http.URL.RawQuery, m); err != nil {
		return badRequest(err)
	}
	// The path comes last: it has the last word.
	if err := r.operation.bindPath(r.segments, m); err != nil {
		return badRequest(err)
	}
	return r.resume(m)
}

// readBody fills fields from the body.
func (r *request) readBody(m protoreflect.Message) error {
	body, err := io.ReadAll(r.limited)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refusal(http.StatusRequestEntityTooLarge, connect.CodeResourceExhausted,
			"the body exceeds the limit of "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	}
	if err != nil {
		return connect.NewError(connect.CodeCanceled, "the body could not be read").WithCause(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := checkContent(r.http.Header); err != nil {
		return err
	}
	o := r.operation
	if !o.HasBody {
		return r.readNothing(body)
	}
	if err := o.in.decodeBody(body, m); err != nil {
		return err
	}
	for i, s := range o.segment {
		if s.field != nil && m.Has(s.field.desc) && !s.field.says(m, r.segments[i]) {
			return &fieldError{path: "/" + s.field.name, message: "the path says something else"}
		}
	}
	return nil
}

// readNothing accepts an empty object where no body is wanted: some clients cannot
// send less.
func (r *request) readNothing(body []byte) error {
	if string(bytes.TrimSpace(body)) != "{}" {
		return &fieldError{message: "there is nothing to say in a body here"}
	}
	return nil
}

// says reports whether the field has the value that a text stands for.
func (f *field) says(m protoreflect.Message, text string) bool {
	v, err := f.parse(text)
	return err == nil && v.Equal(m.Get(f.desc))
}

// checkContent refuses a body that is not declared as JSON. The header is what
// keeps web pages from sending requests that nobody allowed them: a page needs no
// permission to send a form. `curl -d` without a header declares one, though; that
// is let through with a credential, which a page cannot add without permission.
func checkContent(h http.Header) error {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return refusal(http.StatusUnsupportedMediaType, connect.CodeInvalidArgument, "the body must not be compressed")
	}
	content := h.Get("Content-Type")
	media, parameters, err := mime.ParseMediaType(content)
	charset := parameters["charset"]
	switch {
	case err == nil && charset != "" && !strings.EqualFold(charset, "utf-8"):
	case err == nil && media == "application/json":
		return nil
	case err == nil && media == "application/x-www-form-urlencoded" && h.Get("Authorization") != "":
		return nil
	}
	return refusal(http.StatusUnsupportedMediaType, connect.CodeInvalidArgument,
		"the body must be JSON in UTF-8, with the header Content-Type: application/json")
}

// resume says where a stream goes on, if the client does.
func (r *request) resume(m protoreflect.Message) error {
	if id := r.http.Header.Get("Last-Event-ID"); id != "" && r.operation.resume != nil {
		m.Set(r.operation.resume, protoreflect.ValueOfString(id))
	}
	return nil
}
