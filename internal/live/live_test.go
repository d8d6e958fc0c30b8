package live

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = time.Minute

// records are executions in memory: a Source without a database.
type records struct {
	mu         sync.Mutex
	executions map[flovyn.ExecutionID]*flovyn.WorkflowExecution
	events     map[flovyn.ExecutionID][]history.Event
}

func newRecords() *records {
	return &records{executions: map[flovyn.ExecutionID]*flovyn.WorkflowExecution{}, events: map[flovyn.ExecutionID][]history.Event{}}
}

var someOrg = flovyn.OrgID(uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"))

// append adds an event to an execution, which the first one begins.
func (r *records) append(id flovyn.ExecutionID, d history.Draft) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &flovyn.WorkflowExecution{ID: id, Org: someOrg, Kind: "k", Status: flovyn.WorkflowWaiting}
	if known, ok := r.executions[id]; ok {
		w = new(*known)
	}
	w.LastSeq++
	if d.Type.Terminal() {
		w.Status = flovyn.WorkflowCompleted
	}
	r.executions[id] = w
	r.events[id] = append(r.events[id], history.Event{Seq: w.LastSeq, Type: d.Type, Data: d.Data, At: time.UnixMilli(int64(w.LastSeq))})
}

func (r *records) History(_ context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, []history.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.executions[id]
	if !ok || w.Org != org {
		return nil, nil, fault.New(fault.NotFound, "not found")
	}
	return w, slices.Clone(r.events[id]), nil
}

func (*records) TaskHistory(context.Context, flovyn.OrgID, flovyn.TaskID) (*flovyn.TaskExecution, []flovyn.Attempt, error) {
	return nil, nil, fault.New(fault.NotFound, "not found")
}

func (r *records) Stamps(_ context.Context, executions, _ []uuid.UUID) (map[uuid.UUID]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamps := map[uuid.UUID]string{}
	for _, id := range executions {
		if w, ok := r.executions[flovyn.ExecutionID(id)]; ok {
			stamps[id] = fmt.Sprintf("%s %d", w.Status, w.LastSeq)
		}
	}
	return stamps, nil
}

func begin(tb testing.TB, cfg Config) *Hub {
	tb.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	h, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	h.Start(tb.Context())
	tb.Cleanup(h.Stop)
	return h
}

func watch(tb testing.TB, h *Hub, t Topic, after flovyn.Seq) *Watch {
	tb.Helper()
	w, err := h.Watch(t, after)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.Close)
	return w
}

// next waits for the next frame.
func next(ctx context.Context, tb testing.TB, w *Watch) *Frame {
	tb.Helper()
	for {
		f, news, _, _ := w.Next()
		if f != nil {
			return f
		}
		select {
		case <-news:
		case <-ctx.Done():
			tb.Fatalf("no frame came: %v", ctx.Err())
		}
	}
}

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func TestFactsAreToldFromAnyPlace(t *testing.T) {
	t.Parallel()
	ctx, source := within(t), newRecords()
	h := begin(t, Config{Source: source})
	id := flovyn.ExecutionID(flovyn.NewUUID())
	topic := Workflow(someOrg, id)
	source.append(id, history.Started("k", nil))
	source.append(id, history.Signalled("one", nil))
	first := watch(t, h, topic, 0)
	for _, want := range []string{"WORKFLOW_CREATED", "SIGNAL_RECEIVED"} {
		if f := next(ctx, t, first); f.Name != want {
			t.Fatalf("%s, want %s", f.Name, want)
		}
	}
	second := watch(t, h, topic, 1)
	if f := next(ctx, t, second); f.Seq != 2 {
		t.Errorf("after 1 comes %d", f.Seq)
	}
	source.append(id, history.EndedCompleted(nil))
	h.Changed(topic, 3, true)
	for name, w := range map[string]*Watch{"first": first, "second": second} {
		if f := next(ctx, t, w); f.Name != "WORKFLOW_COMPLETED" || f.Seq != 3 {
			t.Errorf("%s: %s %d, want the end", name, f.Name, f.Seq)
		}
		if _, _, _, ended := w.Next(); !ended {
			t.Errorf("%s: the topic has not ended", name)
		}
	}
}

