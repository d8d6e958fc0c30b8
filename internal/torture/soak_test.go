package torture

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/pgtest"
)

var (
	soakFor  = flag.Duration("soak", 8*time.Second, "how long TestSoak lasts")
	soakRate = flag.Float64("soak-rate", 3, "ordeals that TestSoak starts in a second")
	soakCSV  = flag.String("soak-csv", "", "where TestSoak writes its samples")
	soakSVG  = flag.String("soak-svg", "", "where TestSoak writes its plot")
)

// The soak is judged only when it lasts long enough to tell growth from warming
// up: the cache of histories takes some minutes to reach its bound.
const soakJudged = 10 * time.Minute

// sample is what a server consumes at a moment.
type sample struct {
	At          time.Duration
	Goroutines  int
	Connections int // to the database
	Files       int // open descriptors
	RSS         int // MiB
	Heap        int // MiB
	Done        int // ordeals so far
}

func (s sample) row() []string {
	return []string{
		strconv.FormatFloat(s.At.Seconds(), 'f', 1, 64), strconv.Itoa(s.Goroutines), strconv.Itoa(s.Connections),
		strconv.Itoa(s.Files), strconv.Itoa(s.RSS), strconv.Itoa(s.Heap), strconv.Itoa(s.Done),
	}
}

var sampleHeader = []string{"seconds", "goroutines", "connections", "files", "rss_mib", "heap_mib", "ordeals"}

// TestSoak runs a server under a bounded load and samples what it consumes.
// `make soak DURATION=1h` runs it for long; then it fails on growth.
func TestSoak(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewOn(t, pgtest.Server(t))
	s := startServer(t, role{
		Name: "server", Database: dsn, MaxConnections: 10,
		Activation: 30 * time.Second, Silence: time.Minute, Abandon: 10 * time.Minute,
	})
	s.awaitReady(time.Minute)
	startWorker(t, "worker", s.url(), t.TempDir())

	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), *soakFor)
	defer cancel()
	load := &load{t: t, s: s}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		load.run(ctx)
	}()
	samples := s.watch(ctx, dsn, load)
	<-ended
	if load.done == 0 {
		t.Error("not a single ordeal was run")
	}
	if s.starts != 1 {
		t.Errorf("the server had to be started %d times", s.starts)
	}
	t.Logf("%d ordeals in %v; last sample %+v", load.done, *soakFor, samples[len(samples)-1])
	if err := report(samples); err != nil {
		t.Error(err)
	}
	if *soakFor >= soakJudged {
		judge(t, samples)
	}
}

// load starts ordeals at a rate, a bounded number of them at once.
type load struct {
	t *testing.T
	s *process

	mu   sync.Mutex
	done int
}

func (l *load) run(ctx context.Context) {
	c := newClient(l.t, l.s.url())
	ticks := time.NewTicker(time.Duration(float64(time.Second) / *soakRate))
	defer ticks.Stop()
	slots := make(chan struct{}, 16)
	var group sync.WaitGroup
	ballast := strings.Repeat("x", 8<<10)
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
			continue
		case <-ticks.C:
		}
		select {
		case <-ctx.Done():
			continue
		case slots <- struct{}{}:
		}
		group.Go(func() {
			defer func() { <-slots }()
			// What was begun is also ended, after the time is over.
			if err := runOne(context.WithoutCancel(ctx), c, ordeal{N: n, Ballast: ballast}, 2*time.Minute); err != nil {
				l.t.Error(err)
				return
			}
			l.mu.Lock()
			l.done++
			l.mu.Unlock()
		})
	}
	group.Wait()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// watch takes samples until ctx ends.
func (p *process) watch(ctx context.Context, dsn string, l *load) (samples []sample) {
	p.t.Helper()
	background := context.WithoutCancel(ctx)
	conn, err := pgx.Connect(background, dsn)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close(background) }()
	begin := time.Now()
	interval := min(max(*soakFor/700, time.Second), 5*time.Second)
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		s, err := p.sample(background, conn)
		if err != nil {
			p.t.Errorf("taking a sample: %v", err)
		}
		s.At, s.Done = time.Since(begin), l.count()
		samples = append(samples, s)
		select {
		case <-ctx.Done():
			return samples
		case <-ticks.C:
		}
	}
}

func (p *process) sample(ctx context.Context, conn *pgx.Conn) (s sample, err error) {
	var of stats
	if err := p.get(ctx, fmt.Sprintf("http://127.0.0.1:%d/", p.role.StatsPort), &of); err != nil {
		return s, err
	}
	s.Goroutines, s.Heap = of.Goroutines, int(of.Heap>>20)
	err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&s.Connections)
	if err != nil {
		return s, err
	}
	if pid := p.pid(); pid != 0 { // zero where there is no /proc
		s.RSS = residentMiB(pid)
		files, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		s.Files = len(files)
	}
	return s, nil
}

func residentMiB(pid int) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize() >> 20
}

// report writes the samples and the plot, where that was asked for.
func report(samples []sample) error {
	if *soakCSV != "" {
		f, err := os.Create(*soakCSV)
		if err != nil {
			return err
		}
		defer f.Close()
		w := csv.NewWriter(f)
		_ = w.Write(sampleHeader) // the error comes with the last record
		for _, s := range samples {
			_ = w.Write(s.row())
		}
		if w.Flush(); w.Error() != nil {
			return w.Error()
		}
	}
	if *soakSVG != "" {
		return os.WriteFile(*soakSVG, plot(samples), 0o644)
	}
	return nil
}

// A gauge is one of the things that must not grow, and by how much it may
// wander.
type gauge struct {
	name  string
	of    func(sample) int
	slack int
}

var gauges = []gauge{
	{"goroutines", func(s sample) int { return s.Goroutines }, 20},
	{"database connections", func(s sample) int { return s.Connections }, 2},
	{"open files", func(s sample) int { return s.Files }, 10},
	{"resident memory, MiB", func(s sample) int { return s.RSS }, 16},
	{"heap in use, MiB", func(s sample) int { return s.Heap }, 16},
}

// judge compares the second third of the soak with the last one. The first is
// for warming up.
func judge(t *testing.T, samples []sample) {
	t.Helper()
	third := len(samples) / 3
	for _, g := range gauges {
		before, after := g.median(samples[third:2*third]), g.median(samples[2*third:])
		t.Logf("%s: median %d in the second third, %d in the last", g.name, before, after)
		if after > before+before/10+g.slack {
			t.Errorf("%s grew from %d to %d", g.name, before, after)
		}
	}
}

func (g gauge) median(samples []sample) int {
	values := make([]int, len(samples))
	for i, s := range samples {
		values[i] = g.of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// TestJudge checks the judge: flat is fine, growth is not.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, g := range gauges {
		var flat, growing []sample
		for i := range 300 {
			flat = append(flat, sample{Goroutines: 100, Connections: 10, Files: 50, RSS: 200, Heap: 90})
			n := 100 + i
			growing = append(growing, sample{Goroutines: n, Connections: n, Files: n, RSS: n, Heap: n})
		}
		if a, b := g.median(flat[100:200]), g.median(flat[200:]); b > a {
			t.Errorf("%s: flat samples have medians %d and %d", g.name, a, b)
		}
		if a, b := g.median(growing[100:200]), g.median(growing[200:]); b <= a+a/10+g.slack {
			t.Errorf("%s: growth from %d to %d goes unnoticed", g.name, a, b)
		}
	}
}
