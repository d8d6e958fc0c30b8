package rpc

import (
	"context"
	"log/slog"
	"strconv"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// maxSpans bounds the spans of one report.
const maxSpans = 10_000

// ReportExecutionSpans takes note of an SDK's tracing spans. They are insight,
// not state: they go to the log, for whoever has turned it up.
func (h workflowDispatch) ReportExecutionSpans(
	ctx context.Context, req *flovynv1.ReportExecutionSpansRequest,
) (*flovynv1.ReportExecutionSpansResponse, error) {
	if len(req.GetSpans()) > maxSpans {
		return nil, fault.New(fault.Exhausted, "spans: %d exceed the limit of %d in one report", len(req.GetSpans()), maxSpans)
	}
	for i, span := range req.GetSpans() {
		if err := checkSpan("spans["+strconv.Itoa(i)+"].", span); err != nil {
			return nil, err
		}
	}
	for _, span := range req.GetSpans() {
		h.log.LogAttrs(ctx, slog.LevelDebug, "span of an SDK",
			slog.String("type", span.GetSpanType()), slog.String("workflow", span.GetWorkflowId()),
			slog.String("task", span.GetTaskId()), slog.Bool("is_error", span.GetIsError()),
			slog.Int64("nanoseconds", span.GetEndTimeUnixNs()-span.GetStartTimeUnixNs()))
	}
	return &flovynv1.ReportExecutionSpansResponse{AcceptedCount: int32(len(req.GetSpans()))}, nil
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
