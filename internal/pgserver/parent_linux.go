package pgserver

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// dieWithParent has the kernel interrupt the postmaster, which is its fast
// shutdown, when the thread that started it dies; spawn keeps that thread.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// holdsCluster reports whether the process is a postmaster of this cluster: it
// works in the data directory. After a reboot, and in containers always, the
// number in an old pid file may belong to any process, even to ours.
func holdsCluster(pid int, dataDir string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return err == nil && cwd == dataDir
}
