package wake_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// wire connects buses without a database, and can break.
type wire struct {
	mu        sync.Mutex
	sendings  [][]string
	listeners []func(string)
	broken    chan struct{} // closed to end all listening
	refuse    bool
}

func (w *wire) Notify(_ context.Context, payloads []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse {
		return errors.New("the wire is cut")
	}
	w.sendings = append(w.sendings, payloads)
	for _, receive := range w.listeners {
		for _, p := range payloads {
			receive(p)
		}
	}
	return nil
}

func (w *wire) Listen(ctx context.Context, ready func(), receive func(string)) error {
	w.mu.Lock()
	broken := w.broken
	w.listeners = append(w.listeners, receive)
	w.mu.Unlock()
	ready()
	select {
	case <-broken:
		return errors.New("the wire is cut")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hints collects what a bus received.
type hints struct {
	mu   sync.Mutex
	got  []string
	gaps int
}

func (h *hints) bus(t *testing.T, w wake.Wire) *wake.Bus {
	t.Helper()
	b := wake.NewBus(w, slog.New(slog.DiscardHandler), func(hint wake.Hint) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, fmt.Sprint(hint.Class, " ", hint.Org, " ", hint.Name))
	}, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.gaps++
	})
	b.Start(t.Context())
	t.Cleanup(b.Stop)
	return b
}

func (h *hints) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got = nil
	slices.Sort(got)
	return got
}

func (h *hints) countGaps() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gaps
}

func TestHintsReachTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &wire{broken: make(chan struct{})}
		var here, there hints
		a, _ := here.bus(t, w), there.bus(t, w)
		synctest.Wait()
		org := flovyn.OrgID(uuid.New())
		for range 1000 {
			a.Publish("workflow", wake.Key{Org: org, Queue: "q"})
			a.Publish("task", wake.Key{Org: org, Queue: `odd "queue" é`})
		}
		a.Publish("workflow", wake.Key{Org: org, Queue: strings.Repeat("x", 9000)}) // too long to be sent
		<-time.After(time.Second)
		want := []string{fmt.Sprintf(`task %s odd "queue" é`, org), fmt.Sprintf("workflow %s q", org)}
		got := there.take()
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Error(diff)
		}
		if len(got) > 4 || len(w.sendings) > 2 {
			t.Errorf("%d hints in %d sendings for 2000 publications", len(got), len(w.sendings))
		}
		if own := here.take(); len(own) != 0 {
			t.Errorf("a bus received its own hints: %v", own)
		}
	})
}

func TestBusSurvivesABrokenWire(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &wire{broken: make(chan struct{})}
		var here, there hints
		a, _ := here.bus(t, w), there.bus(t, w)
		synctest.Wait()
		if there.countGaps() != 1 { // what happened before it listened
			t.Fatalf("%d gaps", there.countGaps())
		}
		w.mu.Lock()
		close(w.broken)
		w.broken, w.listeners, w.refuse = make(chan struct{}), nil, true
		w.mu.Unlock()
		a.Publish("workflow", wake.Key{Queue: "lost"})
		<-time.After(5 * time.Second)
		w.mu.Lock()
		w.refuse = false
		w.mu.Unlock()
		a.Publish("workflow", wake.Key{Queue: "q"})
		<-time.After(time.Second)
		if got := there.take(); len(got) != 1 || there.countGaps() != 2 {
			t.Fatalf("received %v after %d gaps", got, there.countGaps())
		}
		// Nonsense from the wire is no hint.
		for _, payload := range []string{"", "{", `{"o":"no organization"}`, "null"} {
			if err := w.Notify(t.Context(), []string{payload}); err != nil {
				t.Fatal(err)
			}
		}
		if got := there.take(); len(got) != 0 {
			t.Fatalf("received %v", got)
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	wake.NewBus(&wire{}, slog.New(slog.DiscardHandler), nil, nil).Stop()
}

// Two servers on one database hear of each other, also after their connections
// were cut.
func TestBusOnPostgres(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	var here, there hints
	a, b := here.bus(t, open(t, dsn)), there.bus(t, open(t, dsn))
	observer := open(t, dsn)
	until(t, observer, func() bool { return here.countGaps() == 1 && there.countGaps() == 1 })
	org := flovyn.OrgID(uuid.New())
	want := []string{fmt.Sprintf("workflow %s q", org)}
	a.Publish("workflow", wake.Key{Org: org, Queue: "q"})
	received := func(h *hints) func() bool {
		return func() bool { return slices.Equal(h.take(), want) }
	}
	until(t, observer, received(&there))
	b.Publish("workflow", wake.Key{Org: org, Queue: "q"})
	until(t, observer, received(&here))
	if err := terminateListeners(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	until(t, observer, func() bool { return here.countGaps() == 2 && there.countGaps() == 2 })
	a.Publish("workflow", wake.Key{Org: org, Queue: "q"})
	until(t, observer, received(&there))
}

func open(t *testing.T, dsn string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Config{URL: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// until waits for a condition that others bring about.
func until(t *testing.T, s *postgres.Store, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition never came about")
		}
		if _, err := s.Now(t.Context()); err != nil { // a round trip, instead of a sleep
			t.Fatal(err)
		}
	}
}
