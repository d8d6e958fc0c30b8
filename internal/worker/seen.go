package worker

import (
	"context"
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
	if err := r.cfg.Store.WorkersSeen(ctx, ids); err != nil {
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
	now := time.Now()
	if !here.IsZero() && now.Sub(here) < time.Minute {
		return now.Sub(here), nil
	}
	elsewhere, err := r.cfg.Store.WorkerLastSeen(ctx, org, name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return 0, err
	}
	return now.Sub(latest(here, elsewhere)), nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
