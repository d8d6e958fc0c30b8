package torture

import "syscall"

// dieWithParent has the kernel end a process whose test was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
