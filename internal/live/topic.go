package live

import (
	"sync"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// line is a bounded log of frames. Places are counted from the first frame that
// ever stood in it.
type line struct {
	frames []*Frame
	base   uint64 // the place of frames[0]
	bytes  int
	most   int
}

func (l *line) end() uint64 { return l.base + uint64(len(l.frames)) }

func (l *line) add(f *Frame) {
	l.frames = append(l.frames, f)
	l.bytes += len(f.Data)
	drop := 0
	for len(l.frames)-drop > l.most || (l.bytes > keptBytes && len(l.frames)-drop > 1) {
		l.bytes -= len(l.frames[drop].Data)
		l.frames[drop] = nil
		drop++
	}
	l.frames = l.frames[drop:]
	l.base += uint64(drop)
}

// at returns the frame at a place, and how many are gone that stood between the
// place and the first one left.
func (l *line) at(place uint64) (f *Frame, gone uint64) {
	if place < l.base {
		gone, place = l.base-place, l.base
	}
	if place < l.end() {
		f = l.frames[place-l.base]
	}
	return f, gone
}

// topic is what its watchers share.
type topic struct {
	close func() // what the relay opened
	// whole tells that the topic is that of an organization.
	whole bool

	mu       sync.RWMutex
	watchers int // guarded by the hub
	facts    line
	passing  line
	lastSeq  flovyn.Seq
	ended    bool
	read     bool
	mark     string
	// news is closed, and replaced, when something was appended.
	news chan struct{}
}

func newTopic(whole bool) *topic {
	return &topic{whole: whole, facts: line{most: keptFacts}, passing: line{most: keptPassing}, news: make(chan struct{}), close: func() {}}
}

func (t *topic) loaded() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.read
}

func (t *topic) stamped() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mark
}

func (t *topic) stamp(mark string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark = mark
}

// tell adds what was read: facts, and changes that are recorded nowhere. A fact
// of the topic's own that stands in it already is left out: two narrators may have
// told it.
func (t *topic) tell(frames []*Frame, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	grown := !t.read || t.ended != ended
	t.read, t.ended = true, ended
	known := t.lastSeq
	for _, f := range frames {
		switch {
		case f.Seq == 0:
			t.passing.add(f)
		case t.whole:
			t.facts.add(f)
		case f.Seq > known:
			t.facts.add(f)
			t.lastSeq = max(t.lastSeq, f.Seq)
		default:
			continue
		}
		grown = true
	}
	if grown {
		t.announce()
	}
}

// pass adds what a task said.
func (t *topic) pass(f *Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passing.add(f)
	t.announce()
}

// announce wakes the watchers. The lock is held.
func (t *topic) announce() {
	close(t.news)
	t.news = make(chan struct{})
}
