package history

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// NewPromise is a promise that a submission created.
type NewPromise struct {
	CreatePromise
	ID flovyn.PromiseID
}

// NewTask is a task that a submission scheduled.
type NewTask struct {
	ScheduleTask
	// Seq is where its TASK_SCHEDULED stands.
	Seq flovyn.Seq
}

// Outcome is what a submission leads to. Its events are already folded into
// the state; everything else is for the engine to carry out in the same commit.
type Outcome struct {
	// Events are the new events, numbered on from the state's last one.
	Events []Event
	// Tasks, Timers, Promises and Children are to be created.
	Tasks    []NewTask
	Timers   []StartTimer
	Promises []NewPromise
	Children []ScheduleChild
	// CancelledTimers are to be withdrawn, SettledPromises are the execution's
	// own promises that it resolved itself.
	CancelledTimers []string
	SettledPromises []flovyn.PromiseID
	// ForeignPromises are not this execution's: they are to be resolved if they
	// belong to another execution of the organization.
	ForeignPromises []ResolvePromise
	// CancelChildren are open children to be cancelled.
	CancelChildren []CancelChild
	// News tells that the submission itself caused something that the worker
	// has not seen.
	News bool
	// End is the terminal status, empty when the execution stays open.
	End flovyn.WorkflowStatus
	// Output and Error are the result, for the parent.
	Output []byte
	Error  string
}

// Submit decides what the commands of one submission lead to, in their order.
// It fails only before it has changed anything.
func (s *State) Submit(commands []Command, status Status) (*Outcome, error) {
	if s.Ended != "" {
		return nil, fault.New(fault.Precondition, "the workflow execution has already ended")
	}
	sub := &submission{state: s, out: &Outcome{}}
	if s.isResend(commands) {
		// Its worker has seen nothing of the history. Were the execution to wait now,
		// it might wait for what has happened.
		sub.out.News = s.facts > 0
		sub.keys = map[string]bool{}
		sub.operations, sub.promises, sub.stateChanges = s.operations, s.promiseNames, s.stateChanges
	}
	for _, c := range commands {
		if err := sub.add(c); err != nil {
			return nil, err
		}
		if sub.out.End != "" {
			break // what follows the end is not part of the workflow
		}
	}
	return sub.out, sub.finish(status)
}

// isResend reports whether a worker that could not fetch the history ran the
// workflow from its start. Then some command names what the history has; or,
// in a workflow whose commands carry no identities, a promise is open and all
// that the history recorded comes again. A new identity is proof of the contrary:
// a workflow may well create a second promise of one name beside a new timer.
func (s *State) isResend(commands []Command) bool {
	identities := false
	for _, c := range commands {
		var known bool
		switch c := c.(type) {
		case ScheduleTask:
			_, known = s.tasks[c.ID]
		case ScheduleChild:
			_, known = s.children[c.ID]
		case StartTimer:
			_, known = s.timers[c.ID]
		default:
			continue
		}
		if known {
			return true
		}
		identities = true
	}
	return !identities && len(s.OpenPromises()) > 0 && s.recurs(commands)
}

// recurs reports whether the commands begin with everything that the history
// recorded of commands without identity.
func (s *State) recurs(commands []Command) bool {
	operations, promises, changes := s.operations, s.promiseNames, s.stateChanges
	for _, c := range commands {
		switch c := c.(type) {
		case RecordOperation:
			operations = after(operations, c.Name)
		case CreatePromise:
			promises = after(promises, c.Name)
		case SetState:
			changes = after(changes, stateChange{StateSet, c.Key})
		case ClearState:
			changes = after(changes, stateChange{StateCleared, c.Key})
		}
	}
	return len(operations)+len(promises)+len(changes) == 0
}

// after returns what is left to match when the next one came.
func after[T comparable](left []T, came T) []T {
	if len(left) > 0 && left[0] == came {
		return left[1:]
	}
	return left
}

type submission struct {
	state *State
	out   *Outcome
	// What the history had before this submission of what commands carry no
	// identity for, less what a resend has matched so far.
	operations, promises []string
	stateChanges         []stateChange
	// keys are those of the workflow's state as the matched changes left them.
	keys map[string]bool
}

// record numbers a draft and folds it in.
func (sub *submission) record(d Draft) error {
	e := Event{Seq: sub.state.LastSeq + 1, Type: d.Type, Data: d.Data}
	if err := sub.state.Apply(e); err != nil {
		return fault.Bug("recording %s: %v", d.Type, err)
	}
	sub.out.Events = append(sub.out.Events, e)
	return nil
}

