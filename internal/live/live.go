// Package live tells those who watch what happens, while it happens.
//
// # What watchers see
//
// A topic is what one watches: a workflow execution, a task that stands alone, or
// a whole organization. It carries two sorts of frame. Facts are changes of state,
// made of the history: they have a place (Frame.Seq) from which a watcher can go
// on, now or after it has lost its connection. Passing frames are what tasks say
// while they run, tokens and progress: they are nowhere else, and whoever is not
// there does not see them.
//
// # Nobody waits for a watcher
//
// A commit only notes which topics it changed, in a map. The hub's own goroutine
// then reads the history, once per topic however many watch it, makes frames, and
// appends them to the topic's two bounded logs. A watcher is a pair of places in
// these logs. It goes on at its own pace; when a log has moved on past its place,
// it is told how many frames it missed. A watcher costs a few words, and an
// append wakes all of a topic's watchers by closing one channel.
//
// # Across servers
//
// A server says on the bus what its watchers watch (interest), again and again
// while they do. Another server that changes such a topic sends a hint, and the
// first one reads the history from the database. Hints may be lost: a topic is
// compared with the database every few seconds. Nothing is sent about topics that
// nobody watches. Passing frames travel over a Relay.
package live

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// Topic is what can be watched.
type Topic struct {
	Org flovyn.OrgID
	// Class is flovyn.ClassWorkflow or flovyn.ClassTask; empty for all of the
	// organization, which has no ID.
	Class flovyn.Class
	ID    uuid.UUID
}

// Workflow is the topic of an execution.
func Workflow(org flovyn.OrgID, id flovyn.ExecutionID) Topic {
	return Topic{org, flovyn.ClassWorkflow, id.UUID()}
}

// Task is the topic of a task that stands alone.
func Task(org flovyn.OrgID, id flovyn.TaskID) Topic {
	return Topic{org, flovyn.ClassTask, id.UUID()}
}

// Organization is the topic of everything in an organization.
func Organization(org flovyn.OrgID) Topic { return Topic{Org: org} }

// text is the name of a topic within its organization, as hints carry it.
func (t Topic) text() string { return string(t.Class) + "/" + t.ID.String() }

func parseTopic(org flovyn.OrgID, text string) (Topic, bool) {
	class, id, _ := strings.Cut(text, "/")
	parsed, err := uuid.Parse(id)
	return Topic{org, flovyn.Class(class), parsed}, err == nil
}

// The sorts of frame.
const (
	Data     = "data"
	Token    = "token"
	Progress = "progress"
	Error    = "error"
	// Missed tells a watcher how many frames it was too slow for.
	Missed = "missed"
)

// Frame is one thing that a watcher is told. It is shared and never changed.
type Frame struct {
	// Topic is what the frame is about: in an organization's topic, the execution
	// or task.
	Topic Topic
	// Seq is the place of a fact in its topic; zero for what cannot be told again.
	Seq flovyn.Seq
	// Event is one of the sorts above; Name is the name of a change of state, and
	// empty for what a task says.
	Event, Name string
	// Data is JSON for data, a number for progress, and otherwise text.
	Data string
	// Task is the task that says it.
	Task flovyn.TaskID
	At   time.Time
	// Child is the execution that begins here.
	Child flovyn.ExecutionID
}

