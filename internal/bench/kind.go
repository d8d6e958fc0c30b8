package bench

import (
	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// The kinds of workflow, by what they do.
const (
	kindNone     = "none"     // completes at once
	kindTask     = "task"     // one task
	kindTen      = "ten"      // ten tasks, one after the other
	kindParallel = "parallel" // ten tasks at once
	kindTimer    = "timer"    // sleeps a millisecond
	kindSignal   = "signal"   // waits for a signal
	kindChild    = "child"    // waits for a child of kind none
)

var kinds = []string{kindNone, kindTask, kindTen, kindParallel, kindTimer, kindSignal, kindChild}

// kindWork is the one kind of task.
const kindWork = "work"

var (
	payload = []byte(`{"order":"A-1042","amount":1999}`)
	result  = []byte(`{"ok":true}`)
)

// decide says what a workflow does next: the commands, without their sequence
// numbers, and its status after them.
func decide(kind string, events []*flovynv1.WorkflowEvent) ([]*flovynv1.WorkflowCommand, flovynv1.WorkflowStatus) {
	count := map[string]int{}
	for _, event := range events {
		count[event.GetEventType()]++
	}
	scheduled, completed := count["TASK_SCHEDULED"], count["TASK_COMPLETED"]
	switch kind {
	case kindTask:
		return afterTasks(1, scheduled, completed, 1)
	case kindTen:
		return afterTasks(10, scheduled, completed, 1)
	case kindParallel:
		return afterTasks(10, scheduled, completed, 10)
	case kindTimer:
		return after(count["TIMER_FIRED"] > 0, count["TIMER_STARTED"] > 0, &flovynv1.WorkflowCommand{
			CommandType: flovynv1.CommandType_START_TIMER,
			CommandData: &flovynv1.WorkflowCommand_StartTimer{StartTimer: &flovynv1.StartTimerCommand{TimerId: "t", DurationMs: 1}},
		})
	case kindSignal:
		return after(count["SIGNAL_RECEIVED"] > 0, true, nil)
	case kindChild:
		name := kindNone
		return after(count["CHILD_WORKFLOW_COMPLETED"] > 0, count["CHILD_WORKFLOW_INITIATED"] > 0, &flovynv1.WorkflowCommand{
			CommandType: flovynv1.CommandType_SCHEDULE_CHILD_WORKFLOW,
			CommandData: &flovynv1.WorkflowCommand_ScheduleChildWorkflow{ScheduleChildWorkflow: &flovynv1.ScheduleChildWorkflowCommand{
				ChildExecutionName: "c", WorkflowKind: &name, ChildWorkflowExecutionId: flovyn.NewUUID().String(), Input: payload,
			}},
		})
	default:
		return complete()
	}
}

// afterTasks completes once n tasks have; until then it has at most atOnce of
// them under way.
func afterTasks(n, scheduled, completed, atOnce int) ([]*flovynv1.WorkflowCommand, flovynv1.WorkflowStatus) {
	if completed == n {
		return complete()
	}
	var commands []*flovynv1.WorkflowCommand
	for i := scheduled; i < n && i-completed < atOnce; i++ {
		commands = append(commands, &flovynv1.WorkflowCommand{
			CommandType: flovynv1.CommandType_SCHEDULE_TASK,
			CommandData: &flovynv1.WorkflowCommand_ScheduleTask{ScheduleTask: &flovynv1.ScheduleTaskCommand{
				Kind: kindWork, Input: payload, TaskExecutionId: flovyn.NewUUID().String(),
			}},
		})
	}
	return suspend(commands)
}

// after completes when it is over, waits when it has begun, and else begins.
func after(over, begun bool, begin *flovynv1.WorkflowCommand) ([]*flovynv1.WorkflowCommand, flovynv1.WorkflowStatus) {
	switch {
	case over:
		return complete()
	case begun:
		return suspend(nil)
	default:
		return suspend([]*flovynv1.WorkflowCommand{begin})
	}
}

func complete() ([]*flovynv1.WorkflowCommand, flovynv1.WorkflowStatus) {
	return []*flovynv1.WorkflowCommand{{
		CommandType: flovynv1.CommandType_COMPLETE_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_CompleteWorkflow{CompleteWorkflow: &flovynv1.CompleteWorkflowCommand{Output: result}},
	}}, flovynv1.WorkflowStatus_COMPLETED
}

func suspend(commands []*flovynv1.WorkflowCommand) ([]*flovynv1.WorkflowCommand, flovynv1.WorkflowStatus) {
	return append(commands, &flovynv1.WorkflowCommand{
		CommandType: flovynv1.CommandType_SUSPEND_WORKFLOW,
		CommandData: &flovynv1.WorkflowCommand_SuspendWorkflow{SuspendWorkflow: &flovynv1.SuspendWorkflowCommand{Reason: "waiting"}},
	}), flovynv1.WorkflowStatus_SUSPENDED
}
