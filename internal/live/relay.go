package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Relay carries passing frames to the other servers.
type Relay interface {
	// Send passes a frame on. It returns at once, and drops what is too much; the
	// watchers elsewhere are told that they missed it.
	Send(f *Frame)
	// Watch is told of every topic that somebody here begins to watch; what it
	// returns is called when the last one has gone.
	Watch(t Topic) (stop func())
	// Retains tells that what is sent comes back to this server as well.
	Retains() bool
	// Run receives until ctx ends.
	Run(ctx context.Context, receive func(*Frame))
}

// alone is the relay of a server that has no others.
type alone struct{}

// Send does nothing.
func (alone) Send(*Frame) {}

// Watch opens nothing.
func (alone) Watch(Topic) func() { return func() {} }

// Retains tells that nothing comes back.
func (alone) Retains() bool { return false }

// Run waits for the end.
func (alone) Run(ctx context.Context, _ func(*Frame)) { <-ctx.Done() }

// message is a frame on its way between servers.
type message struct {
	Org   uuid.UUID    `json:"o"`
	Class flovyn.Class `json:"c"`
	ID    uuid.UUID    `json:"i"`
	Event string       `json:"e"`
	Data  string       `json:"d"`
	Task  uuid.UUID    `json:"t"`
	At    int64        `json:"a"`
	// From is the sender, which does not need its own.
	From string `json:"f,omitempty"`
}

// Encode writes a frame as it travels between servers; from names the sender.
func Encode(f *Frame, from string) ([]byte, error) {
	return json.Marshal(message{
		f.Topic.Org.UUID(), f.Topic.Class, f.Topic.ID, f.Event, f.Data, f.Task.UUID(), f.At.UnixMilli(), from,
	})
}

// Decode reads what Encode wrote.
func Decode(text []byte) (f *Frame, from string, err error) {
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, "", err
	}
	return &Frame{
		Topic: Topic{flovyn.OrgID(m.Org), m.Class, m.ID}, Event: m.Event, Data: m.Data, Task: flovyn.TaskID(m.Task),
		At: time.UnixMilli(m.At),
	}, m.From, nil
}

// Wire is a channel of the database.
type Wire interface {
	NotifyLive(ctx context.Context, payloads []string) error
	ListenLive(ctx context.Context, ready func(), receive func(payload string)) error
}

const (
	// maxPayload is what a notification of the database may hold.
	maxPayload = 7900
	// relayQueue is how many frames may wait to be sent, relayBatch how many are
	// sent at once, and relayEvery the least time between two sendings: 5000 frames
	// a second at most.
	relayQueue = 4096
	relayBatch = 100
	relayEvery = 20 * time.Millisecond
	// listenAgain is waited after a lost connection.
	listenAgain = time.Second
)

// Database carries passing frames over the database that all servers share. It
// has a connection and a channel of its own, so that hints never wait for it.
type Database struct {
	wire Wire
	log  *slog.Logger
	self string
	out  chan *Frame

	mu sync.Mutex
	// lost counts, by topic, the frames that were too many or too large.
	lost map[Topic]uint64
	kick chan struct{}
}

// NewDatabase makes the relay.
func NewDatabase(wire Wire, log *slog.Logger) *Database {
	return &Database{
		wire: wire, log: log, self: flovyn.NewUUID().String(), out: make(chan *Frame, relayQueue),
		lost: map[Topic]uint64{}, kick: make(chan struct{}, 1),
	}
}

// Send passes a frame on.
func (d *Database) Send(f *Frame) {
	if len(f.Data) <= maxPayload/2 { // whatever it takes to write it as JSON text, mostly
		select {
		case d.out <- f:
			return
		default:
		}
	}
	d.lose(f.Topic)
}

func (d *Database) lose(t Topic) {
	d.mu.Lock()
	d.lost[t]++
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Watch does nothing: everything arrives.
func (*Database) Watch(Topic) func() { return func() {} }

// Retains tells that frames do not come back.
func (*Database) Retains() bool { return false }

// Run sends and listens until ctx ends.
func (d *Database) Run(ctx context.Context, receive func(*Frame)) {
	var work sync.WaitGroup
	work.Go(func() { d.send(ctx) })
	defer work.Wait()
	for ctx.Err() == nil {
		err := d.wire.ListenLive(ctx, func() {}, func(payload string) {
			if f, from, err := Decode([]byte(payload)); err == nil && from != d.self {
				receive(f)
			}
		})
		if ctx.Err() != nil {
			return
		}
		d.log.Warn("listening for live frames ended, will listen again", "error", err)
		pause(ctx, listenAgain)
	}
}

func (d *Database) send(ctx context.Context) {
	for {
		var payloads []string
		select {
		case f := <-d.out:
			payloads = d.encode(payloads, f)
		case <-d.kick:
		case <-ctx.Done():
			return
		}
		for more := true; more && len(payloads) < relayBatch; {
			select {
			case f := <-d.out:
				payloads = d.encode(payloads, f)
			default:
				more = false
			}
		}
		for _, f := range d.takeLost() {
			payloads = d.encode(payloads, f)
		}
		if len(payloads) > 0 {
			if err := d.wire.NotifyLive(ctx, payloads); err != nil && ctx.Err() == nil {
				d.log.Warn("live frames were not sent", "error", err)
			}
		}
		pause(ctx, relayEvery)
	}
}

func (d *Database) encode(payloads []string, f *Frame) []string {
	text, err := Encode(f, d.self)
	if err != nil || len(text) > maxPayload {
		d.lose(f.Topic)
		return payloads
	}
	return append(payloads, string(text))
}

// takeLost makes frames that say how many others did not come.
func (d *Database) takeLost() []*Frame {
	d.mu.Lock()
	defer d.mu.Unlock()
	frames := make([]*Frame, 0, len(d.lost))
	for t, n := range d.lost {
		frames = append(frames, MissedFrame(t, n))
	}
	clear(d.lost)
	return frames
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
