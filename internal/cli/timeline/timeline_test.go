package timeline_test

import (
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var begin = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func after(seconds int) *timestamppb.Timestamp {
	return timestamppb.New(begin.Add(time.Duration(seconds) * time.Second))
}

var parts = &timeline.Parts{
	Execution: &apiv1.WorkflowExecution{Kind: "order", Status: "RUNNING", CreatedAt: after(0), StartedAt: after(1)},
	History: &apiv1.ListWorkflowEventsResponse{Events: []*apiv1.WorkflowEvent{
		{EventType: "TIMER_STARTED", Timestamp: after(2), Data: []byte(`{"timerId": "deadline"}`)},
		{EventType: "TIMER_CANCELLED", Timestamp: after(8), Data: []byte(`{"timerId": "deadline"}`)},
		{EventType: "TIMER_FIRED", Timestamp: after(8), Data: []byte(`not JSON`)},
	}},
	Tasks: []*apiv1.TaskExecution{
		{Kind: "charge", Status: "COMPLETED", CreatedAt: after(3), StartedAt: after(5), CompletedAt: after(7), ExecutionCount: 2},
		{Kind: "charge", Status: "FAILED", CreatedAt: after(1), StartedAt: after(1), CompletedAt: after(2), ExecutionCount: 1},
	},
	Children: []*apiv1.WorkflowChild{{ChildExecutionName: "shipping", Status: "RUNNING", CreatedAt: after(8)}},
	Promises: []*apiv1.Promise{{Name: "approval", Status: "PENDING", CreatedAt: after(4)}},
}

func TestDraw(t *testing.T) {
	t.Parallel()
	scale, lines := timeline.Draw(timeline.Spans(parts), begin.Add(10*time.Second), 60)
	got := []string{scale}
	for _, line := range lines {
		text := line.Label + " " + line.Bar + " " + line.Length
		if width := ansi.StringWidth(text); width != 60 {
			t.Errorf("a line is %d wide: %q", width, text)
		}
		got = append(got, text)
	}
	want := []string{
		"                     0              5s          10s",
		"order                ···▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒      10s",
		"  charge #1             ███×                              1s",
		"  deadline                 ░░░░░░░░░░░░░░░░░░░            6s",
		"  charge #2 (2 trie…          ······███████               4s",
		"  approval                       ══════════════════       6s",
		"  shipping                                   ▒▒▒▒▒▒       2s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the drawing (-want +got):\n%s", diff)
	}
	// However narrow, it does not break.
	for width := range 40 {
		timeline.Draw(timeline.Spans(parts), begin, width)
	}
}
