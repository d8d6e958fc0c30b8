//go:build !linux

package pgtest

// roomInMemory is false where there is no customary file system in memory.
func roomInMemory(string) bool { return false }
