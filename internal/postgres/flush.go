package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// statements turns the collected changes into one statement per table.
func (o *writes) statements(w *work) []statement {
	q := w.store.q
	var all []statement
	add := func(n int, s statement) {
		if n > 0 {
			all = append(all, s)
		}
	}
	add(len(o.newExecutions), o.insertExecutions(w))
	add(len(o.executions), o.updateExecutions(w))
	add(len(o.events), o.insertEvents(w))
	add(len(o.newTasks), o.insertTasks(w))
	add(len(o.tasks), o.updateTasks(w))
	add(len(o.inputs), o.insertInputs(q))
	add(len(o.outputs), o.setOutputs(q))
	add(len(o.attempts), o.insertAttempts(q))
	add(len(o.newPromises), o.insertPromises(w))
	add(len(o.promises), o.updatePromises(w))
	all = append(all, o.unlist(q)...)
	add(len(o.ready), o.insertReady(q))
	add(len(o.goneTimers), o.deleteTimers(q))
	add(len(o.timers), o.insertTimers(q))
	add(len(o.goneKeys), o.deleteKeys(q))
	add(len(o.keys), o.upsertKeys(q))
	if len(o.ended) > 0 {
		all = append(all, o.closeEnded(w)...)
	}
	return all
}

func (o *writes) insertExecutions(w *work) statement {
	p := &pgq.ExecutionsInsertParams{}
	for id := range o.newExecutions {
		e := w.executions[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, e.Org.UUID())
		p.Kinds = append(p.Kinds, e.Kind)
		p.Queues = append(p.Queues, e.Queue)
		p.Statuses = append(p.Statuses, string(e.Status))
		p.LastSeqs = append(p.LastSeqs, int32(e.LastSeq))
		p.HistoryMonths = append(p.HistoryMonths, e.HistoryMonth)
		p.PrioritiesMs = append(p.PrioritiesMs, e.Priority.Milliseconds())
		p.WorkflowVersions = append(p.WorkflowVersions, e.Version)
		p.ParentIds = append(p.ParentIds, e.Parent.UUID())
		p.ChildNames = append(p.ChildNames, e.ChildName)
		p.WorkerIds = append(p.WorkerIds, e.WorkerID)
		p.ClaimedAts = append(p.ClaimedAts, e.ClaimedAt)
		p.Activations = append(p.Activations, e.Activations)
		p.IdempotencyKeys = append(p.IdempotencyKeys, e.IdempotencyKey)
		p.Metadata = append(p.Metadata, string(e.Metadata))
		p.CreatedAts = append(p.CreatedAts, e.CreatedAt)
		p.StartedAts = append(p.StartedAts, e.StartedAt)
		p.EndedAts = append(p.EndedAts, e.EndedAt)
		p.News = append(p.News, e.News)
		p.HistoryBytes = append(p.HistoryBytes, e.HistoryBytes)
		p.Traceparents = append(p.Traceparents, e.Traceparent)
		delete(o.executions, id) // inserted as it stands in the end
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.ExecutionsInsert(ctx, db, p) }
}

func (o *writes) updateExecutions(w *work) statement {
	p := &pgq.ExecutionsUpdateParams{Now: w.now}
	for id := range o.executions {
		e := w.executions[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, e.Org.UUID())
		p.Statuses = append(p.Statuses, string(e.Status))
		p.LastSeqs = append(p.LastSeqs, int32(e.LastSeq))
		p.News = append(p.News, e.News)
		p.Disputed = append(p.Disputed, e.Disputed)
		p.WorkerIds = append(p.WorkerIds, e.WorkerID)
		p.ClaimedAts = append(p.ClaimedAts, e.ClaimedAt)
		p.Activations = append(p.Activations, e.Activations)
		p.IdempotencyKeys = append(p.IdempotencyKeys, e.IdempotencyKey)
		p.StartedAts = append(p.StartedAts, e.StartedAt)
		p.EndedAts = append(p.EndedAts, e.EndedAt)
		p.HistoryBytes = append(p.HistoryBytes, e.HistoryBytes)
		p.LostActivations = append(p.LostActivations, e.Lost)
		p.ParkedAts = append(p.ParkedAts, e.ParkedAt)
		p.ParkedReasons = append(p.ParkedReasons, e.ParkedReason)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.ExecutionsUpdate(ctx, db, p) }
}

func (o *writes) insertEvents(w *work) statement {
	p := &pgq.EventsInsertParams{Now: w.now}
	for _, row := range o.events {
		p.HistoryMonths = append(p.HistoryMonths, row.month)
		p.ExecutionIds = append(p.ExecutionIds, row.execution.UUID())
		p.Seqs = append(p.Seqs, int32(row.event.Seq))
		p.EventTypes = append(p.EventTypes, string(row.event.Type))
		p.Data = append(p.Data, row.event.Data)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.EventsInsert(ctx, db, p) }
}

