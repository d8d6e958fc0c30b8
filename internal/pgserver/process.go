package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = time.Minute
	// killAfter is how long a shutdown that saves nothing may take.
	killAfter = 10 * time.Second
	// afterCrash is how often a start after a crash is tried again.
	afterCrash = 15
	// maxLog is the size at which a start begins a new log file.
	maxLog = 16 << 20
	// tailLength is how much of the log an error shows.
	tailLength = 4 << 10
)

// process is one run of the postmaster.
type process struct {
	cmd    *exec.Cmd
	life   *lifeline
	unlock func()
	// exited is closed when the postmaster has gone; its children may be dying.
	exited chan struct{}
}

// lifeline is a pipe that every process of the server holds open for writing.
// Nobody writes: reading ends when the last of them has gone, children of a
// killed postmaster included.
type lifeline struct{ read, write *os.File }

// wait returns when no process holds the lifeline any more.
func (l *lifeline) wait(timeout time.Duration) error {
	if l.read == nil {
		return nil
	}
	if err := l.read.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("waiting for PostgreSQL's processes: %w", err)
	}
	if _, err := l.read.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("processes of PostgreSQL are still there after %v: %w", timeout, err)
	}
	return nil
}

func (l *lifeline) close() {
	for _, f := range []*os.File{l.read, l.write} {
		if f != nil {
			_ = f.Close() // a pipe without data: closing it twice or late loses nothing
		}
	}
}

// spawn starts the postmaster. It is interrupted when the thread that started it
// dies, and the Go scheduler ends threads at will; hence a goroutine that keeps
// its thread for as long as the postmaster lives.
func spawn(cmd *exec.Cmd) (*process, error) {
	life, err := watch(cmd)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, life: life, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in its log; that it ended is what counts
		close(p.exited)
	}()
	if err := <-started; err != nil {
		life.close()
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	if life.write != nil {
		_ = life.write.Close() // from here on only the server's processes hold it
		life.write = nil
	}
	return p, nil
}

// Restart starts the server again with the same DSN, after it was stopped in any
// way or has died. It fails if the server is running.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.bury(); err != nil {
		return err
	}
	unlock, err := s.dir.lock()
	if err != nil {
		return err
	}
	p, err := s.start(ctx)
	if err != nil {
		unlock()
		return fmt.Errorf("starting PostgreSQL %s in %s: %w", s.install.Version, s.dir, err)
	}
	p.unlock = unlock
	s.proc = p
	return nil
}

// bury clears away a run that ended by itself.
func (s *Server) bury() error {
	if s.proc == nil {
		return nil
	}
	select {
	case <-s.proc.exited:
		return s.finish(s.proc)
	default:
		return &RunningError{DataDir: string(s.dir), PID: s.proc.cmd.Process.Pid}
	}
}

// start makes the cluster if needed and runs the postmaster until it is ready.
func (s *Server) start(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.initCluster(ctx); err != nil {
		return nil, err
	}
	crashed, err := s.dir.clearCrash()
	if err != nil {
		return nil, err
	}
	if s.address.port == 0 {
		if s.address, err = s.chooseAddress(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.address.unlock(); err != nil {
		return nil, err
	}
	p, err := s.startOnce(ctx)
	// After a crash, children that are still dying hold the shared memory for a
	// moment, and a new postmaster rightly refuses to start beside them.
	for range afterCrash {
		if !crashed || !errors.Is(err, errExited) || !pause(ctx, 200*time.Millisecond) {
			break
		}
		p, err = s.startOnce(ctx)
	}
	return p, err
}

var errExited = errors.New("it exited while starting")

func (s *Server) startOnce(ctx context.Context) (*process, error) {
	log, err := s.openLog()
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("reading PostgreSQL's log: %w", err)
	}
	//nolint:noctx // the server outlives the call that starts it
	cmd := exec.Command(filepath.Join(s.install.BinDir, executable("postgres")), s.settings()...)
	cmd.Dir, cmd.Env = string(s.dir), environment()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr = s.runAs.attributes(); cmd.SysProcAttr != nil {
		dieWithParent(cmd.SysProcAttr)
	}
	p, err := spawn(cmd)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx, p); err != nil {
		_ = s.terminate(context.WithoutCancel(ctx), p, kill) // the first error is the one to tell
		p.life.close()
		return nil, fmt.Errorf("%w; the log %s says:\n%s", err, s.dir.log(), tail(s.dir.log(), begin))
	}
	return p, nil
}

// awaitReady connects until that works.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			return errExited
		case <-ctx.Done():
			return fmt.Errorf("it did not become ready (%w): %w", err, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// pause waits, and reports whether ctx allows to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Server) openLog() (*os.File, error) {
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if info, err := os.Stat(s.dir.log()); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	log, err := os.OpenFile(s.dir.log(), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening PostgreSQL's log: %w", err)
	}
	return log, nil
}

// tail returns the end of the log, of what was written since begin.
func tail(path string, begin int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		begin = max(begin, end-tailLength)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, begin, tailLength))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// postmasterPID returns the process that claims the cluster, 0 if none does.
func (d directory) postmasterPID() int {
	b, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0
	}
	// A standalone backend writes its id negated.
	return max(pid, -pid)
}

// clearCrash removes what a killed postmaster left behind and reports whether
// there was any. A live postmaster is an error: two would destroy the data.
//
// PostgreSQL removes a dead predecessor's files itself, unless its process id
// has been taken by another process since; then it waits for a person.
func (d directory) clearCrash() (bool, error) {
	pidFile := filepath.Join(d.data(), "postmaster.pid")
	if _, err := os.Stat(pidFile); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	pid := d.postmasterPID()
	if pid != 0 && exists(pid) && holdsCluster(pid, d.data()) {
		return false, &RunningError{DataDir: string(d), PID: pid}
	}
	if pid != 0 && !exists(pid) {
		return true, nil
	}
	if err := disown(pidFile); err != nil {
		return false, fmt.Errorf("releasing a stale pid file: %w", err)
	}
	return true, nil
}

// disown puts our process id into a stale pid file. A postmaster takes its own
// parent's id for a recycled one and goes on to its other check, whether children
// of the dead postmaster still use the shared memory that the file names.
// Removing the file would skip that check.
func disown(pidFile string) error {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(b), "\n")
	return os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600)
}
