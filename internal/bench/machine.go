package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/pgserver"
)

// Who the benchmark is to the servers.
const (
	// OrgID is the organization that is measured.
	OrgID    = "550e8400-e29b-41d4-a716-446655440000"
	orgSlug  = "bench"
	otherOrg = "650e8400-e29b-41d4-a716-446655440000"
	userKey  = "flovyn_sk_bench"
	// WorkerKey is what its workers present.
	WorkerKey = "flovyn_wk_bench"
)

// Machine is a durable PostgreSQL, and the servers and workers that use it.
type Machine struct {
	dir      string
	postgres *pgserver.Server
	dsn      string
	sql      *pgx.Conn
}

// NewMachine starts a PostgreSQL that syncs every commit to the disk.
func NewMachine(ctx context.Context) (*Machine, error) {
	dir, err := os.MkdirTemp("/var/tmp", "flovyn-bench") // not /tmp, which may be memory
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir}
	if err := m.start(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) start(ctx context.Context) error {
	if err := os.Chmod(m.dir, 0o755); err != nil { //nolint:gosec // the database may run as another user
		return err
	}
	var err error
	m.postgres, err = pgserver.Start(ctx, pgserver.Config{
		DataDir: filepath.Join(m.dir, "pg"), Logger: slog.New(slog.DiscardHandler),
		Settings: map[string]string{
			"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top",
			"shared_buffers": "512MB", "max_connections": "200", "max_wal_size": "4GB",
		},
	})
	if err != nil {
		return fmt.Errorf("starting PostgreSQL (pg_stat_statements is in its contrib package): %w", err)
	}
	if err := m.postgres.CreateDatabase(ctx, "bench"); err != nil {
		return err
	}
	m.dsn = m.postgres.DSN("bench")
	if m.sql, err = pgx.Connect(ctx, m.dsn); err != nil {
		return err
	}
	return m.exec(ctx, `CREATE EXTENSION pg_stat_statements`, `CREATE TABLE bench_row (id uuid PRIMARY KEY, note text)`)
}

// Close stops the database and removes it.
func (m *Machine) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if m.sql != nil {
		_ = m.sql.Close(ctx)
	}
	if m.postgres != nil {
		_ = m.postgres.Stop(ctx)
	}
	_ = os.RemoveAll(m.dir)
}

func (m *Machine) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := m.sql.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

// Counts are what the database and a server counted so far, or between two
// moments.
type Counts struct {
	// Commits are transactions, reads included; Syncs are flushes of the WAL.
	Commits, Syncs int64
	// Rows inserted, updated and deleted.
	Rows int64
	// Statements sent, BEGIN and COMMIT included.
	Statements int64
	// WAL in bytes.
	WAL int64
	// CPU time of the server.
	CPU time.Duration
}

// sub returns what was counted since.
func (c Counts) sub(since Counts) Counts {
	return Counts{
		Commits: c.Commits - since.Commits, Syncs: c.Syncs - since.Syncs, Rows: c.Rows - since.Rows,
		Statements: c.Statements - since.Statements, WAL: c.WAL - since.WAL, CPU: c.CPU - since.CPU,
	}
}

// Counts reads the counters. Sessions report theirs a moment after they become
// idle, so it reads until they stand still.
func (m *Machine) Counts(ctx context.Context, servers ...*Process) (Counts, error) {
	last, still := Counts{}, 0
	for still < 3 {
		now, err := m.read(ctx, servers)
		if err != nil {
			return Counts{}, err
		}
		if now.Rows == last.Rows && now.WAL == last.WAL {
			still++
		} else {
			still = 0
		}
		last = now
		select {
		case <-ctx.Done():
			return Counts{}, ctx.Err()
		case <-time.After(4 * time.Second):
		}
	}
	return last, nil
}

func (m *Machine) read(ctx context.Context, servers []*Process) (Counts, error) {
	var c Counts
	err := m.sql.QueryRow(ctx, `
		SELECT d.xact_commit, w.wal_sync, w.wal_bytes::bigint,
		       (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables),
		       (SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_%')
		FROM pg_stat_database d, pg_stat_wal w WHERE d.datname = 'bench'`).
		Scan(&c.Commits, &c.Syncs, &c.WAL, &c.Rows, &c.Statements)
	if err != nil {
		return c, fmt.Errorf("reading counters: %w", err)
	}
	for _, server := range servers {
		cpu, err := server.CPU()
		if err != nil {
			return c, err
		}
		c.CPU += cpu
	}
	return c, nil
}

// Process is a server or a worker.
type Process struct {
	cmd *exec.Cmd
	// HTTP and GRPC are a server's addresses.
	HTTP, GRPC string
	// Ready is how long a server took from its start until it answered.
	Ready time.Duration
	log   *bytes.Buffer
	done  chan struct{}
}

// freePort returns a port that nobody has at the moment.
func freePort(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

// Server starts a server from a binary and waits until it is ready. Further
// settings are variables of the environment.
func (m *Machine) Server(ctx context.Context, binary string, settings ...string) (*Process, error) {
	httpPort, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	grpcPort, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	key := func(key, principal, role string) string {
		return fmt.Sprintf(`{"key":%q,"org_id":%q,"principal_type":%q,"principal_id":"bench"%s}`, key, OrgID, principal, role)
	}
	environment := append(os.Environ(),
		"DATABASE_URL="+m.dsn, "SERVER__HOST=127.0.0.1", "SERVER_PORT="+httpPort, "GRPC_SERVER_PORT="+grpcPort,
		fmt.Sprintf(`ORGS=[{"id":%q,"slug":%q,"name":"Bench"}]`, OrgID, orgSlug),
		"AUTH__ENDPOINTS__HTTP__AUTHENTICATORS=static_api_key", "AUTH__ENDPOINTS__GRPC__AUTHENTICATORS=static_api_key",
		"AUTH__STATIC_API_KEY__KEYS=["+key(userKey, "User", `,"role":"OWNER"`)+","+key(WorkerKey, "Worker", "")+"]",
	)
	p, err := start(ctx, append(environment, settings...), nil, binary)
	if err != nil {
		return nil, err
	}
	p.HTTP, p.GRPC = "127.0.0.1:"+httpPort, "127.0.0.1:"+grpcPort
	began := time.Now()
	if err := p.waitReady(ctx); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w\n%s", err, p.log.String())
	}
	p.Ready = time.Since(began)
	return p, nil
}

func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP+"/_/health/ready", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return errors.New("the server ended before it was ready")
		case <-ctx.Done():
			return errors.New("the server did not become ready within a minute")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// start starts a process of its own group, which ends with this one.
func start(ctx context.Context, environment []string, stdout *os.File, name string, arguments ...string) (*Process, error) {
	p := &Process{log: &bytes.Buffer{}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), name, arguments...)
	p.cmd.Env, p.cmd.Stderr = environment, p.log
	if stdout != nil {
		p.cmd.Stdout = stdout
	} else {
		p.cmd.Stdout = p.log
	}
	p.cmd.SysProcAttr = endWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop asks the process to end, and makes it after a while.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// CPU returns the processor time that the process has used.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time (Linux only): %w", err)
	}
	// The name, in parentheses, may hold spaces; utime and stime are the 12th and
	// 13th fields after it, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Memory returns the bytes of memory that the process occupies.
func (p *Process) Memory() (int64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory in use (Linux only): %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.Join(errors.New("no VmRSS in the process's status"), lines.Err())
}
