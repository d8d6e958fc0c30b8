package rpc

import (
	"encoding/json"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
)

// What the management API shows of the nouns.

// metadataOut reads metadata as it is stored: a JSON object of texts, or nothing.
func metadataOut(stored []byte) (metadata map[string]string) {
	if len(stored) > 0 && json.Unmarshal(stored, &metadata) != nil {
		return nil
	}
	return metadata
}

func executionOut(v engine.View) *apiv1.WorkflowExecution {
	return &apiv1.WorkflowExecution{
		Id: v.ID.String(), OrgId: v.Org.String(), Kind: v.Kind, Queue: v.Queue, Status: string(v.Status),
		Input: history.OrNull(v.Input), Output: v.Output, Error: maybe(v.Error), CurrentSequence: int32(v.LastSeq),
		WorkflowVersion: maybe(v.Version), ParentWorkflowExecutionId: maybeID(v.Parent.UUID()), WorkerId: maybe(v.WorkerID),
		Metadata: metadataOut(v.Metadata), PrioritySeconds: int32(v.Priority.Seconds()), CreatedAt: at(v.CreatedAt),
		StartedAt: at(v.StartedAt), CompletedAt: at(v.EndedAt), UpdatedAt: at(v.UpdatedAt), ParkedReason: maybe(v.ParkedReason),
		ParkedAt: at(v.ParkedAt), HistoryNearlyFull: v.NearlyFull, SuspendType: maybe(v.Waiting),
	}
}

func workflowEventsOut(events []history.Event) []*apiv1.WorkflowEvent {
	out := make([]*apiv1.WorkflowEvent, len(events))
	for i, e := range events {
		out[i] = &apiv1.WorkflowEvent{Sequence: int32(e.Seq), EventType: string(e.Type), Timestamp: at(e.At), Data: e.Data}
	}
	return out
}

func linksOf(org string, id flovyn.ExecutionID) *apiv1.WorkflowLinks {
	self := "/api/orgs/" + org + "/workflow-executions/" + id.String()
	return &apiv1.WorkflowLinks{Self: self, Events: self + "/events"}
}

func taskExecutionOut(v *postgres.TaskView) *apiv1.TaskExecution {
	return &apiv1.TaskExecution{
		Id: v.ID.String(), OrgId: v.Org.String(), WorkflowExecutionId: maybeID(v.Workflow.UUID()), Kind: v.Kind,
		Status: string(v.Status), Queue: v.Queue, ExecutionCount: v.Attempt, MaxRetries: v.MaxRetries,
		Progress: v.Progress.Fraction, ProgressDetails: maybe(v.Progress.Details), Input: history.OrNull(v.Input),
		Output: v.Output, Error: maybe(v.Error), WorkerId: maybe(v.WorkerID), Metadata: metadataOut(v.Metadata),
		CreatedAt: at(v.CreatedAt), StartedAt: at(v.StartedAt), CompletedAt: at(v.EndedAt), ParkedReason: maybe(v.ParkedReason),
	}
}

func attemptsOut(attempts []task.AttemptView) []*apiv1.TaskAttempt {
	out := make([]*apiv1.TaskAttempt, len(attempts))
	for i := range attempts {
		a := &attempts[i]
		out[i] = &apiv1.TaskAttempt{
			Attempt: a.Number, StartedAt: at(a.StartedAt), FinishedAt: at(a.EndedAt), Status: a.Outcome,
			Output: a.Output, Error: maybe(a.Error), WorkerId: maybe(a.WorkerID),
		}
		if !a.StartedAt.IsZero() && !a.EndedAt.IsZero() {
			out[i].DurationMs = new(a.EndedAt.Sub(a.StartedAt).Milliseconds())
		}
	}
	return out
}

func promiseOut(p *flovyn.Promise) *apiv1.Promise {
	return &apiv1.Promise{
		Id: p.ID.String(), WorkflowExecutionId: p.Execution.String(), Name: p.Name, Status: string(p.Status),
		IdempotencyKey: maybe(p.IdempotencyKey), TimeoutAt: at(p.TimeoutAt), CreatedAt: at(p.CreatedAt), SettledAt: at(p.SettledAt),
	}
}

func workerOut(w *postgres.WorkerView) *apiv1.Worker {
	status := "OFFLINE"
	if w.Online {
		status = "ONLINE"
	}
	return &apiv1.Worker{
		Id: w.ID.String(), OrgId: w.Org.String(), Name: w.Name, Type: w.Type, Status: status, Version: maybe(w.Version),
		HostName: maybe(w.HostName), ProcessId: maybe(w.ProcessID), RegisteredAt: at(w.RegisteredAt),
		LastHeartbeatAt: at(w.LastSeenAt), Metadata: w.Metadata,
	}
}

func workersOut(views []postgres.WorkerView) []*apiv1.Worker {
	out := make([]*apiv1.Worker, len(views))
	for i := range views {
		out[i] = workerOut(&views[i])
	}
	return out
}

func definitionOut(d *postgres.DefinitionView) *apiv1.Definition {
	out := &apiv1.Definition{
		Id: d.ID.String(), OrgId: d.Org.String(), Kind: d.Kind, Name: d.Name, Description: maybe(d.Description),
		TimeoutSeconds: d.TimeoutSeconds, RetryPolicy: d.RetryPolicy, Tags: d.Tags, Cancellable: d.Cancellable,
		InputSchema: d.InputSchema, OutputSchema: d.OutputSchema, AvailabilityStatus: d.Availability(), WorkerCount: d.Online,
		FirstSeenAt: at(d.FirstSeenAt), LastRegisteredAt: at(d.LastRegisteredAt), Metadata: d.Metadata,
	}
	if d.Class == flovyn.ClassWorkflow {
		out.LatestVersion = maybe(d.Version)
	}
	return out
}

func definitionsOut(views []postgres.DefinitionView) []*apiv1.Definition {
	out := make([]*apiv1.Definition, len(views))
	for i := range views {
		out[i] = definitionOut(&views[i])
	}
	return out
}