func (o *writes) insertTasks(w *work) statement {
	p := &pgq.TasksInsertParams{}
	for id := range o.newTasks {
		t := w.tasks[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, t.Org.UUID())
		p.WorkflowIds = append(p.WorkflowIds, t.Workflow.UUID())
		p.Kinds = append(p.Kinds, t.Kind)
		p.Queues = append(p.Queues, t.Queue)
		p.Statuses = append(p.Statuses, string(t.Status))
		p.ExecutionCounts = append(p.ExecutionCounts, t.Attempt)
		p.MaxRetries = append(p.MaxRetries, t.MaxRetries)
		p.TimeoutsMs = append(p.TimeoutsMs, t.Timeout.Milliseconds())
		p.HistoryMonths = append(p.HistoryMonths, t.HistoryMonth)
		p.ScheduledSeqs = append(p.ScheduledSeqs, int32(t.ScheduledSeq))
		p.WorkerIds = append(p.WorkerIds, t.WorkerID)
		p.ClaimedAts = append(p.ClaimedAts, t.ClaimedAt)
		p.IdempotencyKeys = append(p.IdempotencyKeys, t.IdempotencyKey)
		p.Metadata = append(p.Metadata, string(t.Metadata))
		p.CreatedAts = append(p.CreatedAts, t.CreatedAt)
		p.EndedAts = append(p.EndedAts, t.EndedAt)
		p.Errors = append(p.Errors, t.Error)
		p.Traceparents = append(p.Traceparents, t.Traceparent)
		delete(o.tasks, id)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.TasksInsert(ctx, db, p) }
}

func (o *writes) updateTasks(w *work) statement {
	p := &pgq.TasksUpdateParams{}
	for id := range o.tasks {
		t := w.tasks[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, t.Org.UUID())
		p.Statuses = append(p.Statuses, string(t.Status))
		p.ExecutionCounts = append(p.ExecutionCounts, t.Attempt)
		p.MaxRetries = append(p.MaxRetries, t.MaxRetries)
		p.WorkerIds = append(p.WorkerIds, t.WorkerID)
		p.ClaimedAts = append(p.ClaimedAts, t.ClaimedAt)
		p.HeartbeatAts = append(p.HeartbeatAts, t.HeartbeatAt)
		p.Errors = append(p.Errors, t.Error)
		p.StartedAts = append(p.StartedAts, t.StartedAt)
		p.EndedAts = append(p.EndedAts, t.EndedAt)
		p.LostAttempts = append(p.LostAttempts, t.Lost)
		p.ParkedAts = append(p.ParkedAts, t.ParkedAt)
		p.ParkedReasons = append(p.ParkedReasons, t.ParkedReason)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.TasksUpdate(ctx, db, p) }
}

func (o *writes) insertInputs(q *pgq.Queries) statement {
	var ids, orgs []uuid.UUID
	var inputs [][]byte
	for id, row := range o.inputs {
		ids, orgs, inputs = append(ids, id.UUID()), append(orgs, row.org.UUID()), append(inputs, row.payload)
	}
	return func(ctx context.Context, db pgq.DBTX) error {
		return q.TaskPayloadsInsert(ctx, db, ids, orgs, inputs)
	}
}

func (o *writes) setOutputs(q *pgq.Queries) statement {
	var ids, orgs []uuid.UUID
	var outputs [][]byte
	for id, row := range o.outputs {
		ids, orgs, outputs = append(ids, id.UUID()), append(orgs, row.org.UUID()), append(outputs, row.payload)
	}
	return func(ctx context.Context, db pgq.DBTX) error {
		return q.TaskPayloadsSetOutput(ctx, db, ids, orgs, outputs)
	}
}

func (o *writes) insertAttempts(q *pgq.Queries) statement {
	p := &pgq.TaskAttemptsInsertParams{}
	for _, a := range o.attempts {
		p.TaskIds = append(p.TaskIds, a.Task.UUID())
		p.Attempts = append(p.Attempts, a.Number)
		p.OrgIds = append(p.OrgIds, a.Org.UUID())
		p.Statuses = append(p.Statuses, string(a.Status))
		p.Errors = append(p.Errors, a.Error)
		p.WorkerIds = append(p.WorkerIds, a.WorkerID)
		p.StartedAts = append(p.StartedAts, a.StartedAt)
		p.EndedAts = append(p.EndedAts, a.EndedAt)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return q.TaskAttemptsInsert(ctx, db, p) }
}

