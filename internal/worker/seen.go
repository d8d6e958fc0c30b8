package worker

import (
	"context"
	"math"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Flush writes the signs of life that were not written yet.
func (r *Registry) Flush(ctx context.Context) error {
	ids := map[flovyn.WorkerID]time.Time{}
	noted := map[workerKey]time.Time{}
	r.mu.Lock()
	for key, k := range r.workers {
		if k.registered && k.seenAt.After(k.writtenAt) {
			ids[k.id] = latest(ids[k.id], k.seenAt) // a worker goes by its name and by its id
			noted[key] = k.seenAt
		}
	}
	r.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	now, ages := time.Now(), map[flovyn.WorkerID]time.Duration{}
	for id, at := range ids {
		ages[id] = now.Sub(at)
	}
	if err := r.cfg.Store.WorkersSeen(ctx, ages); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, at := range noted {
		if k, ok := r.workers[key]; ok {
			k.writtenAt = latest(k.writtenAt, at)
		}
	}
	return nil
}

// SilentSince returns how long no server has heard of a worker. A worker that
// never registered is known only to the server it polls.
func (r *Registry) SilentSince(ctx context.Context, org flovyn.OrgID, name string) (time.Duration, error) {
	r.mu.Lock()
	k, ok := r.workers[workerKey{org, name}]
	var here time.Time
	if ok {
		here = k.seenAt
	}
	r.mu.Unlock()
	sinceHere := time.Duration(math.MaxInt64)
	if !here.IsZero() {
		sinceHere = time.Since(here)
	}
	if sinceHere < time.Minute {
		return sinceHere, nil
	}
	elsewhere, err := r.cfg.Store.WorkerSilence(ctx, org, name)
	if fault.Is(err, fault.NotFound) {
		return sinceHere, nil
	}
	return min(sinceHere, elsewhere), err
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
