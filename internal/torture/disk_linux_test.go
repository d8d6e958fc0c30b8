package torture

import (
	"fmt"
	"syscall"
)

// mountSmall puts a small file system in memory at dir, for which one has to be
// root and outside of most containers.
func mountSmall(dir string, mib int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", mib))
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
