package postgres

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Touch names what a step will look at, so that it is locked and loaded before
// the step's closure runs. Naming too little costs another round, naming too
// much costs little.
type Touch struct {
	Executions []flovyn.ExecutionID
	// Parents names executions whose parent is touched as well.
	Parents []flovyn.ExecutionID
	// Histories names executions whose state is needed.
	Histories []flovyn.ExecutionID
	// Tasks and Promises also touch the execution they belong to.
	Tasks    []flovyn.TaskID
	Promises []flovyn.PromiseID
	Timers   []flovyn.TimerKey
	// Keys in the workflow scope also touch the execution they stand for.
	Keys []flovyn.Key
}

type set[K comparable] map[K]struct{}

func (s set[K]) has(k K) bool {
	_, ok := s[k]
	return ok
}

func (s set[K]) add(ks ...K) {
	for _, k := range ks {
		s[k] = struct{}{}
	}
}

// touched is the union of what the steps of a batch touch.
type touched struct {
	executions, parents, histories set[flovyn.ExecutionID]
	tasks                          set[flovyn.TaskID]
	promises                       set[flovyn.PromiseID]
	timers                         set[flovyn.TimerKey]
	keys                           set[flovyn.Key]
}

func union(steps []*step) *touched {
	t := &touched{
		executions: set[flovyn.ExecutionID]{}, parents: set[flovyn.ExecutionID]{}, histories: set[flovyn.ExecutionID]{},
		tasks: set[flovyn.TaskID]{}, promises: set[flovyn.PromiseID]{}, timers: set[flovyn.TimerKey]{}, keys: set[flovyn.Key]{},
	}
	for _, s := range steps {
		t.executions.add(s.touch.Executions...)
		t.executions.add(s.touch.Parents...)
		t.executions.add(s.touch.Histories...)
		t.parents.add(s.touch.Parents...)
		t.histories.add(s.touch.Histories...)
		t.tasks.add(s.touch.Tasks...)
		t.promises.add(s.touch.Promises...)
		t.timers.add(s.touch.Timers...)
		t.keys.add(s.touch.Keys...)
	}
	return t
}

func uuids[K ~[16]byte](s set[K]) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(s))
	for k := range s {
		ids = append(ids, uuid.UUID(k))
	}
	return ids
}

// merge adds what a closure turned out to need.
func (t *Touch) merge(more Touch) {
	t.Executions = append(t.Executions, more.Executions...)
	t.Parents = append(t.Parents, more.Parents...)
	t.Histories = append(t.Histories, more.Histories...)
	t.Tasks = append(t.Tasks, more.Tasks...)
	t.Promises = append(t.Promises, more.Promises...)
	t.Timers = append(t.Timers, more.Timers...)
	t.Keys = append(t.Keys, more.Keys...)
}

func keyColumns(keys []flovyn.Key) (orgs []uuid.UUID, scopes, names []string) {
	for _, k := range keys {
		orgs = append(orgs, k.Org.UUID())
		scopes = append(scopes, string(k.Scope))
		names = append(names, k.Name)
	}
	return orgs, scopes, names
}

func members[K comparable](s set[K]) []K { return slices.Collect(maps.Keys(s)) }

func timerColumns(keys []flovyn.TimerKey) (owners []uuid.UUID, kinds, names []string) {
	for _, k := range keys {
		owners = append(owners, k.Owner)
		kinds = append(kinds, string(k.Kind))
		names = append(names, k.Name)
	}
	return owners, kinds, names
}
