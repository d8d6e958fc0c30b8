package worker

import "time"

// noteProcess remembers over which connection a process registered.
func (r *Registry) noteProcess(key processKey, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.processes, key)
	if address != "" {
		r.processes[key] = registered{address, time.Now()}
	}
}

// living returns the processes of a worker that still poll over the connection
// over which they registered.
func (r *Registry) living(worker workerKey) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.open(time.Now())
	var living []string
	for key, p := range r.processes {
		if key.workerKey == worker && open[p.address] {
			living = append(living, key.process)
		}
	}
	return living
}

// open returns the connections over which polls come. The lock is held.
func (r *Registry) open(now time.Time) map[string]bool {
	addresses := map[string]bool{}
	for key, p := range r.peers {
		if p.polls > 0 || now.Sub(p.usedAt) < heard {
			addresses[key.address] = true
		}
	}
	return addresses
}

// sweep forgets connections, processes and workers that are silent. The lock is held.
func (r *Registry) sweep(now time.Time) {
	if now.Sub(r.swept) < forget/10 {
		return
	}
	r.swept = now
	for key, p := range r.peers {
		if p.polls == 0 && now.Sub(p.usedAt) > forget {
			delete(r.peers, key)
		}
	}
	open := r.open(now)
	for key, p := range r.processes {
		if now.Sub(p.at) > forget && !open[p.address] {
			delete(r.processes, key)
		}
	}
	for key, k := range r.workers {
		if now.Sub(k.seenAt) > forget {
			delete(r.workers, key)
		}
	}
}
