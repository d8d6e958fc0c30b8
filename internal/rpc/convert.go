package rpc

import (
	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
)

// workflowOut is an activation as its worker sees it.
func workflowOut(a *flovyn.Activation) *flovynv1.WorkflowExecution {
	w := &a.Execution
	out := &flovynv1.WorkflowExecution{
		Id: w.ID.String(), Kind: w.Kind, OrgId: w.Org.String(), Input: history.OrNull(a.Input), Queue: w.Queue,
		PriorityMs: w.Priority.Milliseconds(), CreatedAtMs: w.CreatedAt.UnixMilli(),
		CurrentSequence: int32(w.LastSeq), WorkflowTaskTimeMillis: a.Now.UnixMilli(),
	}
	if w.Version != "" {
		out.WorkflowVersion = &w.Version
	}
	return out
}

// taskOut is an assignment as its worker sees it. The workflow is empty for a
// task that stands alone.
func taskOut(a *flovyn.Assignment) *flovynv1.TaskExecutionInfo {
	t := &a.Task
	out := &flovynv1.TaskExecutionInfo{
		TaskExecutionId: t.ID.String(), Kind: t.Kind, Input: history.OrNull(a.Input), ExecutionCount: t.Attempt, Queue: t.Queue,
		Traceparent: t.Traceparent,
	}
	if !t.Standalone() {
		out.WorkflowExecutionId = t.Workflow.String()
	}
	return out
}

func eventsOut(events []history.Event) []*flovynv1.WorkflowEvent {
	out := make([]*flovynv1.WorkflowEvent, len(events))
	for i, e := range events {
		out[i] = &flovynv1.WorkflowEvent{SequenceNumber: int32(e.Seq), EventType: string(e.Type), EventData: e.Data}
	}
	return out
}
