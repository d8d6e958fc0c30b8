package lookup

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestCacheBelievesUntil(t *testing.T) {
	t.Parallel()
	c := NewCache[string, int](2)
	c.Put(c.Generation(), "a", 1, noon.Add(time.Second))
	if got, ok := c.Get("a", noon); !ok || got != 1 {
		t.Errorf("got %d, %t", got, ok)
	}
	if _, ok := c.Get("a", noon.Add(time.Second)); ok || c.Len() != 0 {
		t.Errorf("believed when its time was over, %d held", c.Len())
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCache[string, int](100)
	for i := range 1000 {
		c.Put(c.Generation(), strconv.Itoa(i), i, noon.Add(time.Hour))
		c.Get("0", noon) // what is used stays
	}
	if _, ok := c.Get("0", noon); !ok || c.Len() != 100 {
		t.Errorf("%d held, the one in use: %t", c.Len(), ok)
	}
	tiny := NewCache[int, int](0)
	tiny.Put(0, 1, 1, noon)
	tiny.Put(0, 2, 2, noon)
	if tiny.Len() != 1 {
		t.Errorf("%d held", tiny.Len())
	}
}

// An answer that was on its way while something was forgotten is not remembered.
func TestCacheForgets(t *testing.T) {
	t.Parallel()
	c := NewCache[string, int](10)
	asked := c.Generation()
	c.Put(asked, "one", 1, noon.Add(time.Hour))
	c.Put(asked, "two", 2, noon.Add(time.Hour))
	c.Forget(func(v int) bool { return v == 2 })
	c.Put(asked, "two", 2, noon.Add(time.Hour))
	_, one := c.Get("one", noon)
	_, two := c.Get("two", noon)
	if !one || two {
		t.Errorf("one %t, two %t", one, two)
	}
	asked = c.Generation()
	c.ForgetAll()
	c.Put(asked, "three", 3, noon.Add(time.Hour))
	if c.Len() != 0 {
		t.Errorf("%d held", c.Len())
	}
}

func TestFlightsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var flights Flights[int]
		var asked atomic.Int32
		ask := func(ctx context.Context) (int, error) {
			<-ctx.Done() // ends after the limit
			return int(asked.Add(1)), nil
		}
		var work sync.WaitGroup
		for range 100 {
			work.Go(func() {
				if got, err := flights.Do(t.Context(), "k", time.Minute, ask); got != 1 || err != nil {
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		work.Wait()
		if got, err := flights.Do(t.Context(), "k", time.Minute, ask); got != 2 || err != nil {
			t.Errorf("the next one: %d, %v", got, err)
		}
		flights.Close()
	})
}

// Whoever asked first may go away; the others get the answer.
func TestFlightsOutliveWhoAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var flights Flights[string]
		answer := make(chan string)
		ask := func(ctx context.Context) (string, error) {
			select {
			case text := <-answer:
				return text, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := flights.Do(first, "k", time.Minute, ask); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		work.Go(func() {
			if got, err := flights.Do(t.Context(), "k", time.Minute, ask); got != "yes" || err != nil {
				t.Errorf("who stayed got %q, %v", got, err)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		answer <- "yes"
		work.Wait()
	})
}

func TestFlightsClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var flights Flights[int]
		var work sync.WaitGroup
		begin := time.Now()
		work.Go(func() {
			_, err := flights.Do(t.Context(), "k", time.Hour, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		flights.Close()
		work.Wait()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		if _, err := flights.Do(t.Context(), "k", time.Hour, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestDigester(t *testing.T) {
	t.Parallel()
	a, b := NewDigester(), NewDigester()
	again := a.Digest("x")
	if a.Digest("x") != again || a.Digest("x") == a.Digest("y") || a.Digest("x") == b.Digest("x") || a.Digest("") == (Digest{}) {
		t.Error("digests are equal or different where they should not be")
	}
}
