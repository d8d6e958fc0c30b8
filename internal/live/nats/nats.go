// Package nats carries live frames between servers over NATS JetStream.
//
// Frames of a topic stand in one stream, under a subject of their own, in memory
// and for an hour: who begins to watch is told what is still there. A server reads
// a topic while somebody watches it, with an ordered consumer, which begins anew by
// itself when its connection is lost. Nothing durable is kept here: work never
// depends on NATS, and while it does not answer, watchers miss frames and nothing
// else happens.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flovyn/flovyn-server/internal/live"
)

// The stream, as the original server and its tools know it.
const (
	streamName = "FLOVYN_STREAMS"
	prefix     = "flovyn.streams.workflow."
	kept       = time.Hour
	keptEach   = 10_000
	keptBytes  = 256 << 20
)

const (
	// queueLength is how many frames may wait to be sent.
	queueLength = 4096
	// reconnectEvery is the time between two attempts to connect.
	reconnectEvery = time.Second
	// answerWithin bounds what is asked of NATS.
	answerWithin = 5 * time.Second
)

// Config says where NATS is.
type Config struct {
	// URL may hold a password and is never logged.
	URL string
	Log *slog.Logger
}

// Relay is a live.Relay over NATS.
type Relay struct {
	cfg     Config
	out     chan *live.Frame
	changed chan struct{}

	mu      sync.Mutex
	watched map[live.Topic]bool
	lost    map[live.Topic]uint64
}

// New makes a relay, which connects when it runs.
func New(cfg Config) *Relay {
	return &Relay{
		cfg: cfg, out: make(chan *live.Frame, queueLength), changed: make(chan struct{}, 1),
		watched: map[live.Topic]bool{}, lost: map[live.Topic]uint64{},
	}
}

// Send passes a frame on.
func (r *Relay) Send(f *live.Frame) {
	select {
	case r.out <- f:
	default:
		r.lose(f.Topic)
	}
}

func (r *Relay) lose(t live.Topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[t]++
}

// Retains tells that frames come back.
func (*Relay) Retains() bool { return true }

// Watch begins to read a topic.
func (r *Relay) Watch(t live.Topic) func() {
	if t.Class == "" {
		return func() {} // only facts
	}
	r.set(t, true)
	return func() { r.set(t, false) }
}

func (r *Relay) set(t live.Topic, watched bool) {
	r.mu.Lock()
	if watched {
		r.watched[t] = true
	} else {
		delete(r.watched, t)
	}
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run connects, sends and receives until ctx ends.
func (r *Relay) Run(ctx context.Context, receive func(*live.Frame)) {
	for ctx.Err() == nil {
		if err := r.connected(ctx, receive); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("live frames do not travel over NATS, will connect again", "error", err)
		}
		r.drop()
		timer := time.NewTimer(reconnectEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// drop empties the queue, so that nothing old is sent after a time without a
// connection.
func (r *Relay) drop() {
	for {
		select {
		case f := <-r.out:
			r.lose(f.Topic)
		default:
			return
		}
	}
}

// connected works on one connection, which repairs itself, until it is closed.
func (r *Relay) connected(ctx context.Context, receive func(*live.Frame)) error {
	closed := make(chan struct{})
	conn, err := nats.Connect(r.cfg.URL, nats.Name("flovyn-server"), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectEvery),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return errors.New("NATS does not answer") // the library's own message may hold the URL
	}
	defer func() { conn.Close(); <-closed }()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(queueLength))
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	if err := ensure(ctx, js); err != nil {
		return err
	}
	readers := map[live.Topic]jetstream.ConsumeContext{}
	defer func() {
		for _, reader := range readers {
			reader.Stop()
		}
	}()
	r.readWatched(ctx, js, readers, receive)
	again := time.NewTicker(reconnectEvery) // for readers that could not begin
	defer again.Stop()
	for {
		select {
		case f := <-r.out:
			r.publish(js, f)
		case <-r.changed:
			r.readWatched(ctx, js, readers, receive)
		case <-again.C:
			r.readWatched(ctx, js, readers, receive)
			r.tellLost(js)
		case <-closed:
			return errors.New("the connection was closed")
		case <-ctx.Done():
			return nil
		}
	}
}

func ensure(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{prefix + ">"}, Storage: jetstream.MemoryStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardOld, MaxAge: kept, MaxMsgsPerSubject: keptEach, MaxBytes: keptBytes,
	})
	if err != nil {
		return fmt.Errorf("preparing the stream %s: %w", streamName, err)
	}
	return nil
}

// subject is that of a topic. Identifiers are unique across organizations, and
// what is received names its organization.
func subject(t live.Topic) string { return prefix + t.ID.String() }

func (r *Relay) publish(js jetstream.JetStream, f *live.Frame) {
	text, err := live.Encode(f, "")
	if err == nil {
		_, err = js.PublishAsync(subject(f.Topic), text)
	}
	if err != nil {
		r.lose(f.Topic)
	}
}

// tellLost says how many frames were not sent.
func (r *Relay) tellLost(js jetstream.JetStream) {
	r.mu.Lock()
	lost := r.lost
	r.lost = map[live.Topic]uint64{}
	r.mu.Unlock()
	for t, n := range lost {
		r.publish(js, live.MissedFrame(t, n))
	}
}

// readWatched begins to read topics that are watched, and stops reading others.
func (r *Relay) readWatched(ctx context.Context, js jetstream.JetStream, readers map[live.Topic]jetstream.ConsumeContext, receive func(*live.Frame)) {
	r.mu.Lock()
	var begin []live.Topic
	for t := range r.watched {
		if readers[t] == nil {
			begin = append(begin, t)
		}
	}
	for t, reader := range readers {
		if !r.watched[t] {
			reader.Stop()
			delete(readers, t)
		}
	}
	r.mu.Unlock()
	for _, t := range begin {
		reader, err := consume(ctx, js, t, receive)
		if err != nil {
			r.cfg.Log.Warn("a topic is not read from NATS, will try again", "subject", subject(t), "error", err)
			return
		}
		readers[t] = reader
	}
}

func consume(ctx context.Context, js jetstream.JetStream, t live.Topic, receive func(*live.Frame)) (jetstream.ConsumeContext, error) {
	asking, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	consumer, err := js.OrderedConsumer(asking, streamName, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject(t)}})
	if err != nil {
		return nil, fmt.Errorf("making a consumer: %w", err)
	}
	reader, err := consumer.Consume(func(m jetstream.Msg) {
		f, _, err := live.Decode(m.Data())
		if err == nil && f.Topic == t { // never what another organization put there
			receive(f)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	return reader, nil
}

var _ live.Relay = (*Relay)(nil)
