package wake_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/internal/wake"
)

// A claim under way at Close runs to its end: interrupted, it might have
// committed all the same, and its item would belong to nobody.
func TestCloseLetsAClaimFinish(t *testing.T) {
	t.Parallel()
	claiming, finish := make(chan struct{}), make(chan struct{})
	var failed error
	board := wake.NewBoard(wake.Source[string]{
		Claim: func(ctx context.Context, _ wake.Key, _, _ []string) ([]string, error) {
			close(claiming)
			<-finish
			failed = ctx.Err()
			return []string{"item"}, failed
		},
		Worker: func(string) string { return "w" },
		Return: func(context.Context, string) { t.Error("the item was given back although its poller waited") },
	}, slog.New(slog.DiscardHandler))

	var group sync.WaitGroup
	group.Go(func() {
		item, ok := board.Wait(context.WithoutCancel(t.Context()), wake.Key{Queue: "q"}, wake.Poller{Worker: "w"}, time.Minute)
		if !ok || item != "item" {
			t.Errorf("the poller received %q, %v", item, ok)
		}
	})
	<-claiming
	group.Go(board.Close)
	// A poller for which there is no work is held until Close has begun.
	board.Wait(t.Context(), wake.Key{Queue: "q"}, wake.Poller{Kinds: []string{}}, time.Minute)
	close(finish)
	group.Wait()
	if failed != nil {
		t.Errorf("the claim was interrupted: %v", failed)
	}
}

// While a server drains, polls come to its closed boards. Answered at once they
// would come back at once; held for long they would hold up the stop.
func TestClosedBoardHoldsForAMoment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBoard(t, &store{})
		b.Close()
		gone, leave := context.WithCancel(t.Context())
		leave()
		for name, test := range map[string]struct {
			ctx   context.Context
			kinds []string
			hold  time.Duration
			want  time.Duration
		}{
			"any kind":     {t.Context(), nil, time.Minute, 75 * time.Millisecond},
			"no kind":      {t.Context(), []string{}, time.Minute, 75 * time.Millisecond},
			"impatient":    {t.Context(), nil, time.Millisecond, time.Millisecond},
			"gone already": {gone, nil, time.Minute, 0},
		} {
			p := begin(test.ctx, b, "w", test.kinds, test.hold)
			if <-p.done; p.ok || p.took != test.want {
				t.Errorf("%s: held for %s, served: %v", name, p.took, p.ok)
			}
		}
	})
}
