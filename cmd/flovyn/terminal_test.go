package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"github.com/flovyn/flovyn-server/internal/standin"
)

// A screen is a pseudo-terminal with the program in it.
type screen struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File

	// display shows what the program draws, as a terminal does.
	display *vt.Emulator

	mu   sync.Mutex
	text []byte
	news chan struct{}
	done chan struct{}
}

// open runs flovyn in a terminal of 80 columns and 24 lines.
func open(t *testing.T, environ []string, args ...string) *screen {
	t.Helper()
	return openSized(t, 80, 24, environ, args...)
}

func openSized(t *testing.T, width, height int, environ []string, args ...string) *screen {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	s := &screen{
		t: t, cmd: exec.CommandContext(ctx, "flovyn", args...), display: vt.NewEmulator(width, height), news: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TERM=xterm-256color"}, environ...)
	var err error
	if s.file, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
	go s.read()
	// What the program asks its terminal, the display answers.
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(s.file, s.display)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.done
		_ = s.display.InputPipe().(io.Closer).Close() // its own Close races with its Read
		<-answered
		_ = s.file.Close()
	})
	return s
}

func (s *screen) read() {
	defer close(s.done)
	buffer := make([]byte, 4096)
	for {
		n, err := s.file.Read(buffer)
		s.mu.Lock()
		s.text = append(s.text, buffer[:n]...)
		_, _ = s.display.Write(buffer[:n])
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
		if err != nil { // the program has ended
			return
		}
	}
}

// String is all that was written by now.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(string(s.text), "\r\n", "\n")
}

// await waits for a text that matches, and returns what it matched.
func (s *screen) await(pattern string) []string {
	s.t.Helper()
	want := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		if found := want.FindStringSubmatch(s.String()); found != nil {
			return found
		}
		select {
		case <-s.news:
		case <-s.done:
			if found := want.FindStringSubmatch(s.String()); found != nil {
				return found
			}
			s.t.Fatalf("the program ended without %q:\n%s", pattern, s)
		case <-deadline:
			s.t.Fatalf("no %q in time:\n%s", pattern, s)
		}
	}
}

// drawn is what the display shows now.
func (s *screen) drawn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.display.String()
}

// shows waits until the display shows all of these, and returns what it shows.
func (s *screen) shows(wanted ...string) string {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		shown := s.drawn()
		missing := ""
		for _, want := range wanted {
			if !strings.Contains(shown, want) {
				missing = want
			}
		}
		if missing == "" {
			return shown
		}
		select {
		case <-s.news:
		case <-s.done:
			s.t.Fatalf("the program ended without showing %q:\n%s", missing, s.drawn())
		case <-deadline:
			s.t.Fatalf("it does not show %q in time:\n%s", missing, s.drawn())
		}
	}
}

// write types.
func (s *screen) write(text string) {
	s.t.Helper()
	if _, err := s.file.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// code waits for the end.
func (s *screen) code() int {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("the program does not end:\n%s", s)
	}
	_ = s.cmd.Wait() // the code says it
	return s.cmd.ProcessState.ExitCode()
}

