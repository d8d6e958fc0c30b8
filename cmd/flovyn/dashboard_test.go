package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/cli"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
)

// flovyn runs a command in this process, and returns what it prints.
func (w *world) flovyn(t *testing.T, org string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	code := cli.Run(ctx, cli.Config{
		Args: args, Environ: []string{"HOME=" + t.TempDir(), "FLOVYN_SERVER=" + w.HTTP, "FLOVYN_API_KEY=admin_of_" + org},
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	})
	if code != 0 {
		t.Fatalf("flovyn %s ended with %d:\n%s", strings.Join(args, " "), code, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// The screen, from its first list to a signal that is sent, on 80 by 24 and
// without colour.
func TestDashboard(t *testing.T) {
	t.Parallel()
	const org = "org-dashboard"
	w := newWorld(t, org)
	c, err := client.New(client.Config{URL: w.GRPC, Token: "worker_of_" + org})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	worker, err := flow.NewWorker(c, flow.Options{Org: w.orgs[org].String(), Name: "worker-1", MaxWorkflows: 2, MaxTasks: 2, GracePeriod: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	register(worker)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	w.flovyn(t, org, "workflow", "start", "greet", "--input", `"Ada"`, "--wait", "--timeout", "1m")
	live := w.flovyn(t, org, "workflow", "start", "await", "-q")
	// A terminal that can do little, as over a bad line.
	environ := []string{"HOME=" + t.TempDir(), "TERM=linux", "NO_COLOR=1", "FLOVYN_SERVER=" + w.HTTP, "FLOVYN_API_KEY=admin_of_" + org}
	s := open(t, environ, "dashboard")

	// A list, which is kept fresh.
	list := s.shows("[Workflows]", "● live", "COMPLETED", "greet", "WAITING", "await", "2 of 2")
	if strings.Contains(s.String(), "\x1b[3") && regexp.MustCompile(`\x1b\[3[0-7]m`).MatchString(s.String()) {
		t.Error("it is coloured")
	}
	w.flovyn(t, org, "workflow", "start", "stumble", "-q")
	s.shows("stumble", "FAILED", "3 of 3")

	// A filter.
	s.write("/await")
	s.shows("Filter: await", "WAITING")
	s.write("\r")
	s.shows(`1 of 3 match "await"; esc shows all`)

	// One workflow, its events and its timeline.
	s.write("\r")
	overview := s.shows("[Overview]", live, "queue")
	s.write("2")
	events := s.shows("[Events]", "WORKFLOW_STARTED", "STATE_SET")
	s.write("3")
	drawn := s.shows("[Timeline]", "await", "queued")

	// A signal, with two questions and a confirmation.
	s.write("s")
	s.shows("Name of the signal:")
	s.write("go\r")
	s.shows("Value, as JSON: null")
	s.write("\x15" + `{"by":"jane"}` + "\r")
	s.shows(`Send go {"by":"jane"}? (y/n)`)
	s.write("n")
	s.shows("Nothing was done.")
	s.write("s")
	s.shows("Name of the signal:")
	s.write("go\r")
	s.shows("Value, as JSON:")
	s.write("\ry")
	s.shows("COMPLETED", "Sent signal go")

	// Cancelling and retrying ask first, and only where it makes sense.
	s.write("c")
	s.shows("It has ended already.")
	s.write("\x1b")
	s.shows("[Workflows]", `1 of 3 match "await"`, "COMPLETED")
	s.write("\x1b")
	s.shows("[Workflows]", "3 of 3")
	s.write("/stumble\r\r")
	s.shows("[Overview]", "the ground was wet")
	s.write("R")
	s.shows("Retry ", "? (y/n)")
	s.write("y")
	s.shows("Retrying ")

	// The other lists, and the help.
	s.write("\x1b")
	s.shows("[Workflows]", "STATUS")
	s.write("W")
	workers := s.shows("[Workers]", "worker-1", "ONLINE")
	s.write("t")
	s.shows("[Tasks]", "Nothing has been started yet.")
	s.write("?")
	help := s.shows("Any key closes this help.")
	s.write("x")
	s.shows("[Tasks]")
	s.write("q")
	if code := s.code(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	writeScreens(t, w, []capture{
		{"The list", list}, {"A workflow", overview}, {"Its events", events}, {"Its timeline", drawn}, {"Workers", workers}, {"Help", help},
	})
}

// A capture is what the display showed.
type capture struct{ title, screen string }

const screensHead = `# The dashboard

` + "`flovyn dashboard`" + ` fills the terminal with the workflows, tasks and workers of an organization, and keeps them fresh by a
stream. The screens below are captures of a real run, at 80 columns and 24 lines and without colour; they are written by
` + "`go test ./cmd/flovyn -run TestDashboard -update`" + `. Actions (cancel, retry, signal) ask before anything is done.
`

// writeScreens keeps the captures in the documents, and makes sure that the
// document has each.
func writeScreens(t *testing.T, w *world, captures []capture) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "dashboard.md")
	var b strings.Builder
	b.WriteString(screensHead)
	for _, c := range captures {
		b.WriteString("\n## " + c.title + "\n\n```\n")
		address := "http://localhost:8000"
		for line := range strings.Lines(strings.ReplaceAll(c.screen, w.HTTP, address+strings.Repeat(" ", max(0, len(w.HTTP)-len(address))))) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		b.WriteString("```\n")
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	text := read(t, path)
	for _, c := range captures {
		if !strings.Contains(text, "\n## "+c.title+"\n") {
			t.Errorf("%s has no screen %q; write it with -update", path, c.title)
		}
	}
}

// Where there is no terminal there is no dashboard.
func TestDashboardNeedsATerminal(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	w := newWorld(t, "org-pipe")
	code := cli.Run(t.Context(), cli.Config{
		Args: []string{"dashboard"}, Environ: []string{"HOME=" + t.TempDir(), "FLOVYN_SERVER=" + w.HTTP, "FLOVYN_API_KEY=admin_of_org-pipe"},
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	})
	if code != 1 || !strings.Contains(errs.String(), "needs a terminal") {
		t.Errorf("%d %s", code, errs.String())
	}
}
