package live

import (
	"strconv"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Watch is one watcher's place in a topic. It belongs to one goroutine.
type Watch struct {
	hub   *Hub
	name  Topic
	topic *topic
	facts uint64
	// passing is the place among passing frames; begun tells that both are set.
	passing uint64
	after   flovyn.Seq
	begun   bool
}

// Watch begins to watch a topic, which must be one of the caller's organization:
// what comes after a place, or everything that is kept when the place is zero. It
// is Exhausted when too many watch already.
func (h *Hub) Watch(name Topic, after flovyn.Seq) (*Watch, error) {
	h.mu.Lock()
	if err := h.count(name.Org); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	t, known := h.topics[name]
	if !known {
		t = newTopic(name.Class == "")
		t.close = h.cfg.Relay.Watch(name)
		h.topics[name] = t
	}
	t.watchers++
	h.mu.Unlock()
	if !known {
		h.cfg.Announce(HintInterest, name.Org, name.text())
		if name.Class == "" {
			t.tell(nil, false) // there is nothing to read
		} else {
			h.mark(name, 1)
		}
	}
	return &Watch{hub: h, name: name, topic: t, after: after}, nil
}

// Close ends the watch.
func (w *Watch) Close() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.discount(w.name.Org)
	if w.topic.watchers--; w.topic.watchers == 0 {
		delete(h.topics, w.name)
		w.topic.close()
	}
}

// count counts one more who watches or waits, unless there are too many. The lock
// is held.
func (h *Hub) count(org flovyn.OrgID) error {
	if h.watchers >= h.cfg.MaxWatchers || h.perOrg[org] >= h.cfg.MaxPerOrg {
		return fault.New(fault.Exhausted, "too many watchers: at most %d of an organization, and %d in all, on a server",
			h.cfg.MaxPerOrg, h.cfg.MaxWatchers)
	}
	h.watchers++
	h.perOrg[org]++
	return nil
}

// discount takes one away again. The lock is held.
func (h *Hub) discount(org flovyn.OrgID) {
	h.watchers--
	if h.perOrg[org]--; h.perOrg[org] == 0 {
		delete(h.perOrg, org)
	}
}

// Watchers returns how many watch or wait.
func (h *Hub) Watchers() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.watchers
}

// Next returns the next frame. Without one it returns a channel that is closed
// when there is news. loaded tells that the topic was read, ended that it has
// ended: with both and no frame, nothing more will come but what its tasks still
// say.
func (w *Watch) Next() (f *Frame, news <-chan struct{}, loaded, ended bool) {
	t := w.topic
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.read {
		return nil, t.news, false, false
	}
	w.begin()
	for {
		fact, gone := t.facts.at(w.facts)
		if gone > 0 {
			w.facts += gone
			return MissedFrame(w.name, gone), nil, true, t.ended
		}
		if fact == nil {
			break
		}
		w.facts++
		if fact.Seq > w.after || t.whole {
			return fact, nil, true, t.ended
		}
	}
	passing, gone := t.passing.at(w.passing)
	if gone > 0 {
		w.passing += gone
		return MissedFrame(w.name, gone), nil, true, t.ended
	}
	if passing != nil {
		w.passing++
		return passing, nil, true, t.ended
	}
	return nil, t.news, true, t.ended
}

// Resume lets a watcher of an organization go on after a frame that is still
// kept. Without it, it goes on with the first one that is.
func (w *Watch) Resume(after Topic, seq flovyn.Seq) {
	t := w.topic
	t.mu.RLock()
	defer t.mu.RUnlock()
	w.begun, w.facts, w.passing = true, t.facts.base, t.passing.end()
	for i, f := range t.facts.frames {
		if f.Topic == after && f.Seq == seq {
			w.facts = t.facts.base + uint64(i) + 1
		}
	}
}

// begin finds the place to begin at. Who goes on after a place has seen what
// passed before; facts that the log has lost by now are told as missed.
func (w *Watch) begin() {
	if w.begun {
		return
	}
	w.begun = true
	t := w.topic
	switch {
	case t.whole && w.after == 0:
		w.facts, w.passing = t.facts.end(), t.passing.end()
	case w.after > 0:
		w.facts, w.passing = t.facts.base, t.passing.end()
	case t.facts.base > 0:
		w.facts, w.passing = 0, t.passing.base
	default:
		w.facts, w.passing = t.facts.base, t.passing.base
	}
	if w.after > 0 && !t.whole && t.facts.base > 0 && len(t.facts.frames) > 0 && t.facts.frames[0].Seq > w.after+1 {
		w.facts = t.facts.base - uint64(t.facts.frames[0].Seq-w.after-1)
	}
}

// MissedFrame tells how many frames a watcher was too slow for, or came too late for.
// Facts among them stand in the history.
func MissedFrame(t Topic, n uint64) *Frame {
	return &Frame{Topic: t, Event: Missed, Data: `{"missed":` + strconv.FormatUint(n, 10) + `}`}
}
