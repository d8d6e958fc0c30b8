package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

// What people and programs look at, and no step needs. Everything here is read
// outside of steps, and every list is bounded.

// maxParts bounds the tasks, children and promises of one execution that are read
// at once.
const maxParts = 10_000

// OnlineWithin is how recent the last sign of life of a worker that counts as
// online is. Signs of life are written down less often than workers give them.
const OnlineWithin = time.Minute

// Started returns the JSON an execution was started with.
func (s *Store) Started(ctx context.Context, w *flovyn.WorkflowExecution) ([]byte, error) {
	data, err := s.q.EventFirst(ctx, s.pool, w.ID.UUID(), w.HistoryMonth)
	if err != nil {
		return nil, fmt.Errorf("reading what an execution was started with: %w", translate(err))
	}
	return history.Member(data, "input"), nil
}

// Ended returns the event that ended an execution.
func (s *Store) Ended(ctx context.Context, w *flovyn.WorkflowExecution) (history.Draft, error) {
	r, err := s.q.EventLastOf(ctx, s.pool, w.ID.UUID(), w.HistoryMonth, []string{
		string(history.WorkflowCompleted), string(history.WorkflowExecutionFailed), string(history.WorkflowCancelled),
	})
	if err != nil {
		return history.Draft{}, fmt.Errorf("reading how an execution ended: %w", translate(err))
	}
	return history.Draft{Type: history.EventType(r.EventType), Data: r.Data}, nil
}

// EventsPage returns up to limit events of an execution that come after one.
func (s *Store) EventsPage(ctx context.Context, w *flovyn.WorkflowExecution, after flovyn.Seq, limit int) ([]history.Event, error) {
	rows, err := s.q.EventsPage(ctx, s.pool, &pgq.EventsPageParams{
		ExecutionID: w.ID.UUID(), HistoryMonth: w.HistoryMonth, After: int32(after), Max: int32(limit),
	})
	if err != nil {
		return nil, fmt.Errorf("reading a page of a history: %w", translate(err))
	}
	events := make([]history.Event, len(rows))
	for i, r := range rows {
		events[i] = history.Event{Seq: flovyn.Seq(r.Seq), Type: history.EventType(r.EventType), Data: r.Data, At: r.CreatedAt}
	}
	return events, nil
}

// Child is an execution that another one started.
type Child struct {
	ID        flovyn.ExecutionID
	Name      string
	Kind      string
	Status    flovyn.WorkflowStatus
	CreatedAt time.Time
	EndedAt   time.Time
}

// Children lists the children of an execution in the order of their creation.
func (s *Store) Children(ctx context.Context, org flovyn.OrgID, parent flovyn.ExecutionID) ([]Child, error) {
	id := parent.UUID()
	rows, err := s.q.ExecutionChildren(ctx, s.pool, &id, org.UUID(), maxParts)
	if err != nil {
		return nil, fmt.Errorf("listing children: %w", translate(err))
	}
	children := make([]Child, len(rows))
	for i, r := range rows {
		children[i] = Child{
			flovyn.ExecutionID(r.ID), r.ChildName, r.Kind, flovyn.WorkflowStatus(r.Status), r.CreatedAt, timeOf(r.EndedAt),
		}
	}
	return children, nil
}

// Progress is how far a task says it is.
type Progress struct {
	// Fraction is by convention from 0 to 1; nil when the task said nothing.
	Fraction *float64
	Details  string
}

// TaskView is a task with what is kept of it beside the row that changes.
type TaskView struct {
	flovyn.TaskExecution
	Progress Progress
	// Input and Output are JSON; an absent output is nil.
	Input, Output []byte
}

func taskViewOf(r *pgq.TaskExecution) TaskView {
	return TaskView{TaskExecution: *taskOf(r), Progress: Progress{r.Progress, r.ProgressDetails}}
}

// ViewTask returns a task with its input and output, wherever they are kept.
func (s *Store) ViewTask(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID) (TaskView, error) {
	r, err := s.q.TaskGet(ctx, s.pool, id.UUID(), org.UUID())
	if err = translate(err); err != nil {
		if fault.Is(err, fault.NotFound) {
			err = taskNotFound(id)
		}
		return TaskView{}, err
	}
	view := taskViewOf(r)
	if !view.Standalone() {
		events, err := s.Events(ctx, org, view.Workflow)
		views := []TaskView{view}
		fillFromHistory(views, events)
		return views[0], err
	}
	view.Input, view.Output, err = s.TaskPayload(ctx, org, id)
	return view, err
}

