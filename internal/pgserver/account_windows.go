package pgserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// haveUnixSockets is false because PostgreSQL's installers for Windows leave
// them unconfigured: the loopback address and a password serve instead.
const haveUnixSockets = false

// account is never needed: PostgreSQL drops an administrator's rights by itself.
type account struct{}

func unprivileged(string) (*account, error)       { return nil, nil }
func (*account) own(string) error                 { return nil }
func (*account) mustOwnPrivately(string) error    { return nil }
func (*account) mayEnter(string, string) error    { return nil }
func (*account) attributes() *syscall.SysProcAttr { return nil }
func executable(name string) string               { return name + ".exe" }

// tryLock leaves it to PostgreSQL to notice a second server.
func tryLock(*os.File) (bool, error) { return true, nil }

// releaseLock closes what tryLock did not lock.
func releaseLock(f *os.File) { _ = f.Close() }

// exists opens the process, which works for live ones only.
func exists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	return p.Release() == nil
}

// holdsCluster trusts the process id, having no cheap way to ask the process.
func holdsCluster(int, string) bool { return true }

// watch has no file descriptors to hand to a child: the postmaster's own end has
// to do, and it waits for its children.
func watch(*exec.Cmd) (*lifeline, error) { return &lifeline{}, nil }

// dieWithParent does not exist here.
func dieWithParent(*syscall.SysProcAttr) {}

// signal uses PostgreSQL's own tool, since there are no signals here.
func (s *Server) signal(p *process, how shutdown) error {
	if how == kill {
		return p.cmd.Process.Kill()
	}
	mode := map[shutdown]string{fast: "fast", immediate: "immediate"}[how]
	return exec.Command(filepath.Join(s.install.BinDir, executable("pg_ctl")), "stop", "-D", s.dir.data(), "-m", mode, "-W").Run()
}
