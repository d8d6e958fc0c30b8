//go:build unix

package pgserver

import (
	"fmt"
	"os"
	"os/exec"
)

// watch lets the command inherit the lifeline's writing end.
func watch(cmd *exec.Cmd) (*lifeline, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	cmd.ExtraFiles = []*os.File{w}
	return &lifeline{read: r, write: w}, nil
}