// TasksOf lists the tasks of an execution in the order in which they were
// scheduled, with their inputs and outputs.
func (s *Store) TasksOf(ctx context.Context, org flovyn.OrgID, execution flovyn.ExecutionID) ([]TaskView, error) {
	id := execution.UUID()
	rows, err := s.q.TasksOfWorkflow(ctx, s.pool, &id, org.UUID(), maxParts)
	if err != nil {
		return nil, fmt.Errorf("listing tasks: %w", translate(err))
	}
	// After the rows, so that no row is ahead of the history.
	events, err := s.Events(ctx, org, execution)
	if err != nil {
		return nil, err
	}
	views := make([]TaskView, len(rows))
	for i, r := range rows {
		views[i] = taskViewOf(r)
	}
	fillFromHistory(views, events)
	return views, nil
}

// fillFromHistory finds the inputs and outputs of a workflow's tasks.
func fillFromHistory(views []TaskView, events []history.Event) {
	byID := make(map[string]*TaskView, len(views))
	for i := range views {
		byID[views[i].ID.String()] = &views[i]
	}
	for _, e := range events {
		if e.Type != history.TaskScheduled && e.Type != history.TaskCompleted {
			continue
		}
		id, payload := history.TaskPayload(e)
		view, ok := byID[id]
		switch {
		case !ok:
		case e.Type == history.TaskScheduled:
			view.Input = payload
		default:
			view.Output = payload
		}
	}
}

// LoggedLine is one line of a task's log, with its number.
type LoggedLine struct {
	ID int64
	TaskLog
}

// TaskLogPage returns lines of a task's log, oldest first, and how many there are
// in all. An empty level stands for every level.
func (s *Store) TaskLogPage(ctx context.Context, org flovyn.OrgID, id flovyn.TaskID, level string, limit, offset int) ([]LoggedLine, int64, error) {
	rows, err := s.q.TaskLogsPage(ctx, s.pool, &pgq.TaskLogsPageParams{
		TaskID: id.UUID(), OrgID: org.UUID(), Level: level, Max: int32(limit), Skip: int32(offset),
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading a log: %w", translate(err))
	}
	total, err := s.q.TaskLogsCount(ctx, s.pool, id.UUID(), org.UUID(), level)
	if err != nil {
		return nil, 0, fmt.Errorf("counting the lines of a log: %w", translate(err))
	}
	lines := make([]LoggedLine, len(rows))
	for i, r := range rows {
		lines[i] = LoggedLine{r.ID, TaskLog{r.Level, r.Message, r.LoggedAt}}
	}
	return lines, total, nil
}

// Promise returns a promise of the organization.
func (s *Store) Promise(ctx context.Context, org flovyn.OrgID, id flovyn.PromiseID) (*flovyn.Promise, error) {
	r, err := s.q.PromiseGet(ctx, s.pool, id.UUID(), org.UUID())
	p, err := row(r, err, promiseOf)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "promise %s not found", id)
	}
	return p, err
}

// Promises lists the promises of an execution in the order of their creation.
func (s *Store) Promises(ctx context.Context, org flovyn.OrgID, execution flovyn.ExecutionID) ([]*flovyn.Promise, error) {
	rows, err := s.q.PromisesOfExecution(ctx, s.pool, execution.UUID(), org.UUID(), maxParts)
	if err != nil {
		return nil, fmt.Errorf("listing promises: %w", translate(err))
	}
	promises := make([]*flovyn.Promise, len(rows))
	for i, r := range rows {
		promises[i] = promiseOf(r)
	}
	return promises, nil
}

// WorkerView is a worker as people look at it.
type WorkerView struct {
	ID                                       flovyn.WorkerID
	Org                                      flovyn.OrgID
	Name, Version, Type, HostName, ProcessID string
	Metadata                                 []byte
	RegisteredAt, LastSeenAt                 time.Time
	// Online tells that it gave a sign of life within OnlineWithin.
	Online bool
}

func workerViewOf(r *pgq.Worker, online bool) WorkerView {
	return WorkerView{
		ID: flovyn.WorkerID(r.ID), Org: flovyn.OrgID(r.OrgID), Name: r.Name, Version: r.Version, Type: r.WorkerType,
		HostName: r.HostName, ProcessID: r.ProcessID, Metadata: r.Metadata, RegisteredAt: r.RegisteredAt,
		LastSeenAt: r.LastSeenAt, Online: online,
	}
}

// ViewWorker returns a worker of the organization.
func (s *Store) ViewWorker(ctx context.Context, org flovyn.OrgID, id flovyn.WorkerID) (WorkerView, error) {
	r, err := s.q.WorkerGet(ctx, s.pool, OnlineWithin, org.UUID(), id.UUID())
	if err = translate(err); err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.NotFound, "worker %s not found", id)
		}
		return WorkerView{}, err
	}
	return workerViewOf(&r.Worker, r.Online), nil
}

