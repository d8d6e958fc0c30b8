package pgtest

import "os"

// lock has no lock to take here; processes that start at the same moment may both
// make the blank cluster, of which the slower one fails.
func lock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// inUse cannot tell, and so keeps everything.
func inUse(string) bool { return true }