// Those who wait for an end are told of it, wherever it happens, and of nothing
// else; and one that nobody told of is found.
func TestAwait(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(h *Hub, source *records, topic Topic){
		"here":                 func(h *Hub, _ *records, topic Topic) { h.Changed(topic, 2, true) },
		"on another server":    func(h *Hub, _ *records, topic Topic) { h.Heard(HintChanged, someOrg, topic.text()+":2:"+endMark) },
		"when hints were lost": func(h *Hub, _ *records, _ Topic) { h.HintsMissed() },
		"without a hint": func(_ *Hub, source *records, topic Topic) {
			source.append(flovyn.ExecutionID(topic.ID), history.EndedCompleted(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, source := within(t), newRecords()
			asked := make(chan string, 10)
			h := begin(t, Config{Source: source, Announce: func(hint string, _ flovyn.OrgID, text string) { asked <- hint + " " + text }})
			id := flovyn.ExecutionID(flovyn.NewUUID())
			topic := Workflow(someOrg, id)
			source.append(id, history.Started("k", nil))
			w, err := h.Await(topic)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := <-asked, HintInterest+" "+topic.text(); got != want {
				t.Errorf("the others were told %q, want %q", got, want)
			}
			h.Changed(topic, 2, false)
			h.Changed(Workflow(someOrg, flovyn.ExecutionID(flovyn.NewUUID())), 2, true)
			h.Heard(HintChanged, someOrg, topic.text()+":2")
			select {
			case <-w.Told():
				t.Fatal("it was told of something that is no end")
			default:
			}
			end(h, source, topic)
			select {
			case <-w.Told():
			case <-ctx.Done():
				t.Fatal("it was never told of the end")
			}
			w.Close()
			if n := h.Watchers(); n != 0 {
				t.Errorf("%d are counted after the last has gone", n)
			}
		})
	}
}

// What happened on a server whose hint was lost is found all the same.
func TestLostHint(t *testing.T) {
	t.Parallel()
	ctx, source := within(t), newRecords()
	h := begin(t, Config{Source: source})
	id := flovyn.ExecutionID(flovyn.NewUUID())
	source.append(id, history.Started("k", nil))
	w := watch(t, h, Workflow(someOrg, id), 0)
	next(ctx, t, w)
	source.append(id, history.Signalled("unheard", nil))
	if f := next(ctx, t, w); f.Seq != 2 {
		t.Errorf("place %d, want 2", f.Seq)
	}
}

// A watcher that does not keep up is told how much it missed, and nobody waits.
func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	ctx, source := within(t), newRecords()
	h := begin(t, Config{Source: source})
	id := flovyn.ExecutionID(flovyn.NewUUID())
	source.append(id, history.Started("k", nil))
	w := watch(t, h, Workflow(someOrg, id), 0)
	next(ctx, t, w)
	for i := range keptPassing + 7 {
		h.Say(&Frame{Topic: Workflow(someOrg, id), Event: Token, Data: strconv.Itoa(i)})
	}
	if f := next(ctx, t, w); f.Event != Missed || f.Data != `{"missed":7}` {
		t.Errorf("%s %s, want 7 missed", f.Event, f.Data)
	}
	if f := next(ctx, t, w); f.Event != Token || f.Data != "7" {
		t.Errorf("%s %s, want what is still there", f.Event, f.Data)
	}
}

func TestTooManyWatchers(t *testing.T) {
	t.Parallel()
	h := begin(t, Config{Source: newRecords(), MaxWatchers: 3, MaxPerOrg: 2})
	other := flovyn.OrgID(flovyn.NewUUID())
	watch(t, h, Organization(someOrg), 0)
	w := watch(t, h, Organization(someOrg), 0)
	if _, err := h.Watch(Organization(someOrg), 0); !fault.Is(err, fault.Exhausted) {
		t.Errorf("the third of an organization: %v", err)
	}
	watch(t, h, Organization(other), 0)
	if _, err := h.Watch(Organization(other), 0); !fault.Is(err, fault.Exhausted) {
		t.Errorf("the fourth in all: %v", err)
	}
	_ = w
}

// An organization's watchers are told of what is new, in all of it, and of
// nothing in another one.
func TestOrganization(t *testing.T) {
	t.Parallel()
	ctx, source := within(t), newRecords()
	h := begin(t, Config{Source: source})
	old, fresh := flovyn.ExecutionID(flovyn.NewUUID()), flovyn.ExecutionID(flovyn.NewUUID())
	source.append(old, history.Started("k", nil))
	w := watch(t, h, Organization(someOrg), 0)
	foreign := watch(t, h, Organization(flovyn.OrgID(flovyn.NewUUID())), 0)
	w.Next()
	foreign.Next()
	source.append(old, history.Signalled("news", nil))
	h.Changed(Workflow(someOrg, old), 2, false)
	if f := next(ctx, t, w); f.Topic.ID != old.UUID() || f.Seq != 2 {
		t.Errorf("%+v, want the signal alone", f)
	}
	source.append(fresh, history.Started("k", nil))
	h.Changed(Workflow(someOrg, fresh), 1, false)
	if f := next(ctx, t, w); f.Topic.ID != fresh.UUID() || f.Name != "WORKFLOW_CREATED" {
		t.Errorf("%+v, want the new execution", f)
	}
	if f, _, _, _ := foreign.Next(); f != nil {
		t.Errorf("a foreign watcher was told %+v", f)
	}
}

// Another server is told of changes only of what it watches.
func TestInterest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var hints []string
	source := newRecords()
	h := begin(t, Config{Source: source, Announce: func(hint string, _ flovyn.OrgID, text string) {
		mu.Lock()
		defer mu.Unlock()
		hints = append(hints, hint+" "+text)
	}})
	id := flovyn.ExecutionID(flovyn.NewUUID())
	topic := Workflow(someOrg, id)
	h.Changed(topic, 1, false)
	h.Heard(HintInterest, someOrg, topic.text())
	h.Changed(topic, 2, false)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{HintChanged + " " + topic.text() + ":2"}; !slices.Equal(hints, want) {
		t.Errorf("%q, want %q", hints, want)
	}
}

// Ten thousand watchers of one workflow: the memory of each, and how long it takes
// until the last one knows.
func BenchmarkTenThousandWatchers(b *testing.B) {
	const watchers = 10_000
	source := newRecords()
	h := begin(b, Config{Source: source})
	id := flovyn.ExecutionID(flovyn.NewUUID())
	topic := Workflow(someOrg, id)
	source.append(id, history.Started("k", nil))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(b.Context())
	var running, told sync.WaitGroup
	told.Add(watchers)
	for range watchers {
		w, err := h.Watch(topic, 0)
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			defer w.Close()
			for {
				f, news, _, _ := w.Next()
				if f != nil {
					told.Done()
					continue
				}
				select {
				case <-news:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	told.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ResetTimer()
	for i := range b.N {
		told.Add(watchers)
		source.append(id, history.Signalled("s", nil))
		h.Changed(topic, flovyn.Seq(i+2), false)
		told.Wait()
	}
	b.StopTimer()
	b.ReportMetric(float64(int64(after.HeapAlloc+after.StackInuse)-int64(before.HeapAlloc+before.StackInuse))/watchers, "B/watcher")
	cancel()
	running.Wait()
}
