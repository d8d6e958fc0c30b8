package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/pgserver"
	"github.com/flovyn/flovyn-server/internal/pgtest"
)

const (
	// activationLimit and silenceLimit are the servers' patience with workers.
	activationLimit = 2 * time.Second
	silenceLimit    = 3 * time.Second
	abandonLimit    = 15 * time.Second
	// maxConnections is all that the database has.
	maxConnections = 40
	// diskMiB is the size of the file system that the database is on.
	diskMiB = 768
)

// stage is everything that a torture is played on.
type stage struct {
	t       *testing.T
	db      *pgserver.Server
	dsn     string // the database, past all proxies
	disk    string // the small file system, empty where there is none
	servers []*process
	workers []*process
	// toDB and toServer are the networks before each server.
	toDB, toServer []*proxy
	effects        string // the directory of the workers' notes
	skewed         bool   // whether clocks can be skewed
	// database is held by whoever does something to it.
	database sync.Mutex
}

func setStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, effects: t.TempDir()}
	s.startDatabase()
	s.dsn = pgtest.NewOn(t, s.db)
	for i := range 2 {
		toDB := newProxy(t, databaseAddress(t, s.dsn, "network"), databaseAddress(t, s.dsn, "address"))
		server := startServer(t, role{
			Name: fmt.Sprint("server", i), Database: throughProxy(t, s.dsn, toDB), MaxConnections: 8,
			Activation: activationLimit, Silence: silenceLimit, Abandon: abandonLimit,
		})
		s.toDB, s.servers = append(s.toDB, toDB), append(s.servers, server)
		s.toServer = append(s.toServer, newProxy(t, "tcp", "127.0.0.1:"+strconv.Itoa(server.role.GRPCPort)))
	}
	for _, server := range s.servers {
		server.awaitReady(time.Minute)
	}
	for i := range 4 {
		url := "http://" + s.toServer[i%2].address()
		s.workers = append(s.workers, startWorker(t, fmt.Sprint("worker", i), url, s.effects))
	}
	s.findSkew()
	return s
}

// startDatabase starts PostgreSQL on a small file system of its own if the system
// lets us make one.
func (s *stage) startDatabase() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "flovyn-torture-")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := mountSmall(dir, diskMiB); err != nil {
		s.t.Logf("the disk cannot be filled here: mounting a small file system: %v", err)
		s.db = pgtest.Server(s.t)
		return
	}
	s.disk = dir
	s.t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			s.t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.db, err = pgserver.Start(ctx, pgserver.Config{DataDir: filepath.Join(dir, "pg"), Settings: map[string]string{
		"max_connections": strconv.Itoa(maxConnections), "shared_buffers": "64MB", "max_wal_size": "96MB", "min_wal_size": "32MB",
		"checkpoint_timeout": "30s",
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.db.StopImmediate(ctx); err != nil {
			s.t.Errorf("stopping the database: %v", err)
		}
	})
}

// databaseAddress returns the network or the address at which a database listens.
func databaseAddress(t *testing.T, dsn, what string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	if filepath.IsAbs(cfg.Host) {
		network, address = "unix", filepath.Join(cfg.Host, ".s.PGSQL."+strconv.Itoa(int(cfg.Port)))
	}
	if what == "network" {
		return network
	}
	return address
}

func throughProxy(t *testing.T, dsn string, p *proxy) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: p.address(), Path: "/" + cfg.Database,
		RawQuery: url.Values{"sslmode": {"disable"}, "connect_timeout": {"5"}}.Encode(),
	}
	return u.String()
}

