package worker

import "time"

func (r *Registry) hold(asked time.Duration, overlaps bool) time.Duration {
	switch {
	case asked >= patientTimeout:
		return min(asked, r.cfg.MaxHold)
	case overlaps:
		return min(max(asked, briefHold), sharedHold, r.cfg.MaxHold)
	default:
		return min(briefHold, r.cfg.MaxHold)
	}
}

// enter counts a poll of a connection, unless it is not known of which.
func (r *Registry) enter(key peerKey) (overlaps bool, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key.address == "" {
		r.sweep(time.Now())
		return false, func() {}
	}
	p, ok := r.peers[key]
	if !ok {
		p = &peer{}
		r.peers[key] = p
	}
	p.polls++
	p.usedAt = time.Now()
	p.overlaps = p.overlaps || p.polls > 1
	r.sweep(p.usedAt)
	return p.overlaps, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.polls--
		p.usedAt = time.Now()
	}
}
