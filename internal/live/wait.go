package live

// awaited is a topic whose end is waited for. Nothing of it is read: those who
// wait want one thing only, and look for themselves when they are told.
type awaited struct {
	waiting int
	told    chan struct{}
}

// Wait is one place among those who wait for the end of an execution or task.
type Wait struct {
	hub  *Hub
	name Topic
	on   *awaited
}

// Await begins to wait for the end of a topic, which must be one of the caller's
// organization. It is Exhausted when too many wait or watch already.
func (h *Hub) Await(name Topic) (*Wait, error) {
	h.mu.Lock()
	if err := h.count(name.Org); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	on, known := h.waits[name]
	if !known {
		on = &awaited{told: make(chan struct{})}
		h.waits[name] = on
	}
	on.waiting++
	h.mu.Unlock()
	if !known {
		h.cfg.Announce(HintInterest, name.Org, name.text())
	}
	return &Wait{hub: h, name: name, on: on}, nil
}

// Told is closed when it is time to look: the topic has ended, or hints were
// missed and it may have. Who finds that it has not begins to wait anew.
func (w *Wait) Told() <-chan struct{} { return w.on.told }

// Close ends the wait.
func (w *Wait) Close() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.discount(w.name.Org)
	if w.on.waiting--; w.on.waiting == 0 && h.waits[w.name] == w.on {
		delete(h.waits, w.name)
	}
}

// tellEnd tells those who wait for the end of a topic.
func (h *Hub) tellEnd(t Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if on := h.waits[t]; on != nil {
		close(on.told)
		delete(h.waits, t)
	}
}

func (h *Hub) awaitedTopics() []Topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	topics := make([]Topic, 0, len(h.waits))
	for t := range h.waits {
		topics = append(topics, t)
	}
	return topics
}
