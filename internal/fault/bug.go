package fault

import (
	"fmt"
	"testing"
)

// Bug reports a state that the code believes impossible. Under `go test` it
// panics, so that the belief is corrected; in production it returns an internal
// failure, so that one request fails and the server lives on.
func Bug(format string, args ...any) error {
	err := fmt.Errorf("bug: "+format, args...)
	if testing.Testing() {
		panic(err)
	}
	return &Error{Kind: Internal, Message: "internal error", cause: err}
}
