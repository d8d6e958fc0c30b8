package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	connect "connectrpc.com/connect/v2"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

var (
	tortureFor  = flag.Duration("torture", 20*time.Second, "for how long TestTorture injects faults")
	tortureSeed = flag.Uint64("seed", 0, "the seed of TestTorture; 0 takes one from the clock")
)

const (
	// atOnce is how many ordeals are under way at the same time.
	atOnce = 8
	// convalescence is how long everything may take to end after the last fault.
	convalescence = 90 * time.Second
)

// TestTorture runs workflows on two servers while processes, networks and the
// database fail. Afterwards all of them have ended with the right result, and all
// that the database holds is consistent.
func TestTorture(t *testing.T) {
	t.Parallel()
	seed := *tortureSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := setStage(t)
	d := &director{stage: s, faults: map[string]int{}, ordeals: map[int]*played{}}

	chaos, calm := context.WithTimeout(context.WithoutCancel(t.Context()), *tortureFor)
	defer calm()
	// Whatever happens, there is an end to it.
	all, cancel := context.WithTimeoutCause(context.WithoutCancel(t.Context()), *tortureFor+convalescence,
		fmt.Errorf("it did not end within %v after the last fault", convalescence))
	defer cancel()
	var group sync.WaitGroup
	for i := range atOnce {
		group.Go(func() { d.play(chaos, all, rand.New(rand.NewPCG(seed, uint64(i)+100))) })
	}
	d.torment(chaos, rand.New(rand.NewPCG(seed, 1)))
	s.heal()
	group.Wait()
	d.report()
	d.verify()
}

// director runs the ordeals and the faults, and remembers them.
type director struct {
	*stage
	mu      sync.Mutex
	faults  map[string]int
	n       int
	ordeals map[int]*played
	calls   int // acknowledged
	retries int
}

// played is an ordeal and what its clients know of it.
type played struct {
	id    string
	ended bool
	// sent and acknowledged count the signals.
	sent, acknowledged int
}

// torment does one fault after the other, at times two at once, until ctx ends.
func (d *director) torment(ctx context.Context, r *rand.Rand) {
	var torments sync.WaitGroup
	slots := make(chan struct{}, 2)
	all := d.torments()
	order := r.Perm(len(all)) // each of them once, then at random
	for n := 0; ctx.Err() == nil; n++ {
		fault := pick(r, all)
		if n < len(order) {
			fault = all[order[n]]
		}
		own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		torments.Go(func() {
			defer func() { <-slots }()
			begin := time.Now()
			if err := fault.do(ctx, own); err != nil {
				d.t.Errorf("%s: %v", fault.name, err)
			}
			d.mu.Lock()
			d.faults[fault.name]++
			d.mu.Unlock()
			d.t.Logf("%s, %v", fault.name, time.Since(begin).Round(time.Millisecond))
		})
		sleep(ctx, moment(r, 300*time.Millisecond, 1500*time.Millisecond))
	}
	torments.Wait()
}

func (d *director) next() (int, *played) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	p := &played{}
	d.ordeals[d.n] = p
	return d.n, p
}

// play runs ordeals until the chaos is over, and brings the last one to its end.
func (d *director) play(chaos, all context.Context, r *rand.Rand) {
	var clients []*client.Client
	for _, p := range d.toServer {
		clients = append(clients, newClient(d.t, "http://"+p.address()))
	}
	for chaos.Err() == nil {
		n, p := d.next()
		if err := d.playOne(all, clients, r, n, p); err != nil {
			d.t.Errorf("ordeal %d (%s): %v", n, p.id, err)
			return
		}
		sleep(chaos, moment(r, 100*time.Millisecond, 600*time.Millisecond))
	}
}

func (d *director) playOne(ctx context.Context, clients []*client.Client, r *rand.Rand, n int, p *played) error {
	org := servertest.Org.String()
	err := d.insist(ctx, clients, r, "starting", func(ctx context.Context, c *client.Client) (err error) {
		start := client.Start{Org: org, Kind: "ordeal", Input: ordeal{N: n}, IdempotencyKey: "ordeal-" + strconv.Itoa(n)}
		p.id, err = c.StartWorkflow(ctx, start)
		return err
	})
	if err != nil {
		return err
	}
	sleep(ctx, moment(r, 0, 300*time.Millisecond)+1)
	err = d.insist(ctx, clients, r, "signalling", func(ctx context.Context, c *client.Client) error {
		p.sent++
		err := c.Signal(ctx, org, p.id, "go", signalValue)
		switch {
		case err == nil:
			p.acknowledged++
		case connect.CodeOf(err) == connect.CodeFailedPrecondition && p.sent > 1:
			return nil // an earlier one arrived, and the workflow has ended since
		}
		return err
	})
	if err != nil {
		return err
	}
	err = d.insist(ctx, clients, r, "opening the gate", func(ctx context.Context, c *client.Client) error {
		return d.openGate(ctx, c, p.id)
	})
	if err != nil {
		return err
	}
	return d.insist(ctx, clients, r, "waiting for the result", func(ctx context.Context, c *client.Client) error {
		events, err := c.Events(ctx, p.id)
		if err != nil {
			return err
		}
		for _, e := range events { // a late signal may stand behind the end
			if e.Type.Terminal() {
				output, err := client.Result(p.id, e)
				if err != nil || string(output) != strconv.Itoa(ordeal{N: n}.result()) {
					return &wrong{fmt.Sprintf("ended with %s, %v instead of %d", output, err, ordeal{N: n}.result())}
				}
				p.ended = true
				return nil
			}
		}
		return errOpen
	})
}

// openGate resolves the ordeal's promise, unless it is resolved.
func (d *director) openGate(ctx context.Context, c *client.Client, id string) error {
	events, err := c.Events(ctx, id)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Type == client.PromiseCreated {
			data, err := e.Decode()
			if err != nil {
				return err
			}
			return c.ResolvePromise(ctx, data.PromiseID, gateValue)
		}
	}
	return errOpen
}

// wrong is an answer that trying again does not mend.
type wrong struct{ text string }

func (w *wrong) Error() string { return w.text }

var errOpen = errors.New("it is not there yet")

// insist calls one server or the other until the call is acknowledged.
func (d *director) insist(
	ctx context.Context, clients []*client.Client, r *rand.Rand, what string, call func(context.Context, *client.Client) error,
) error {
	for try := r.IntN(2); ; try++ {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := call(bounded, clients[try%len(clients)])
		cancel()
		_, isWrong := errors.AsType[*wrong](err)
		d.mu.Lock()
		if err == nil {
			d.calls++
		} else {
			d.retries++
		}
		d.mu.Unlock()
		switch {
		case err == nil:
			return nil
		case isWrong, connect.CodeOf(err) == connect.CodeInvalidArgument, connect.CodeOf(err) == connect.CodeNotFound,
			connect.CodeOf(err) == connect.CodeInternal:
			return fmt.Errorf("%s: %w", what, err)
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w: %w", what, context.Cause(ctx), err)
		}
		sleep(ctx, moment(r, 50*time.Millisecond, 300*time.Millisecond))
	}
}

func (d *director) report() {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := 0
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(d.faults)) {
		total += d.faults[name]
		lines = append(lines, fmt.Sprintf("%5d  %s", d.faults[name], name))
	}
	starts := 0
	for _, p := range slices.Concat(d.servers, d.workers) {
		starts += p.runs()
	}
	d.t.Logf("%d faults, %d ordeals, %d calls acknowledged and %d failed or too early, %d starts of processes\n%s",
		total, len(d.ordeals), d.calls, d.retries, starts, strings.Join(lines, "\n"))
}
