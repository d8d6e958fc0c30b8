package authn

import (
	"fmt"
	"net/url"
	"strings"
)

// healthPath is open on every server, whatever the configuration: probes carry
// no credential, and the answer reveals nothing.
const healthPath = "/_/health"

// Excludes are the paths that need no credential.
type Excludes struct {
	exact    map[string]bool
	prefixes []string
}

// NewExcludes makes a set of open paths. A pattern is a path, matched exactly,
// or ends in a star, which stands for any rest. The health paths are open
// without being listed.
func NewExcludes(patterns ...string) (*Excludes, error) {
	e := &Excludes{exact: map[string]bool{healthPath: true}, prefixes: []string{healthPath + "/"}}
	for _, pattern := range patterns {
		prefix, starred := strings.CutSuffix(pattern, "*")
		if strings.Contains(prefix, "*") {
			return nil, fmt.Errorf("path %q: a star can only be the last character", pattern)
		}
		if !isPlain(prefix) {
			return nil, fmt.Errorf("path %q: want a clean path that begins with a slash", pattern)
		}
		if starred && prefix == "/" {
			return nil, fmt.Errorf("path %q would open everything; to do that, set auth.enabled to false", pattern)
		}
		if starred {
			e.prefixes = append(e.prefixes, prefix)
		} else {
			e.exact[prefix] = true
		}
	}
	return e, nil
}

// Match reports whether a request for u needs no credential.
//
// It judges the path as it was sent. A path that a router might read in another
// way than this (dot segments, doubled slashes, anything escaped that need not
// be, a slash above all) is never open: the worst that happens is that a client
// is asked for a credential.
func (e *Excludes) Match(u *url.URL) bool {
	// RawPath is set when the path was not sent in its usual escaping.
	if u.RawPath != "" || !isPlain(u.Path) {
		return false
	}
	if e.exact[u.Path] {
		return true
	}
	for _, prefix := range e.prefixes {
		if strings.HasPrefix(u.Path, prefix) {
			return true
		}
	}
	return false
}

// isPlain reports whether a path means only itself.
func isPlain(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, "\\%\x00;") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
