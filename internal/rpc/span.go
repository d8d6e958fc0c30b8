package rpc

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/trace"
)

// maxSpans bounds the spans of one report that are looked at; of those,
// trace.MaxReported are passed on.
const maxSpans = 10_000

// ReportExecutionSpans passes an SDK's tracing spans on to the collector. They are
// insight, not state: one about an execution that is not there, or that belongs to
// no trace, is accepted and goes nowhere.
func (h workflowDispatch) ReportExecutionSpans(
	ctx context.Context, req *flovynv1.ReportExecutionSpansRequest,
) (*flovynv1.ReportExecutionSpansResponse, error) {
	spans := req.GetSpans()
	if len(spans) > maxSpans {
		return nil, fault.New(fault.Exhausted, "spans: %d exceed the limit of %d in one report", len(spans), maxSpans)
	}
	for i, span := range spans {
		if err := checkSpan("spans["+strconv.Itoa(i)+"].", span); err != nil {
			return nil, err
		}
	}
	taken := spans[:min(len(spans), trace.MaxReported)]
	if h.tracer.Enabled() {
		if err := h.report(ctx, taken, req.GetSdkInfo()); err != nil {
			return nil, err
		}
	}
	return &flovynv1.ReportExecutionSpansResponse{AcceptedCount: int32(len(taken)), RejectedCount: int32(len(spans) - len(taken))}, nil
}

// report sends the spans that are about executions of the caller's organization.
func (h workflowDispatch) report(ctx context.Context, spans []*flovynv1.ExecutionSpan, sdk *flovynv1.SdkInfo) error {
	who, ok := caller.From(ctx)
	if !ok || who.Org.IsZero() { // without authentication nobody says whose they are
		return nil
	}
	var ids []flovyn.ExecutionID
	for _, span := range spans {
		if id, err := uuid.Parse(span.GetWorkflowId()); err == nil {
			ids = append(ids, flovyn.ExecutionID(id))
		}
	}
	traces, err := h.engine.Traces(ctx, who.Org, ids)
	if err != nil {
		return err
	}
	for _, span := range spans {
		id, err := uuid.Parse(span.GetWorkflowId())
		if err != nil {
			continue
		}
		known := map[string]any{
			"tenant.id": who.Org.String(), "workflow.id": span.GetWorkflowId(),
			"sdk.language": cmp.Or(sdk.GetLanguage(), "unknown"),
		}
		if span.GetTaskId() != "" {
			known["task.id"] = span.GetTaskId()
		}
		h.tracer.Report(trace.Reported{
			Parent: traces[flovyn.ExecutionID(id)], ID: span.GetSpanId(), ParentID: span.GetParentSpanId(), Type: span.GetSpanType(),
			Start: time.Unix(0, span.GetStartTimeUnixNs()), End: time.Unix(0, span.GetEndTimeUnixNs()),
			Failed: span.GetIsError(), ErrorType: span.GetErrorType(), ErrorMessage: span.GetErrorMessage(),
			Attributes: span.GetAttributes(), Known: known,
		})
	}
	return nil
}

// checkSpan checks the shape of a span's ids. Those of workflow and task may be
// missing: not every span is about both.
func checkSpan(path string, span *flovynv1.ExecutionSpan) error {
	if err := required(path+"span_id", span.GetSpanId()); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"span_id": span.GetSpanId(), "parent_span_id": span.GetParentSpanId(), "span_type": span.GetSpanType(),
	} {
		if len(text) > flovyn.MaxNameLength {
			return fault.InvalidField(path+name, "longer than %d bytes", flovyn.MaxNameLength)
		}
	}
	for name, text := range map[string]string{"workflow_id": span.GetWorkflowId(), "task_id": span.GetTaskId()} {
		if text == "" {
			continue
		}
		if _, err := parseUUID(path+name, text); err != nil {
			return err
		}
	}
	return nil
}
