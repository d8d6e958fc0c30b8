package bench

import "syscall"

// endWithParent has the kernel end a process when this one dies.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
