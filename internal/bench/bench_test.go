package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// answers are the events with which a server follows a command.
var answers = map[flovynv1.CommandType][]string{
	flovynv1.CommandType_SCHEDULE_TASK:           {"TASK_SCHEDULED", "TASK_COMPLETED"},
	flovynv1.CommandType_START_TIMER:             {"TIMER_STARTED", "TIMER_FIRED"},
	flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW: {"CHILD_WORKFLOW_INITIATED", "CHILD_WORKFLOW_COMPLETED"},
}

// Every kind comes to its end, and does on the way what its name says.
func TestKinds(t *testing.T) {
	t.Parallel()
	tasks := map[string]int{kindTask: 1, kindTen: 10, kindParallel: 10}
	rounds := map[string]int{kindNone: 1, kindTask: 2, kindTen: 11, kindParallel: 2, kindTimer: 2, kindSignal: 2, kindChild: 2}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			events := []*flovynv1.WorkflowEvent{{EventType: "WORKFLOW_STARTED"}}
			round := 0
			for status := flovynv1.WorkflowStatus_RUNNING; status != flovynv1.WorkflowStatus_COMPLETED; round++ {
				if round > 20 {
					t.Fatal("it does not end")
				}
				var commands []*flovynv1.WorkflowCommand
				commands, status = decide(kind, events)
				for _, command := range commands {
					for _, name := range answers[command.GetCommandType()] {
						events = append(events, &flovynv1.WorkflowEvent{EventType: name})
					}
				}
				if kind == kindSignal {
					events = append(events, &flovynv1.WorkflowEvent{EventType: "SIGNAL_RECEIVED"})
				}
			}
			scheduled := 0
			for _, event := range events {
				if event.GetEventType() == "TASK_SCHEDULED" {
					scheduled++
				}
			}
			if scheduled != tasks[kind] || round != rounds[kind] {
				t.Errorf("%d tasks in %d activations, want %d in %d", scheduled, round, tasks[kind], rounds[kind])
			}
		})
	}
}

func TestDriveDoesEachOperationOnce(t *testing.T) {
	t.Parallel()
	done := make(chan int, 100)
	m, err := drive(t.Context(), 100, 7, func(_ context.Context, i int) error {
		done <- i
		return nil
	})
	if err != nil || m.Operations != 100 || len(m.Latencies) != 100 || !slices.IsSorted(m.Latencies) {
		t.Fatalf("%+v, %v", m, err)
	}
	close(done)
	seen := map[int]bool{}
	for i := range done {
		seen[i] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different operations", len(seen))
	}
	failure := errors.New("no")
	if _, err := drive(t.Context(), 100, 7, func(context.Context, int) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("a failure became %v", err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := newReport()
	for _, rate := range []int{90, 100, 120} {
		r.add("workflow task, 50 in flight", Measured{
			Operations: rate * 10, Elapsed: time.Second, Latencies: Latencies{time.Millisecond, 2 * time.Millisecond, 200 * time.Millisecond},
		})
	}
	r.add("workflow task, 200 in flight", Measured{Operations: 500, Elapsed: time.Second, Latencies: Latencies{time.Second}})
	r.count("idle server, MB", 42)
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 task, 50 in flight, per second  1000.00   600   1000  aim reached",
		"1 task, 50 in flight, p99 ms      200.00    150   80    missed",
		"1 task, 200 in flight against 50  0.50      1     1     missed",
		"idle server, MB                   42.00     60    60    aim reached",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if got := Spread([]float64{90, 100, 120}); got != 0.3 {
		t.Errorf("spread %v", got)
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v", got)
	}
}
