package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A node is a place in the tree of paths.
type node struct {
	literals map[string]*node
	// variable is where any other segment leads.
	variable *node
	methods  map[string]*Operation
}

// add puts an operation into the tree.
func (n *node) add(o *Operation) error {
	for _, s := range o.segment {
		n = n.child(s)
	}
	if other, taken := n.methods[o.Method]; taken {
		return fmt.Errorf("%s and %s are both %s %s", other.Procedure.FullName(), o.Procedure.FullName(), o.Method, o.Path)
	}
	if n.methods == nil {
		n.methods = map[string]*Operation{}
	}
	n.methods[o.Method] = o
	return nil
}

func (n *node) child(s segment) *node {
	if s.field != nil {
		if n.variable == nil {
			n.variable = &node{}
		}
		return n.variable
	}
	if n.literals == nil {
		n.literals = map[string]*node{}
	}
	if n.literals[s.literal] == nil {
		n.literals[s.literal] = &node{}
	}
	return n.literals[s.literal]
}

// find returns the operation for a method on a path, and otherwise which methods
// the path has: none when there is no such path. A literal is nearer than a
// variable; where it does not have the method, the variable may.
func (n *node) find(segments []string, method string) (*Operation, []string) {
	if len(segments) == 0 {
		return n.pick(method)
	}
	var allowed []string
	for _, next := range []*node{n.literals[segments[0]], n.variable} {
		if next == nil || next == n.variable && segments[0] == "" {
			continue // a variable is never empty
		}
		o, others := next.find(segments[1:], method)
		if o != nil {
			return o, nil
		}
		allowed = append(allowed, others...)
	}
	return nil, allowed
}

// pick chooses by the method. HEAD asks what GET would answer; of a stream it
// cannot be told.
func (n *node) pick(method string) (*Operation, []string) {
	if o, ok := n.methods[method]; ok {
		return o, nil
	}
	if o, ok := n.methods[http.MethodGet]; ok && method == http.MethodHead && !o.Stream {
		return o, nil
	}
	var allowed []string
	for name, o := range n.methods {
		allowed = append(allowed, name)
		if name == http.MethodGet && !o.Stream {
			allowed = append(allowed, http.MethodHead)
		}
	}
	return nil, allowed
}

// allow writes methods as the header Allow does.
func allow(methods []string) string {
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}

// split cuts a path into segments and decodes each by itself, so that a slash
// within an identifier, sent as %2F, stays within it.
func split(u *url.URL) ([]string, error) {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, s := range segments {
		text, err := url.PathUnescape(s)
		if err != nil {
			return nil, &fieldError{message: "the path cannot be read: " + err.Error()}
		}
		segments[i] = text
	}
	return segments, nil
}
