package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Latencies are sorted durations.
type Latencies []time.Duration

// Quantile returns the duration below which a part q of them lies.
func (l Latencies) Quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(int(q*float64(len(l))), len(l)-1)]
}

// Measured is what one measurement found.
type Measured struct {
	// Operations done, in this time.
	Operations int
	Elapsed    time.Duration
	Latencies  Latencies
}

// PerSecond is the rate of operations.
func (m Measured) PerSecond() float64 { return float64(m.Operations) / m.Elapsed.Seconds() }

// drive does n operations, so many in flight, and returns how long each took.
// The first failure ends it.
func drive(ctx context.Context, n, inFlight int, operation func(ctx context.Context, i int) error) (Measured, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make(Latencies, n)
	var next atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range min(inFlight, n) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				at := time.Now()
				if err := operation(ctx, i); err != nil {
					cancel(fmt.Errorf("operation %d: %w", i, err))
					return
				}
				took[i] = time.Since(at)
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return Measured{}, err
	}
	elapsed := time.Since(began)
	slices.Sort(took)
	return Measured{Operations: n, Elapsed: elapsed, Latencies: took}, nil
}
