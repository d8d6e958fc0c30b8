//go:build unix && !linux

package pgserver

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has no counterpart outside Linux: a server whose owner was
// killed goes on, and the next Start names its process.
func dieWithParent(*syscall.SysProcAttr) {}

// holdsCluster reports whether the process is a postmaster. Which cluster it
// serves cannot be seen here, so a recycled process id that belongs to another
// postmaster is taken for ours: refusing to start is the safe side.
func holdsCluster(pid int, _ string) bool {
	out, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	name := filepath.Base(strings.TrimSpace(string(out)))
	return err == nil && (name == "postgres" || name == "postmaster")
}