func (o *writes) insertPromises(w *work) statement {
	p := &pgq.PromisesInsertParams{Now: w.now}
	for id := range o.newPromises {
		row := w.promises[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, row.Org.UUID())
		p.ExecutionIds = append(p.ExecutionIds, row.Execution.UUID())
		p.Names = append(p.Names, row.Name)
		p.TimeoutAts = append(p.TimeoutAts, row.TimeoutAt)
		p.IdempotencyKeys = append(p.IdempotencyKeys, row.IdempotencyKey)
		p.Statuses = append(p.Statuses, string(row.Status))
		p.SettledAts = append(p.SettledAts, row.SettledAt)
		delete(o.promises, id)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.PromisesInsert(ctx, db, p) }
}

func (o *writes) updatePromises(w *work) statement {
	p := &pgq.PromisesUpdateParams{}
	for id := range o.promises {
		row := w.promises[id]
		p.Ids = append(p.Ids, id.UUID())
		p.OrgIds = append(p.OrgIds, row.Org.UUID())
		p.Statuses = append(p.Statuses, string(row.Status))
		p.SettledAts = append(p.SettledAts, row.SettledAt)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return w.store.q.PromisesUpdate(ctx, db, p) }
}

func (o *writes) unlist(q *pgq.Queries) []statement {
	byClass := map[flovyn.Class][]uuid.UUID{}
	for key := range o.unready {
		byClass[key.class] = append(byClass[key.class], key.id)
	}
	var all []statement
	for class, ids := range byClass {
		all = append(all, func(ctx context.Context, db pgq.DBTX) error {
			return q.ReadyDelete(ctx, db, string(class), ids)
		})
	}
	return all
}

func (o *writes) insertReady(q *pgq.Queries) statement {
	p := &pgq.ReadyInsertParams{}
	for key, row := range o.ready {
		p.Classes = append(p.Classes, string(key.class))
		p.Ids = append(p.Ids, key.id)
		p.OrgIds = append(p.OrgIds, row.org.UUID())
		p.Queues = append(p.Queues, row.queue)
		p.Kinds = append(p.Kinds, row.kind)
		p.Scores = append(p.Scores, row.score)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return q.ReadyInsert(ctx, db, p) }
}

func (o *writes) deleteTimers(q *pgq.Queries) statement {
	owners, kinds, names := timerColumns(members(o.goneTimers))
	return func(ctx context.Context, db pgq.DBTX) error {
		return q.TimersDelete(ctx, db, owners, kinds, names)
	}
}

func (o *writes) insertTimers(q *pgq.Queries) statement {
	p := &pgq.TimersInsertParams{}
	for key, t := range o.timers {
		p.Owners = append(p.Owners, key.Owner)
		p.Kinds = append(p.Kinds, string(key.Kind))
		p.Names = append(p.Names, key.Name)
		p.OrgIds = append(p.OrgIds, t.Org.UUID())
		p.FireAts = append(p.FireAts, t.FireAt)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return q.TimersInsert(ctx, db, p) }
}

func (o *writes) deleteKeys(q *pgq.Queries) statement {
	p := &pgq.KeysDeleteParams{}
	for key, target := range o.goneKeys {
		p.OrgIds = append(p.OrgIds, key.Org.UUID())
		p.Scopes = append(p.Scopes, string(key.Scope))
		p.Keys = append(p.Keys, key.Name)
		p.TargetIds = append(p.TargetIds, target)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return q.KeysDelete(ctx, db, p) }
}

func (o *writes) upsertKeys(q *pgq.Queries) statement {
	p := &pgq.KeysUpsertParams{}
	for key, target := range o.keys {
		p.OrgIds = append(p.OrgIds, key.Org.UUID())
		p.Scopes = append(p.Scopes, string(key.Scope))
		p.Keys = append(p.Keys, key.Name)
		p.TargetIds = append(p.TargetIds, target.ID)
		p.ExpiresAts = append(p.ExpiresAts, target.ExpiresAt)
	}
	return func(ctx context.Context, db pgq.DBTX) error { return q.KeysUpsert(ctx, db, p) }
}

func (o *writes) closeEnded(w *work) []statement {
	q, ids := w.store.q, uuids(o.ended)
	return []statement{
		func(ctx context.Context, db pgq.DBTX) error { return q.ReadyDeleteTasksOf(ctx, db, ids) },
		func(ctx context.Context, db pgq.DBTX) error { return q.TasksCancelPending(ctx, db, w.now, ids) },
		func(ctx context.Context, db pgq.DBTX) error { return q.TimersDeleteOwned(ctx, db, ids) },
		func(ctx context.Context, db pgq.DBTX) error { return q.PromisesCancelPending(ctx, db, w.now, ids) },
	}
}
