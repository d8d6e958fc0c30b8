package wake

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Hint tells other replicas that something happened which they may want to look
// at. A lost hint costs time, never correctness.
type Hint struct {
	// Class is "workflow" or "task" for a backlog that grew, or one of the
	// constants below.
	Class string       `json:"c"`
	Org   flovyn.OrgID `json:"-"`
	// Name is the queue, or the token, or empty.
	Name string `json:"n,omitempty"`
	// OrgText is Org in its wire form.
	OrgText string `json:"o"`
	// From names the sender, which does not need its own hints.
	From string `json:"f"`
}

// The classes of hints that are not about a backlog.
const (
	// HintWorker says that a worker registered.
	HintWorker = "worker"
	// HintOrg says that an organization, or what it is bound to, changed.
	HintOrg = "org"
	// HintToken says that a worker token is no good any more.
	HintToken = "token"
)

// Wire sends hints to every replica and receives theirs.
type Wire interface {
	Notify(ctx context.Context, payloads []string) error
	Listen(ctx context.Context, ready func(), receive func(payload string)) error
}

const (
	// hintInterval is the least time between two sendings.
	hintInterval = 10 * time.Millisecond
	// relistenAfter is waited before listening again after a lost connection.
	relistenAfter = time.Second
)

// Bus exchanges hints between replicas: coalesced, at most one sending per
// hintInterval, over one connection.
type Bus struct {
	wire   Wire
	log    *slog.Logger
	self   string
	onHint func(Hint)
	onGap  func()
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	pending map[Hint]struct{}
	kick    chan struct{}
}

// NewBus makes a bus. onHint is called for hints of other replicas, onGap when
// hints may have been missed.
func NewBus(wire Wire, log *slog.Logger, onHint func(Hint), onGap func()) *Bus {
	return &Bus{
		wire: wire, log: log, self: flovyn.NewUUID().String(), onHint: onHint, onGap: onGap,
		pending: map[Hint]struct{}{}, kick: make(chan struct{}, 1),
	}
}

// Start begins to send and to listen.
func (b *Bus) Start(ctx context.Context) {
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.work.Go(func() { b.send(ctx) })
	b.work.Go(func() { b.listen(ctx) })
}

// Stop ends both.
func (b *Bus) Stop() {
	if b.cancel != nil {
		b.cancel()
	}
	b.work.Wait()
}

// Announce sends one hint to every server at once, for programs that have no Bus.
func Announce(ctx context.Context, wire Wire, class string, key Key) error {
	text, err := json.Marshal(Hint{Class: class, OrgText: key.Org.String(), Name: key.Queue})
	if err != nil {
		return fmt.Errorf("writing a hint: %w", err)
	}
	return wire.Notify(ctx, []string{string(text)})
}

// Publish sends a hint soon.
func (b *Bus) Publish(class string, key Key) {
	b.mu.Lock()
	b.pending[Hint{Class: class, OrgText: key.Org.String(), Name: key.Queue, From: b.self}] = struct{}{}
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *Bus) send(ctx context.Context) {
	for {
		select {
		case <-b.kick:
		case <-ctx.Done():
			return
		}
		if payloads := b.take(); len(payloads) > 0 {
			if err := b.wire.Notify(ctx, payloads); err != nil && ctx.Err() == nil {
				b.log.Warn("hints were not sent", "error", err)
			}
		}
		if !sleep(ctx, hintInterval) {
			return
		}
	}
}

func (b *Bus) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	payloads := make([]string, 0, len(b.pending))
	for hint := range b.pending {
		if text, err := json.Marshal(hint); err == nil && len(text) < 8000 { // the limit of a notification
			payloads = append(payloads, string(text))
		}
	}
	clear(b.pending)
	return payloads
}

func (b *Bus) listen(ctx context.Context) {
	for {
		err := b.wire.Listen(ctx, b.onGap, b.receive)
		if ctx.Err() != nil {
			return
		}
		b.log.Warn("listening for hints ended, will listen again", "error", err)
		if !sleep(ctx, relistenAfter) {
			return
		}
	}
}

func (b *Bus) receive(payload string) {
	var hint Hint
	if err := json.Unmarshal([]byte(payload), &hint); err != nil || hint.From == b.self {
		return
	}
	org, err := uuid.Parse(hint.OrgText)
	if err != nil {
		return
	}
	hint.Org = flovyn.OrgID(org)
	b.onHint(hint)
}

// sleep waits for d; it is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
