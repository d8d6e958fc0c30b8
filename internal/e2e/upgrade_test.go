//go:build upgrade

package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

// previous is the commit of the previous version. A release moves it on, together
// with internal/postgres/testdata/previous.
const previous = "20e751f"

// TestUpgrade replaces the server of the previous version by this one while
// workflows run: both work on one database, the previous one also starts again on
// the schema that this one has made, and nothing is lost.
//
// Building the previous version takes minutes on a cold cache, so this is not part
// of the other tests: see `make upgrade`.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dsn, oldBinary, newBinary := pgtest.NewEmpty(t), buildPrevious(ctx, t), build(t)
	before, now := newServer(t, oldBinary, dsn), newServer(t, newBinary, dsn)
	before.start()
	counts := &tally{tasks: map[int]int{}}
	counts.runWorker(t, before, "worker-of-before")
	const workflows = 300
	startAll(t, workflows/3, before.client(userKey))

	now.start()
	counts.runWorker(t, now, "worker-of-now")
	// The keys find what was started before, whichever version did it.
	startAll(t, workflows*2/3, before.client(userKey), now.client(userKey))
	before.stop() // as when the upgrade is rolled back for a moment
	before.start()
	ids := startAll(t, workflows, before.client(userKey), now.client(userKey))
	counts.waitFor(t, workflows*2/3)
	before.stop()

	reader := now.client(userKey)
	for n, id := range ids {
		output, err := reader.WaitResult(ctx, id)
		if err != nil || string(output) != strconv.Itoa(2*n) {
			t.Fatalf("workflow %d (%s) ended with %s, %v", n, id, output, err)
		}
		checkHistory(t, reader, id)
	}
	checkNothingLeft(t, dsn)
}

// buildPrevious builds the server of the previous version from the repository's
// history.
func buildPrevious(ctx context.Context, t *testing.T) string {
	t.Helper()
	source := t.TempDir()
	root, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatalf("the previous version is in the repository's history, and there is none here: %v", err)
	}
	archive := filepath.Join(source, "previous.tar")
	for _, command := range [][]string{
		{"git", "-C", strings.TrimSpace(string(root)), "archive", "--output", archive, previous},
		{"tar", "-x", "-C", source, "-f", archive},
		{"go", "-C", source, "build", "-trimpath", "-o", filepath.Join(source, "flovyn-server"), "./cmd/flovyn-server"},
	} {
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("building the previous version (a shallow clone lacks it): %v: %v\n%s", command, err, out)
		}
	}
	return filepath.Join(source, "flovyn-server")
}
