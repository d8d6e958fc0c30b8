package postgres

import (
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres/internal/pgq"
)

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func uuidOf(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

func executionOf(r *pgq.WorkflowExecution) *flovyn.WorkflowExecution {
	return &flovyn.WorkflowExecution{
		ID: flovyn.ExecutionID(r.ID), Org: flovyn.OrgID(r.OrgID), Kind: r.Kind, Queue: r.Queue,
		Status: flovyn.WorkflowStatus(r.Status), LastSeq: flovyn.Seq(r.LastSeq), News: r.News, Disputed: r.Disputed,
		HistoryMonth: r.HistoryMonth, Priority: time.Duration(r.PriorityMs) * time.Millisecond,
		Version: r.WorkflowVersion, Parent: flovyn.ExecutionID(uuidOf(r.ParentID)), ChildName: r.ChildName,
		WorkerID: r.WorkerID, ClaimedAt: timeOf(r.ClaimedAt), Activations: r.Activations,
		IdempotencyKey: r.IdempotencyKey, Metadata: r.Metadata, CreatedAt: r.CreatedAt,
		StartedAt: timeOf(r.StartedAt), EndedAt: timeOf(r.EndedAt), UpdatedAt: r.UpdatedAt, Traceparent: r.Traceparent,
		HistoryBytes: r.HistoryBytes, Lost: r.LostActivations, ParkedAt: timeOf(r.ParkedAt), ParkedReason: r.ParkedReason,
	}
}

func taskOf(r *pgq.TaskExecution) *flovyn.TaskExecution {
	return &flovyn.TaskExecution{
		ID: flovyn.TaskID(r.ID), Org: flovyn.OrgID(r.OrgID), Workflow: flovyn.ExecutionID(uuidOf(r.WorkflowID)),
		Kind: r.Kind, Queue: r.Queue, Status: flovyn.TaskStatus(r.Status), Attempt: r.ExecutionCount,
		MaxRetries: r.MaxRetries, Timeout: time.Duration(r.TimeoutMs) * time.Millisecond,
		HistoryMonth: r.HistoryMonth, ScheduledSeq: flovyn.Seq(r.ScheduledSeq), WorkerID: r.WorkerID,
		ClaimedAt: timeOf(r.ClaimedAt), HeartbeatAt: timeOf(r.HeartbeatAt), Error: r.Error,
		IdempotencyKey: r.IdempotencyKey, Metadata: r.Metadata, CreatedAt: r.CreatedAt,
		StartedAt: timeOf(r.StartedAt), EndedAt: timeOf(r.EndedAt), Traceparent: r.Traceparent,
		Lost: r.LostAttempts, ParkedAt: timeOf(r.ParkedAt), ParkedReason: r.ParkedReason,
	}
}

func promiseOf(r *pgq.Promise) *flovyn.Promise {
	return &flovyn.Promise{
		ID: flovyn.PromiseID(r.ID), Org: flovyn.OrgID(r.OrgID), Execution: flovyn.ExecutionID(r.ExecutionID),
		Name: r.Name, Status: flovyn.PromiseStatus(r.Status), TimeoutAt: timeOf(r.TimeoutAt),
		IdempotencyKey: r.IdempotencyKey, CreatedAt: r.CreatedAt, SettledAt: timeOf(r.SettledAt),
	}
}

func timerOf(r *pgq.Timer) flovyn.Timer {
	return flovyn.Timer{
		TimerKey: flovyn.TimerKey{Owner: r.OwnerID, Kind: flovyn.TimerKind(r.Kind), Name: r.Name},
		Org:      flovyn.OrgID(r.OrgID), FireAt: r.FireAt,
	}
}

func eventOf(r *pgq.EventsAfterRow) history.Event {
	return history.Event{
		Seq: flovyn.Seq(r.Seq), Type: history.EventType(r.EventType), Data: r.Data, At: r.CreatedAt,
	}
}
