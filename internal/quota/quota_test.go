package quota_test

import (
	"sync"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/quota"
)

func TestGauge(t *testing.T) {
	t.Parallel()
	g := quota.NewGauge[string](2)
	enter := func(key string) func() {
		t.Helper()
		leave, ok := g.Enter(key)
		if !ok {
			t.Fatalf("%s may not enter", key)
		}
		return leave
	}
	first, second := enter("a"), enter("a")
	if _, ok := g.Enter("a"); ok {
		t.Error("a third one entered")
	}
	enter("b")
	first()
	third := enter("a")
	second()
	third()
	enter("a")
	enter("a")
}

func TestGaugeUnderConcurrency(t *testing.T) {
	t.Parallel()
	g := quota.NewGauge[int](8)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				leave, ok := g.Enter(1)
				if !ok {
					t.Error("refused although there is room")
					return
				}
				leave()
			}
		})
	}
	group.Wait()
}

func TestRate(t *testing.T) {
	t.Parallel()
	r, err := quota.NewRate[string](10, 3)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	allow := func(key string, want time.Duration) {
		t.Helper()
		if wait, ok := r.Allow(key, now); ok != (want == 0) || wait != want {
			t.Fatalf("%s at %s: %v, wait %s; want %s", key, now, ok, wait, want)
		}
	}
	for range 3 {
		allow("a", 0)
	}
	allow("a", 100*time.Millisecond)
	allow("a", 100*time.Millisecond) // a refused one takes no token
	allow("b", 0)
	now = now.Add(99 * time.Millisecond)
	allow("a", time.Millisecond)
	now = now.Add(time.Millisecond)
	allow("a", 0)
	allow("a", 100*time.Millisecond)
	now = now.Add(time.Hour)
	for range 3 { // never more than the burst
		allow("a", 0)
	}
	allow("a", 100*time.Millisecond)
}