// Source is where the hub reads what happened.
type Source interface {
	// History returns an execution and its whole history.
	History(ctx context.Context, org flovyn.OrgID, id flovyn.ExecutionID) (*flovyn.WorkflowExecution, []history.Event, error)
	// TaskHistory returns a task and its attempts that did not end it.
	TaskHistory(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (*flovyn.TaskExecution, []flovyn.Attempt, error)
	// Stamps returns a text for each execution and task that is another one after
	// each change, and begins with its status and a space.
	Stamps(ctx context.Context, executions, tasks []uuid.UUID) (map[uuid.UUID]string, error)
}

// Hints are how servers tell each other.
const (
	// HintChanged says that a topic changed: its text, a colon, and the first new
	// place.
	HintChanged = "live"
	// HintInterest says that somebody watches a topic on the sending server.
	HintInterest = "watch"
)

// Config says what a hub works with.
type Config struct {
	Source Source
	// Announce sends a hint to the other servers, soon and at most once for many.
	Announce func(hint string, org flovyn.OrgID, text string)
	// Relay carries passing frames to other servers; nil keeps them here.
	Relay Relay
	// MaxWatchers and MaxPerOrg bound the watchers of this server. Default
	// flovyn.MaxWatchers and flovyn.MaxWatchersPerOrg.
	MaxWatchers, MaxPerOrg int
	Log                    *slog.Logger
}

const (
	// keptFacts and keptPassing bound the logs of a topic.
	keptFacts   = 4096
	keptPassing = 1024
	// keptBytes bounds the bytes of each log.
	keptBytes = 4 << 20
	// narrators is how many narrators are remembered beside those of topics.
	narrators = 10_000
	// sweepEvery is how often topics are compared with the database, and how often
	// the interest of this server is told.
	sweepEvery    = 2 * time.Second
	interestEvery = 20 * time.Second
	// interestLasts is how long another server's interest is believed.
	interestLasts = time.Minute
	// maxInterest bounds what is remembered of other servers' interest, and
	// maxDirty what may wait to be read.
	maxInterest = 100_000
	maxDirty    = 100_000
	// readTimeout bounds one reading of the database.
	readTimeout = 15 * time.Second
)

// Hub brings what happens to those who watch. Methods are safe for concurrent
// use.
type Hub struct {
	cfg    Config
	cancel context.CancelFunc
	work   sync.WaitGroup
	kick   chan struct{}

	mu       sync.RWMutex
	topics   map[Topic]*topic
	watchers int
	perOrg   map[flovyn.OrgID]int
	interest map[Topic]time.Time
	// waits are the topics whose end is waited for.
	waits map[Topic]*awaited
	// dirty holds topics to be read, each with the first place that is new.
	dirty map[Topic]flovyn.Seq

	// told are the narrators, used by the one goroutine that reads.
	told *lru.Cache[Topic, *history.Narrator]
}

// New makes a hub. Start begins, Stop ends it.
func New(cfg Config) (*Hub, error) {
	if cfg.MaxWatchers == 0 {
		cfg.MaxWatchers = flovyn.MaxWatchers
	}
	if cfg.MaxPerOrg == 0 {
		cfg.MaxPerOrg = flovyn.MaxWatchersPerOrg
	}
	if cfg.Announce == nil {
		cfg.Announce = func(string, flovyn.OrgID, string) {}
	}
	if cfg.Relay == nil {
		cfg.Relay = alone{}
	}
	told, err := lru.New[Topic, *history.Narrator](narrators)
	if err != nil {
		return nil, fault.Bug("room for %d narrators: %v", narrators, err)
	}
	return &Hub{
		cfg: cfg, kick: make(chan struct{}, 1), topics: map[Topic]*topic{}, perOrg: map[flovyn.OrgID]int{},
		interest: map[Topic]time.Time{}, waits: map[Topic]*awaited{}, dirty: map[Topic]flovyn.Seq{}, told: told,
	}, nil
}

// Start begins to read and to listen.
func (h *Hub) Start(ctx context.Context) {
	ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.work.Go(func() { h.run(ctx) })
	h.work.Go(func() { h.cfg.Relay.Run(ctx, h.receive) })
}

// Stop ends both. Watchers are told nothing more.
func (h *Hub) Stop() {
	if h.cancel != nil {
		h.cancel()
	}
	h.work.Wait()
}

// endMark stands in a hint of a change behind the place when the topic has ended.
const endMark = "ended"

// Changed says that a commit of this server changed a topic, which place is the
// first new one, and whether the topic has ended. It returns at once.
func (h *Hub) Changed(t Topic, first flovyn.Seq, ended bool) {
	h.mu.RLock()
	here, awaited := h.watched(t), ended && h.waits[t] != nil
	now := time.Now()
	elsewhere := h.interest[t].After(now) || h.interest[Organization(t.Org)].After(now)
	h.mu.RUnlock()
	if here {
		h.mark(t, first)
	}
	if awaited {
		h.tellEnd(t)
	}
	if elsewhere {
		text := t.text() + ":" + strconv.Itoa(int(first))
		if ended {
			text += ":" + endMark
		}
		h.cfg.Announce(HintChanged, t.Org, text)
	}
}

// Heard takes a hint of another server.
func (h *Hub) Heard(hint string, org flovyn.OrgID, text string) {
	name, place, _ := strings.Cut(text, ":")
	place, end, _ := strings.Cut(place, ":")
	t, ok := parseTopic(org, name)
	switch {
	case !ok:
	case hint == HintInterest:
		h.mu.Lock()
		if _, known := h.interest[t]; known || len(h.interest) < maxInterest {
			h.interest[t] = time.Now().Add(interestLasts)
		}
		h.mu.Unlock()
	case hint == HintChanged:
		first, err := strconv.Atoi(place)
		h.mu.RLock()
		here := h.watched(t)
		h.mu.RUnlock()
		if err == nil && here {
			h.mark(t, flovyn.Seq(first))
		}
		if end == endMark {
			h.tellEnd(t)
		}
	}
}

// HintsMissed says that hints of other servers may have been lost, and that they
// may not know what is watched here.
func (h *Hub) HintsMissed() {
	for _, t := range h.watchedTopics() {
		h.cfg.Announce(HintInterest, t.Org, t.text())
		if t.Class != "" {
			h.mark(t, 1)
		}
	}
	for _, t := range h.awaitedTopics() {
		h.cfg.Announce(HintInterest, t.Org, t.text())
		h.tellEnd(t) // whoever waits looks
	}
}

// watched reports whether anybody here watches a topic. The lock is held.
func (h *Hub) watched(t Topic) bool {
	return h.topics[t] != nil || h.topics[Organization(t.Org)] != nil
}

// mark notes that a topic is to be read.
func (h *Hub) mark(t Topic, first flovyn.Seq) {
	h.mu.Lock()
	before, known := h.dirty[t]
	if !known || first < before {
		if known || len(h.dirty) < maxDirty { // the sweep makes up for what is left out
			h.dirty[t] = first
		}
	}
	h.mu.Unlock()
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

func (h *Hub) watchedTopics() []Topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	topics := make([]Topic, 0, len(h.topics))
	for t := range h.topics {
		topics = append(topics, t)
	}
	return topics
}

// run reads what is dirty, and now and then compares everything watched with the
// database.
func (h *Hub) run(ctx context.Context) {
	sweep, tell := time.NewTicker(sweepEvery), time.NewTicker(interestEvery)
	defer sweep.Stop()
	defer tell.Stop()
	for {
		select {
		case <-h.kick:
			for t, first := range h.takeDirty() {
				h.read(ctx, t, first)
			}
		case <-sweep.C:
			h.sweep(ctx)
		case now := <-tell.C:
			h.tellInterest(now)
		case <-ctx.Done():
			return
		}
	}
}

func (h *Hub) takeDirty() map[Topic]flovyn.Seq {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.dirty
	h.dirty = map[Topic]flovyn.Seq{}
	return taken
}

// tellInterest repeats what is watched here, and forgets what others no longer
// repeat.
func (h *Hub) tellInterest(now time.Time) {
	for _, t := range slices.Concat(h.watchedTopics(), h.awaitedTopics()) {
		h.cfg.Announce(HintInterest, t.Org, t.text())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, until := range h.interest {
		if until.Before(now) {
			delete(h.interest, t)
		}
	}
}

// sweep finds the topics that changed without a hint.
func (h *Hub) sweep(ctx context.Context) {
	var executions, tasks []uuid.UUID
	topics, awaited := h.watchedTopics(), h.awaitedTopics()
	for _, t := range slices.Concat(topics, awaited) {
		switch t.Class {
		case flovyn.ClassWorkflow:
			executions = append(executions, t.ID)
		case flovyn.ClassTask:
			tasks = append(tasks, t.ID)
		}
	}
	if len(executions)+len(tasks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	stamps, err := h.cfg.Source.Stamps(ctx, executions, tasks)
	if err != nil {
		if ctx.Err() == nil {
			h.cfg.Log.Warn("watched topics were not compared with the database", "error", err)
		}
		return
	}
	for _, t := range topics {
		if watched := h.topic(t); watched != nil && stamps[t.ID] != watched.stamped() && stamps[t.ID] != "" {
			watched.stamp(stamps[t.ID])
			h.read(ctx, t, 1)
		}
	}
	for _, t := range awaited {
		if status, _, _ := strings.Cut(stamps[t.ID], " "); flovyn.WorkflowStatus(status).Terminal() {
			h.tellEnd(t)
		}
	}
}

func (h *Hub) topic(t Topic) *topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.topics[t]
}

// read makes frames of what happened, and appends them where they are watched.
func (h *Hub) read(ctx context.Context, t Topic, first flovyn.Seq) {
	own, all := h.topic(t), h.topic(Organization(t.Org))
	if own == nil && all == nil {
		return
	}
	narrator, known := h.told.Get(t)
	if !known || (own != nil && !own.loaded()) {
		narrator, known = history.NewNarrator(), false
		h.told.Add(t, narrator)
	}
	before := narrator.Told()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	scenes, ended, err := h.narrate(ctx, t, narrator)
	if err != nil {
		if ctx.Err() == nil && !fault.Is(err, fault.NotFound) {
			h.cfg.Log.Warn("a watched topic was not read", "topic", t.text(), "error", err)
		}
		return
	}
	frames := framesOf(t, scenes)
	if own != nil {
		own.tell(frames, ended)
	}
	if all == nil {
		return
	}
	if !known && t.Class == flovyn.ClassTask { // what came before is not known
		first = flovyn.Seq(max(int(narrator.Told()), int(before)))
	}
	fresh := frames[:0:0]
	for _, f := range frames {
		if f.Seq == 0 || f.Seq >= first {
			fresh = append(fresh, f)
		}
	}
	all.tell(fresh, false)
}

// narrate reads a topic and returns what a narrator has not told of it yet, and
// whether nothing more will happen.
func (h *Hub) narrate(ctx context.Context, t Topic, n *history.Narrator) (scenes []history.Scene, ended bool, err error) {
	if t.Class == flovyn.ClassTask {
		task, attempts, err := h.cfg.Source.TaskHistory(ctx, t.Org, flovyn.TaskID(t.ID))
		if err != nil {
			return nil, false, err
		}
		return n.Task(task, attempts), task.Status.Terminal(), nil
	}
	w, events, err := h.cfg.Source.History(ctx, t.Org, flovyn.ExecutionID(t.ID))
	if err != nil {
		return nil, false, err
	}
	return n.Workflow(w, events), w.Status.Terminal(), nil
}

func framesOf(t Topic, scenes []history.Scene) []*Frame {
	frames := make([]*Frame, len(scenes))
	for i, s := range scenes {
		frames[i] = &Frame{Topic: t, Seq: s.Seq, Event: Data, Name: s.Name, Data: string(s.Data), At: s.At, Child: s.Child}
		if t.Class == flovyn.ClassTask {
			frames[i].Task = flovyn.TaskID(t.ID)
		}
	}
	return frames
}

// Say passes on what a task says while it runs. It returns at once; nobody may be
// there to hear it.
func (h *Hub) Say(f *Frame) {
	h.mu.RLock()
	elsewhere := h.interest[f.Topic].After(time.Now())
	h.mu.RUnlock()
	if h.cfg.Relay.Retains() {
		h.cfg.Relay.Send(f) // and comes back
		return
	}
	h.receive(f)
	if elsewhere {
		h.cfg.Relay.Send(f)
	}
}

// receive takes a passing frame, from here or from another server.
func (h *Hub) receive(f *Frame) {
	if t := h.topic(f.Topic); t != nil {
		t.pass(f)
	}
}
