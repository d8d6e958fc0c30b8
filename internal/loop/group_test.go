package loop_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/loop"
)

// part is a background part that writes down what happens to it.
type part struct {
	name    string
	record  func(string)
	delay   time.Duration
	fail    error
	started chan struct{}
}

func (p *part) Name() string { return p.name }

func (p *part) Start(ctx context.Context) error {
	if p.fail != nil {
		return p.fail
	}
	p.record("start " + p.name)
	p.started = make(chan struct{})
	time.AfterFunc(p.delay, func() {
		p.record("started " + p.name)
		close(p.started)
	})
	if ctx.Done() != nil {
		p.record("cancelable " + p.name)
	}
	return nil
}

func (p *part) Started() <-chan struct{} { return p.started }
func (p *part) Stop()                    { p.record("stop " + p.name) }

// group makes a group of parts a, b and c, and a function that checks the record.
func group(t *testing.T, change func(parts []*part)) (*loop.Group, func(want string)) {
	t.Helper()
	var mu sync.Mutex
	var log []string
	record := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, s)
	}
	var parts []*part
	for _, name := range []string{"a", "b", "c"} {
		parts = append(parts, &part{name: name, record: record, delay: time.Second})
	}
	change(parts)
	return loop.NewGroup("all", parts[0], parts[1], parts[2]), func(want string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(want, strings.Join(log, ", ")); diff != "" {
			t.Errorf("other things happened (-want +got):\n%s", diff)
		}
	}
}

const up = "start a, started a, start b, started b, start c, started c"

func TestGroupOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, happened := group(t, func([]*part) {})
		start(t, g)
		<-g.Started()
		happened(up)
		if err := g.Start(t.Context()); err == nil {
			t.Error("a running group was started again")
		}
		g.Stop()
		g.Stop()
		happened(up + ", stop c, stop b, stop a")
		start(t, g)
		g.Stop()
		happened(up + ", stop c, stop b, stop a, " + up + ", stop c, stop b, stop a")
	})
}

func TestGroupEndOfContextStopsInReverse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, happened := group(t, func([]*part) {})
		ctx, cancel := context.WithCancel(t.Context())
		if err := g.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		happened(up + ", stop c, stop b, stop a")
	})
}

func TestGroupStartFailureStopsTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		g, happened := group(t, func(parts []*part) { parts[2].fail = broken })
		if err := g.Start(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "starting c") {
			t.Errorf("got %v", err)
		}
		happened("start a, started a, start b, started b, stop b, stop a")
		g.Stop()
	})
}

func TestGroupStartCanBeCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, happened := group(t, func(parts []*part) { parts[1].delay = time.Hour })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		happened("start a, started a, start b, stop b, stop a")
		pass(2 * time.Hour) // the part's own timer
	})
}

func TestGroupOfLoops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		one := loop.New("one", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet)
		inner := loop.NewGroup("inner", loop.New("two", time.Minute, 0, func(context.Context) error { d.note(); return nil }, quiet))
		g := loop.NewGroup("outer", one, inner)
		start(t, g)
		pass(time.Minute + time.Second)
		g.Stop()
		d.want(t, 0, 0, time.Minute, time.Minute)
		var names []string
		for _, p := range g.Parts() {
			names = append(names, p.Name())
		}
		if diff := cmp.Diff([]string{"one", "inner"}, names); diff != "" {
			t.Errorf("Parts (-want +got):\n%s", diff)
		}
	})
}