func (sub *submission) add(c Command) error {
	s, out := sub.state, sub.out
	switch c := c.(type) {
	case RecordOperation:
		return sub.addOperation(c)
	case SetState:
		return sub.addStateChange(stateSet(c), c.Key)
	case ClearState:
		return sub.addStateChange(stateCleared(c.Key), c.Key)
	case ScheduleTask:
		if _, known := s.tasks[c.ID]; known {
			return nil
		}
		out.Tasks = append(out.Tasks, NewTask{ScheduleTask: c, Seq: s.LastSeq + 1})
		return sub.record(taskScheduled(c))
	case CreatePromise:
		return sub.addPromise(c)
	case ResolvePromise:
		return sub.resolvePromise(c)
	case ScheduleChild:
		if _, known := s.children[c.ID]; known {
			return nil
		}
		out.Children = append(out.Children, c)
		return sub.record(ChildAsked(c))
	case CancelChild:
		sub.cancelChild(c)
		return nil
	case StartTimer:
		if _, known := s.timers[c.ID]; known {
			return nil
		}
		out.Timers = append(out.Timers, c)
		return sub.record(timerStarted(c))
	case CancelTimer:
		return sub.cancelTimer(c)
	case SuspendWorkflow:
		return sub.record(SuspendedFor(c.Reason))
	default:
		return sub.end(c)
	}
}

func (sub *submission) end(c Command) error {
	out := sub.out
	switch c := c.(type) {
	case CompleteWorkflow:
		out.End, out.Output = flovyn.WorkflowCompleted, c.Output
		return sub.record(EndedCompleted(c.Output))
	case FailWorkflow:
		out.End, out.Error = flovyn.WorkflowFailed, c.Error
		return sub.record(EndedFailed(c.Error, c.StackTrace, c.FailureType))
	case CancelWorkflow:
		out.End, out.Error = flovyn.WorkflowCancelled, CancelledText(c.Reason)
		if err := sub.record(CancelRequested(c.Reason, "workflow")); err != nil {
			return err
		}
		return sub.record(EndedCancelled(c.Reason))
	default:
		return fault.Bug("no rule for command %T", c)
	}
}

// finish makes the terminal event that a status announces without a command.
func (sub *submission) finish(status Status) error {
	if sub.out.End != "" {
		return nil
	}
	switch status {
	case Completed:
		return sub.end(CompleteWorkflow{})
	case Failed:
		return sub.end(FailWorkflow{Error: "the worker reported a failure without saying why", FailureType: "ERROR"})
	case Cancelled:
		return sub.end(CancelWorkflow{})
	default:
		return nil
	}
}

func (sub *submission) addOperation(c RecordOperation) error {
	if known := sub.operations; len(known) > 0 && known[0] == c.Name {
		sub.operations = known[1:]
		return nil
	}
	return sub.record(operationDone(c))
}

// addStateChange drops a change that the history has, and the removal of what
// is not there: native cores send that again on every replay.
func (sub *submission) addStateChange(d Draft, key string) error {
	if known := sub.stateChanges; len(known) > 0 && known[0] == (stateChange{d.Type, key}) {
		sub.stateChanges, sub.keys[key] = known[1:], d.Type == StateSet
		return nil
	}
	_, present := sub.state.values[key]
	if len(sub.stateChanges) > 0 {
		present = sub.keys[key] // at this point of the code, not at the end of the history
	}
	if d.Type == StateCleared && !present {
		return nil
	}
	return sub.record(d)
}

// addPromise drops a promise that the history has, in a resend. Names may
// repeat: a second promise of one name is a promise of its own.
func (sub *submission) addPromise(c CreatePromise) error {
	if known := sub.promises; len(known) > 0 && known[0] == c.Name {
		sub.promises = known[1:]
		return nil
	}
	// Deterministic, so that deciding the same submission again names the same promise.
	ordinal := strconv.Itoa(len(sub.state.promiseNames))
	id := flovyn.PromiseID(uuid.NewSHA1(sub.state.execution.UUID(), []byte("promise:"+ordinal)))
	sub.out.Promises = append(sub.out.Promises, NewPromise{CreatePromise: c, ID: id})
	return sub.record(promiseCreated(id, c))
}

func (sub *submission) resolvePromise(c ResolvePromise) error {
	p, own := sub.state.promises[c.ID]
	if !own {
		sub.out.ForeignPromises = append(sub.out.ForeignPromises, c)
		return nil
	}
	if p.settled {
		return nil
	}
	sub.out.SettledPromises = append(sub.out.SettledPromises, c.ID)
	sub.out.News = true
	return sub.record(PromiseKept(&flovyn.Promise{ID: c.ID, Name: p.name}, c.Value))
}

// cancelChild accepts an id or a name, since SDKs leave out one or the other.
func (sub *submission) cancelChild(c CancelChild) {
	if c.ID.IsZero() {
		c.ID = sub.state.byName[c.Name]
	}
	if child, ok := sub.state.children[c.ID]; ok && child.open {
		sub.out.CancelChildren = append(sub.out.CancelChildren, c)
	}
}

func (sub *submission) cancelTimer(c CancelTimer) error {
	if !sub.state.timers[c.ID] {
		return nil
	}
	sub.out.CancelledTimers = append(sub.out.CancelledTimers, c.ID)
	return sub.record(timerWithdrawn(c.ID))
}

// CancelledText is the error text a parent sees when its child was cancelled.
func CancelledText(reason string) string {
	if reason == "" {
		return "the workflow was cancelled"
	}
	return "the workflow was cancelled: " + reason
}
