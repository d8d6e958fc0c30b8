package pgtest

import "syscall"

// roomInMemory reports whether dir can take the databases of many tests at once;
// in containers it often is a mere 64 MB.
func roomInMemory(dir string) bool {
	const enough = 2 << 30
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return err == nil && st.Bavail*uint64(st.Bsize) >= enough
}