// Logging in by the browser, as the guide prints it.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	environ := func(home string) []string { return []string{"HOME=" + home, "FLOVYN_SERVER=" + w.HTTP} }

	t.Run("approved", func(t *testing.T) {
		t.Parallel()
		home := t.TempDir()
		s := open(t, environ(home), "auth", "login", "--no-browser")
		code := s.await(`Enter code: (\S+)\n\nWaiting for authorization\.\.\.`)[1]
		if err := w.app.Decide("john-of-acme", code, true); err != nil {
			t.Fatal(err)
		}
		if got := s.code(); got != 0 {
			t.Fatalf("it ended with %d:\n%s", got, s)
		}
		want := "Visit: " + w.app.URL() + "/device\nEnter code: " + code + "\n\nWaiting for authorization... ✓\n" +
			"Logged in as john@example.com (org: acme)\nToken saved to ~/.flovyn/credentials\n"
		if s.String() != want {
			t.Errorf("it says\n%s\nwant\n%s", s, want)
		}
		file := read(t, filepath.Join(home, ".flovyn", "credentials"))
		shape := regexp.MustCompile(`^\[default\]\ntype = "jwt"\ntoken = "eyJ[\w.-]+"\nexpires_at = "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"\n` +
			`org_slug = "acme"\nserver_url = "` + regexp.QuoteMeta(w.HTTP) + `"\n$`)
		if !shape.MatchString(file) {
			t.Errorf("the credentials are\n%s", file)
		}
		// The token has ended, as it does after five minutes: it is renewed.
		ended := regexp.MustCompile(`expires_at = ".*"`).ReplaceAllString(file, `expires_at = "2025-12-29T12:00:00Z"`)
		ended = regexp.MustCompile(`token = ".*"`).ReplaceAllString(ended, `token = "eyJhbG.old.one"`)
		if err := os.WriteFile(filepath.Join(home, ".flovyn", "credentials"), []byte(ended), 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, []string{"HOME=" + home}, "auth", "whoami")
		if code := again.code(); code != 0 || !strings.Contains(again.String(), "better_auth_jwt") {
			t.Errorf("whoami ended with %d:\n%s", code, again)
		}
		if renewed := read(t, filepath.Join(home, ".flovyn", "credentials")); !shape.MatchString(renewed) || strings.Contains(renewed,
			"2025-12-29") {
			t.Errorf("renewed, the credentials are\n%s", renewed)
		}
		// One that the server does not accept before its time is renewed too.
		spoilt := regexp.MustCompile(`token = ".*"`).ReplaceAllString(file, `token = "eyJhbGciOiJub25lIn0.e30."`)
		if err := os.WriteFile(filepath.Join(home, ".flovyn", "credentials"), []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		if third := open(t, []string{"HOME=" + home}, "org", "get", "-q"); third.code() != 0 || third.String() != "acme\n" {
			t.Errorf("with a spoilt token:\n%s", third)
		}
		if out := open(t, []string{"HOME=" + home}, "auth", "logout"); out.code() != 0 || !strings.Contains(out.String(),
			"Logged out of "+w.HTTP) {
			t.Errorf("logging out:\n%s", out)
		}
	})
	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		home := t.TempDir()
		s := open(t, environ(home), "auth", "login", "--no-browser")
		code := s.await(`Enter code: (\S+)\n`)[1]
		if err := w.app.Decide("john-of-acme", code, false); err != nil {
			t.Fatal(err)
		}
		if got := s.code(); got != 4 || !strings.Contains(s.String(), "... ✗\nflovyn: the login was denied in the browser\n") {
			t.Errorf("it ended with %d:\n%s", got, s)
		}
		if _, err := os.Stat(filepath.Join(home, ".flovyn", "credentials")); !os.IsNotExist(err) {
			t.Errorf("credentials were written (%v)", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		home := t.TempDir()
		s := open(t, environ(home), "auth", "login", "--no-browser")
		s.await(`Waiting for authorization`)
		s.write("\x03")
		if got := s.code(); got != 130 || !strings.Contains(s.String(), "interrupted") {
			t.Errorf("it ended with %d:\n%s", got, s)
		}
		if left, _ := filepath.Glob(filepath.Join(home, ".flovyn", "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("a key, hidden", func(t *testing.T) {
		t.Parallel()
		key := w.app.AddKey(standin.Key{Prefix: "flovyn_sk_", UserID: "john-of-acme", OrgID: "external-acme", Role: "owner"})
		s := open(t, environ(t.TempDir()), "auth", "login", "--api-key")
		s.await(`Enter API key: `)
		s.write(key + "\r")
		if got := s.code(); got != 0 || strings.Contains(s.String(), key) || !strings.Contains(s.String(),
			"Logged in as john-of-acme (org: acme)\n") {
			t.Errorf("it ended with %d:\n%s", got, s)
		}
	})
}

// The app asks to slow down, and the program does.
func TestDeviceFlowSlowDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app.Fail("/api/auth/device/token", standin.SlowDown)
	s := open(t, []string{"HOME=" + t.TempDir(), "FLOVYN_SERVER=" + w.HTTP}, "auth", "login", "--no-browser")
	code := s.await(`Enter code: (\S+)\n`)[1]
	if err := w.app.Decide("john-of-acme", code, true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := until(ctx, func() bool { return w.app.Requests("/api/auth/device/token") > 0 }); err != nil {
		t.Fatal("the app was not asked:", err)
	}
	asked := time.Now()
	w.app.Fail("/api/auth/device/token", nil)
	if got := s.code(); got != 0 || !strings.Contains(s.String(), "Logged in as john@example.com (org: acme)") {
		t.Errorf("it ended with %d:\n%s", got, s)
	}
	if waited := time.Since(asked); waited < 5*time.Second {
		t.Errorf("it asked again after %s, and should have slowed down by five seconds", waited)
	}
}

// A code that nobody approves in time.
func TestDeviceFlowExpires(t *testing.T) {
	t.Parallel()
	app, err := standin.Start(t.Context(), standin.Config{PollInterval: time.Second, DeviceLifetime: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	s := open(t, []string{"HOME=" + t.TempDir()}, "auth", "login", "--no-browser", "--app-url", app.URL())
	if got := s.code(); got != 4 || !strings.Contains(s.String(),
		"flovyn: the code has expired before anybody approved it\nTry again with: flovyn auth login\n") {
		t.Errorf("it ended with %d:\n%s", got, s)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
