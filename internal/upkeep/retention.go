package upkeep

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

const (
	retentionInterval = time.Hour
	// purgeBatch bounds the executions or tasks that are deleted in one
	// transaction, and the histories.
	purgeBatch = 500
	// monthsInUse are the months before this one whose partition is left alone
	// although it is empty: a step may still be on its way to it.
	monthsInUse = 1
)

// Retention says how long what has ended is kept. Zero is for ever.
type Retention struct {
	// Default holds for organizations that ByOrg does not name.
	Default time.Duration
	// ByOrg holds for organizations, by slug.
	ByOrg map[string]time.Duration
	// Deleted is told what was removed: "executions", "tasks", "partitions".
	Deleted func(what string, n int)
}

func (r *Retention) age(slug string) time.Duration {
	if age, ok := r.ByOrg[slug]; ok {
		return age
	}
	return r.Default
}

// longest is the age beyond which nothing that has ended is left, if there is one.
func (r *Retention) longest() (longest time.Duration, bounded bool) {
	ages := slices.Collect(maps.Values(r.ByOrg))
	ages = append(ages, r.Default)
	return slices.Max(ages), !slices.Contains(ages, 0)
}

// off reports whether everything is kept for ever.
func (r *Retention) off() bool {
	longest, _ := r.longest()
	return longest == 0
}

// retainer removes what is older than it is to be kept.
//
// First go the finished executions and tasks of each organization, in batches.
// Their events stay where they are until nothing is left of their month, whose
// partition is then dropped: that costs nothing, however many they are. A month
// that something old but open, or an organization that keeps longer, holds on to
// is looked through instead, once after something of it was deleted.
type retainer struct {
	store *postgres.Store
	keep  *Retention
	// looked are the months in which no events without an execution are left.
	looked map[int32]bool
}

func newRetainer(store *postgres.Store, keep *Retention) *retainer {
	return &retainer{store: store, keep: keep, looked: map[int32]bool{}}
}

func (r *retainer) loop(cfg Config) *loop.Loop {
	return loop.New("retention", retentionInterval, retentionInterval/10, r.run, cfg.Logger)
}

func (r *retainer) run(ctx context.Context) error {
	orgs, err := r.store.OrganizationSlugs(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, slug := range slices.Sorted(maps.Keys(orgs)) {
		if age := r.keep.age(slug); age > 0 {
			failures = append(failures, r.purge(ctx, orgs[slug], age))
		}
	}
	return errors.Join(append(failures, r.purgeMonths(ctx))...)
}

// purge deletes what an organization has kept for long enough.
func (r *retainer) purge(ctx context.Context, org flovyn.OrgID, age time.Duration) error {
	for full := true; full; {
		purged, err := r.store.PurgeExecutions(ctx, org, age, purgeBatch)
		if err != nil {
			return err
		}
		for _, month := range purged.Months {
			delete(r.looked, month)
		}
		r.keep.Deleted("executions", purged.Executions)
		r.keep.Deleted("tasks", purged.Tasks)
		full = purged.Executions == purgeBatch
	}
	for full := true; full; {
		n, err := r.store.PurgeTasks(ctx, org, age, purgeBatch)
		if err != nil {
			return err
		}
		r.keep.Deleted("tasks", n)
		full = n == purgeBatch
	}
	return nil
}

// purgeMonths drops the partitions that nothing needs, and looks through those
// that should have been dropped by now.
func (r *retainer) purgeMonths(ctx context.Context) error {
	now, err := r.store.Now(ctx)
	if err != nil {
		return err
	}
	months, err := r.store.HistoryMonths(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, month := range months {
		if month >= flovyn.HistoryMonth(now)-monthsInUse {
			break
		}
		dropped, err := r.store.DropHistory(ctx, month)
		switch {
		case err != nil:
			failures = append(failures, err)
		case dropped:
			r.keep.Deleted("partitions", 1)
			delete(r.looked, month)
		case !r.looked[month] && r.overdue(month, now):
			failures = append(failures, r.lookThrough(ctx, month))
		}
	}
	return errors.Join(failures...)
}

// overdue reports whether what holds on to a month is an exception: otherwise its
// partition is about to be dropped, and to delete from it would be in vain.
func (r *retainer) overdue(month int32, now time.Time) bool {
	longest, bounded := r.keep.longest()
	return !bounded || month < flovyn.HistoryMonth(now.Add(-longest))-monthsInUse
}

// lookThrough deletes the events of a month whose execution is gone.
func (r *retainer) lookThrough(ctx context.Context, month int32) error {
	var after flovyn.ExecutionID
	for {
		last, _, err := r.store.PurgeHistories(ctx, month, after, purgeBatch)
		if err != nil {
			return err
		}
		if last.IsZero() {
			r.looked[month] = true
			return nil
		}
		after = last
	}
}