// ViewWorkers lists workers by name; an empty type stands for every type.
func (s *Store) ViewWorkers(ctx context.Context, org flovyn.OrgID, workerType string, limit, offset int) ([]WorkerView, error) {
	rows, err := s.q.WorkersList(ctx, s.pool, &pgq.WorkersListParams{
		Silence: OnlineWithin, OrgID: org.UUID(), WorkerType: workerType, Max: int32(limit), Skip: int32(offset),
	})
	if err != nil {
		return nil, fmt.Errorf("listing workers: %w", translate(err))
	}
	views := make([]WorkerView, len(rows))
	for i, r := range rows {
		views[i] = workerViewOf(&r.Worker, r.Online)
	}
	return views, nil
}

// WorkersOfKind lists, by name, the workers that can execute a kind.
func (s *Store) WorkersOfKind(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string, limit int) ([]WorkerView, error) {
	rows, err := s.q.WorkersOfKind(ctx, s.pool, &pgq.WorkersOfKindParams{
		Silence: OnlineWithin, OrgID: org.UUID(), Class: string(class), Kind: kind, Max: int32(limit),
	})
	if err != nil {
		return nil, fmt.Errorf("listing the workers of a kind: %w", translate(err))
	}
	views := make([]WorkerView, len(rows))
	for i, r := range rows {
		views[i] = workerViewOf(&r.Worker, r.Online)
	}
	return views, nil
}

// DefinitionView is a definition with how many of its workers are online.
type DefinitionView struct {
	flovyn.Definition
	ID     uuid.UUID
	Org    flovyn.OrgID
	Online int32
}

// Availability says whether a worker that can execute the kind is online.
func (d *DefinitionView) Availability() string {
	if d.Online > 0 {
		return "AVAILABLE"
	}
	return "UNAVAILABLE"
}

// DefinitionQuery says which definitions of a class are meant.
type DefinitionQuery struct {
	Org   flovyn.OrgID
	Class flovyn.Class
	// Kind narrows them to one kind, Worker to those that a worker can execute.
	Kind          string
	Worker        flovyn.WorkerID
	Limit, Offset int
}

// ViewDefinitions lists definitions by kind.
func (s *Store) ViewDefinitions(ctx context.Context, q DefinitionQuery) ([]DefinitionView, error) {
	params := &pgq.DefinitionsPageParams{
		Silence: OnlineWithin, OrgID: q.Org.UUID(), Class: string(q.Class), Kind: q.Kind, Max: int32(q.Limit), Skip: int32(q.Offset),
	}
	if id := q.Worker.UUID(); id != uuid.Nil {
		params.WorkerID = &id
	}
	rows, err := s.q.DefinitionsPage(ctx, s.pool, params)
	if err != nil {
		return nil, fmt.Errorf("listing definitions: %w", translate(err))
	}
	views := make([]DefinitionView, len(rows))
	for i, r := range rows {
		views[i] = DefinitionView{definitionOf(q.Class, &r.Definition), r.Definition.ID, q.Org, r.Online}
	}
	return views, nil
}

// InputSchema returns the JSON Schema of a kind's input, nil when its workers
// registered none, or there is no such kind.
func (s *Store) InputSchema(ctx context.Context, org flovyn.OrgID, class flovyn.Class, kind string) ([]byte, error) {
	schema, err := s.q.DefinitionInputSchema(ctx, s.pool, org.UUID(), string(class), kind)
	if err = translate(err); err != nil && !fault.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("reading the input schema of %s: %w", kind, err)
	}
	return schema, nil
}

// QueueDepth is how much work of a class waits on a queue.
type QueueDepth struct {
	Queue string
	Depth int64
	// OldestAt is since when the first in line has waited.
	OldestAt time.Time
}

// QueueDepths lists, by name, the queues of an organization on which work of a
// class waits. It counts no further than deepest.
func (s *Store) QueueDepths(ctx context.Context, org flovyn.OrgID, class flovyn.Class, deepest, limit int) ([]QueueDepth, error) {
	rows, err := s.q.ReadyDepths(ctx, s.pool, &pgq.ReadyDepthsParams{
		Class: string(class), OrgID: org.UUID(), Deepest: int32(deepest), Max: int32(limit),
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the queues: %w", translate(err))
	}
	depths := make([]QueueDepth, len(rows))
	for i, r := range rows {
		depths[i] = QueueDepth{r.Queue, r.Depth, r.OldestAt}
	}
	return depths, nil
}