// findSkew finds out whether this binary reads a clock that can be skewed.
func (s *stage) findSkew() {
	s.t.Helper()
	server := s.servers[0]
	server.setEnv("FLOVYN_CLOCK_SKEW_SECONDS=-7200")
	server.signal(syscall.SIGKILL)
	var of stats
	err := eventually(s.t.Context(), time.Minute, func() error {
		if err := server.get(s.t.Context(), fmt.Sprintf("http://127.0.0.1:%d/", server.role.StatsPort), &of); err != nil {
			return err
		}
		if server.runs() < 2 {
			return errors.New("the first run still answers")
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("the server did not come back: %v", err)
	}
	s.skewed = time.Since(of.Clock) > time.Hour
	server.setEnv()
	if !s.skewed {
		s.t.Log("clocks cannot be skewed: `make torture` builds with a clock that can")
	}
}

// A torment is a fault: what it is called, and how it is done. It ends with what it
// broke mended.
type torment struct {
	name string
	do   func(ctx context.Context, r *rand.Rand) error
}

func (s *stage) torments() []torment {
	all := []torment{
		{"kill a server", func(_ context.Context, r *rand.Rand) error { return s.kill(pick(r, s.servers)) }},
		{"kill a worker", func(_ context.Context, r *rand.Rand) error { return s.kill(pick(r, s.workers)) }},
		{"stop a worker", func(_ context.Context, r *rand.Rand) error {
			pick(r, s.workers).signal(syscall.SIGTERM)
			return nil
		}},
		{"restart the database", s.restartDatabase},
		{"kill the database", s.killDatabase},
		{"freeze a server", func(ctx context.Context, r *rand.Rand) error { return freeze(ctx, r, pick(r, s.servers)) }},
		{"freeze a worker", func(ctx context.Context, r *rand.Rand) error { return freeze(ctx, r, pick(r, s.workers)) }},
		{"cut a server off the database", func(ctx context.Context, r *rand.Rand) error { return cut(ctx, r, pick(r, s.toDB)) }},
		{"cut workers off a server", func(ctx context.Context, r *rand.Rand) error { return cut(ctx, r, pick(r, s.toServer)) }},
		{"stall a server's database", func(ctx context.Context, r *rand.Rand) error { return stall(ctx, r, pick(r, s.toDB)) }},
		{"stall workers", func(ctx context.Context, r *rand.Rand) error { return stall(ctx, r, pick(r, s.toServer)) }},
		{"exhaust the connections", s.exhaust},
	}
	if s.disk != "" {
		all = append(all, torment{"fill the disk", s.fill})
	}
	if s.skewed {
		all = append(all, torment{"skew a server's clock", s.skew})
	}
	return all
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// a moment between two bounds.
func moment(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *stage) kill(p *process) error {
	p.signal(syscall.SIGKILL)
	return nil
}

// skew lets a server go on with a clock that is minutes off.
func (s *stage) skew(_ context.Context, r *rand.Rand) error {
	p := pick(r, s.servers)
	p.setEnv("FLOVYN_CLOCK_SKEW_SECONDS=" + strconv.Itoa(r.IntN(1800)-900))
	return s.kill(p)
}

// freeze stops a process for longer than the servers' patience.
func freeze(ctx context.Context, r *rand.Rand, p *process) error {
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	sleep(ctx, moment(r, activationLimit, 3*activationLimit))
	return nil
}

func cut(ctx context.Context, r *rand.Rand, p *proxy) error {
	defer p.heal()
	p.sever()
	sleep(ctx, moment(r, 50*time.Millisecond, 3*time.Second))
	return nil
}

// stall holds everything up for a while; half of the time the connections are
// then gone.
func stall(ctx context.Context, r *rand.Rand, p *proxy) error {
	defer p.heal()
	p.stall()
	sleep(ctx, moment(r, 500*time.Millisecond, 4*time.Second))
	if r.IntN(2) == 0 {
		p.sever()
	}
	return nil
}

func (s *stage) restartDatabase(ctx context.Context, r *rand.Rand) error {
	s.database.Lock()
	defer s.database.Unlock()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := s.db.StopImmediate(bounded); err != nil {
		return err
	}
	sleep(ctx, moment(r, 10*time.Millisecond, 2*time.Second))
	return s.db.Restart(bounded)
}

func (s *stage) killDatabase(ctx context.Context, _ *rand.Rand) error {
	s.database.Lock()
	defer s.database.Unlock()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := s.db.Kill(bounded); err != nil {
		return err
	}
	return s.db.Restart(bounded)
}

// exhaust takes all connections that the database has left.
func (s *stage) exhaust(ctx context.Context, r *rand.Rand) error {
	s.database.Lock()
	defer s.database.Unlock()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var held []*pgx.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close(bounded)
		}
	}()
	for until := time.Now().Add(moment(r, time.Second, 3*time.Second)); time.Now().Before(until); {
		conn, err := pgx.Connect(bounded, s.dsn)
		if err != nil { // all taken: one that a server gives up is taken too
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		if held = append(held, conn); len(held) > 400 {
			break
		}
	}
	if len(held) == 0 {
		return errors.New("not one connection was to be had")
	}
	return nil
}

// fill leaves the database no room. When it gives up, it is started again once
// there is room.
func (s *stage) fill(ctx context.Context, r *rand.Rand) (err error) {
	s.database.Lock()
	defer s.database.Unlock()
	ballast := filepath.Join(s.disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	exited := s.db.Exited()
	block := make([]byte, 1<<20)
	for until := time.Now().Add(moment(r, time.Second, 4*time.Second)); time.Now().Before(until) && ctx.Err() == nil; {
		if _, err := f.Write(block); err != nil {
			_, _ = f.Write(block[:4<<10]) // and the last bit
			sleep(ctx, 20*time.Millisecond)
		}
	}
	err = errors.Join(f.Close(), os.Remove(ballast))
	select {
	case <-exited:
	case <-time.After(time.Second): // it may still be about to give up
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	select {
	case <-exited:
		return errors.Join(err, s.db.Restart(bounded))
	default:
		return err
	}
}

// heal mends everything and makes sure of it.
func (s *stage) heal() {
	s.t.Helper()
	for _, p := range slices.Concat(s.toDB, s.toServer) {
		p.heal()
	}
	for _, p := range slices.Concat(s.servers, s.workers) {
		p.signal(syscall.SIGCONT)
	}
	s.database.Lock()
	defer s.database.Unlock()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	select {
	case <-s.db.Exited():
		if err := s.db.Restart(ctx); err != nil {
			s.t.Errorf("starting the database again: %v", err)
		}
	default:
	}
}
