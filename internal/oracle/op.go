package oracle

import (
	"cmp"
	"fmt"
	"strings"
)

// OpKind is a sort of operation.
type OpKind string

// The operations.
const (
	Start           OpKind = "start"
	SignalWithStart OpKind = "signal-with-start"
	StartChild      OpKind = "start-child"
	Poll            OpKind = "poll"
	PollTask        OpKind = "poll-task"
	Wait            OpKind = "wait"
	WaitTask        OpKind = "wait-task"
	Leave           OpKind = "leave"
	Submit          OpKind = "submit"
	Return          OpKind = "return"
	ReturnTask      OpKind = "return-task"
	Reclaim         OpKind = "reclaim"
	ReclaimTask     OpKind = "reclaim-task"
	Signal          OpKind = "signal"
	Cancel          OpKind = "cancel"
	Resolve         OpKind = "resolve"
	Reject          OpKind = "reject"
	ExpirePromise   OpKind = "expire-promise"
	FireTimer       OpKind = "fire-timer"
	Complete        OpKind = "complete"
	Fail            OpKind = "fail"
	CancelTask      OpKind = "cancel-task"
	ExpireTask      OpKind = "expire-task"
	SubmitTask      OpKind = "submit-task"
	Heartbeat       OpKind = "heartbeat"
	Query           OpKind = "query"
	ForgetKey       OpKind = "forget-key"
	Age             OpKind = "age"
)

// OpKinds lists all operations.
func OpKinds() []OpKind {
	return []OpKind{
		Start, SignalWithStart, StartChild, Poll, PollTask, Wait, WaitTask, Leave, Submit, Return, ReturnTask, Reclaim,
		ReclaimTask, Signal, Cancel, Resolve, Reject, ExpirePromise, FireTimer, Complete, Fail, CancelTask, ExpireTask,
		SubmitTask, Heartbeat, Query, ForgetKey, Age,
	}
}

// Op is one operation. Only the fields that its kind needs are set.
type Op struct {
	Kind OpKind
	// Server is which of the servers is asked.
	Server int
	// Foreign operations come from another organization.
	Foreign bool
	// On is the execution, task, promise or key that is meant; New is the name
	// that something new gets; Claim is the poll by which it was taken up.
	On, New, Claim string
	Queue, Work    string // a queue, and a kind of work
	Priority       int
	Key            string
	Label          string // of a child, timer or signal
	Text           string // a reason or an error
	Value          Raw
	Retries        int
	Timeout        bool
	Commands       []Command
	Status         string
}

// Command is one command of a submission.
type Command struct {
	Kind     string
	ID       string // of a task, child, timer or promise
	Label    string
	Work     string
	Queue    string
	Key      string
	Text     string
	Value    Raw
	Retries  int
	Timeout  bool
	Priority int
}

// The kinds of command.
const (
	RecordOperation = "record-operation"
	SetState        = "set-state"
	ClearState      = "clear-state"
	ScheduleTask    = "schedule-task"
	CompleteSelf    = "complete"
	FailSelf        = "fail"
	SuspendSelf     = "suspend"
	CancelSelf      = "cancel"
	CreatePromise   = "create-promise"
	ResolvePromise  = "resolve-promise"
	ScheduleChild   = "schedule-child"
	StartTimer      = "start-timer"
	CancelTimer     = "cancel-timer"
	CancelChild     = "cancel-child"
)

// CommandKinds lists all kinds of command.
func CommandKinds() []string {
	return []string{
		RecordOperation, SetState, ClearState, ScheduleTask, CompleteSelf, FailSelf, SuspendSelf, CancelSelf, CreatePromise,
		ResolvePromise, ScheduleChild, StartTimer, CancelTimer, CancelChild,
	}
}

// Answer is what the caller of an operation learns.
type Answer struct {
	// Failure is a kind of failure, empty for none.
	Failure string
	// Name is what was started, found or claimed.
	Name string
	// New tells that a key was new, Seq where a signal's event stands.
	New bool
	Seq int
	// Served are polls that waited and were served meanwhile.
	Served []Served
	// Skipped tells that the operation makes no sense here and is not to be done.
	Skipped bool
	State   map[string]Raw
}

func failed(kind string) Answer { return Answer{Failure: kind} }

// Do carries an operation out.
func (m *Model) Do(op Op) Answer {
	m.ops++
	m.op, m.served = &op, nil
	answer := m.do(op)
	m.settle()
	answer.Served = m.served
	return answer
}

func (m *Model) do(op Op) Answer {
	switch op.Kind {
	case Start, SignalWithStart:
		return m.start(op)
	case StartChild:
		return m.startChild(op)
	case Poll, PollTask:
		return m.poll(op)
	case Wait, WaitTask:
		return m.wait(op)
	case Leave:
		return m.leave(op)
	case Submit:
		return m.submit(op)
	case Return, Reclaim:
		return m.takeBack(op)
	case ReturnTask, ReclaimTask:
		return m.takeBackTask(op)
	case Signal, Cancel, FireTimer, Query:
		return m.onExecution(op)
	case Resolve, Reject, ExpirePromise:
		return m.onPromise(op)
	case Complete, Fail, CancelTask, ExpireTask, Heartbeat:
		return m.onTask(op)
	case SubmitTask:
		return m.submitTask(op)
	case ForgetKey:
		for _, scope := range []string{"workflow", "task", "promise"} {
			delete(m.Keys, Key{scope, op.On})
		}
	case Age:
		if w := m.Executions[op.On]; w != nil {
			w.Aged = over(w.Status)
		}
	}
	return Answer{}
}

func (m *Model) start(op Op) Answer {
	if op.Kind == SignalWithStart && op.Key == "" {
		return failed(Invalid)
	}
	key := Key{"workflow", op.Key}
	known := m.Executions[m.Keys[key]]
	switch {
	case op.Key == "":
	case known != nil && op.Kind == Start:
		return Answer{Name: known.Name}
	case known != nil && !over(known.Status):
		m.tell(known, "SIGNAL_RECEIVED", signal(op))
		return Answer{Name: known.Name, Seq: len(known.Events)}
	}
	w := &Execution{Name: op.New, Kind: op.Work, Queue: cmp.Or(op.Queue, "default"), Key: op.Key, place: m.next(op.Priority)}
	m.Executions[w.Name] = w
	if op.Key != "" {
		m.Keys[key] = w.Name
	}
	w.add("WORKFLOW_STARTED", map[string]any{"input": orNull(op.Value), "workflowKind": op.Work})
	answer := Answer{Name: w.Name, New: op.Key != ""}
	if op.Kind == SignalWithStart {
		w.add("SIGNAL_RECEIVED", signal(op))
		answer.Seq = 2
	}
	m.runnable(w)
	return answer
}

func signal(op Op) map[string]any {
	return map[string]any{"signalName": op.Label, "signalValue": orNull(op.Value)}
}

func (m *Model) startChild(op Op) Answer {
	p := m.find(op)
	switch {
	case p == nil:
		return failed(NotFound)
	case over(p.Status):
		return failed(Precondition)
	}
	c := Command{ID: op.New, Label: op.Label, Work: op.Work, Queue: op.Queue, Value: op.Value, Priority: op.Priority}
	m.tell(p, "CHILD_WORKFLOW_INITIATED", childAsked(p, c))
	m.createChild(p, c)
	return Answer{Name: op.New}
}

// find returns the execution that an operation means, nil when its caller has
// none of that name.
func (m *Model) find(op Op) *Execution {
	if op.Foreign {
		return nil
	}
	return m.Executions[op.On]
}

// childQueue is the parent's queue for a child that names none, or the default.
func childQueue(p *Execution, queue string) string {
	if queue == "" || queue == "default" {
		return p.Queue
	}
	return queue
}

func childAsked(p *Execution, c Command) map[string]any {
	return map[string]any{
		"childExecutionName": c.Label, "childExecutionId": c.ID, "childWorkflowKind": c.Work, "input": orNull(c.Value),
		"queue": childQueue(p, c.Queue),
	}
}

func (m *Model) createChild(p *Execution, c Command) {
	w := &Execution{
		Name: c.ID, Kind: c.Work, Queue: childQueue(p, c.Queue), Parent: p.Name, ChildName: c.Label, place: m.next(c.Priority),
	}
	m.Executions[w.Name] = w
	w.add("WORKFLOW_STARTED", map[string]any{"input": orNull(c.Value), "workflowKind": c.Work})
	m.runnable(w)
	if w.Status == Running && !over(p.Status) {
		p.began(w)
	}
}

func classOf(kind OpKind) string {
	if kind == PollTask || kind == WaitTask {
		return "task"
	}
	return "workflow"
}

func (m *Model) poll(op Op) Answer {
	at := line{classOf(op.Kind), op.Queue}
	if _, busy := m.pollers[at]; busy {
		return Answer{Skipped: true} // who of the two would win is nobody's promise
	}
	if at.class == "task" {
		return Answer{Name: m.claimTask(op.Queue, op.Work, op.Claim)}
	}
	return Answer{Name: m.claimFirst(op.Queue, op.Work, op.Claim)}
}

func (m *Model) wait(op Op) Answer {
	at := line{classOf(op.Kind), op.Queue}
	if _, busy := m.pollers[at]; busy || m.backlog(at) {
		return Answer{Skipped: true}
	}
	m.pollers[at] = poller{op.Claim, op.Server}
	return Answer{}
}

func (m *Model) backlog(at line) bool {
	for _, w := range m.Executions {
		if at.class == "workflow" && w.Queue == at.queue && w.Status == Pending {
			return true
		}
	}
	for _, t := range m.Tasks {
		if at.class == "task" && t.Queue == at.queue && t.Status == Pending {
			return true
		}
	}
	return false
}

// leave is a poll that is given up by its caller.
func (m *Model) leave(op Op) Answer {
	for at, p := range m.pollers {
		if p.claim == op.Claim {
			delete(m.pollers, at)
			return Answer{}
		}
	}
	return Answer{Skipped: true}
}

// takeBack undoes a claim: one that reached nobody, or one whose worker is
// silent and may yet submit.
func (m *Model) takeBack(op Op) Answer {
	c, ok := m.claims[op.Claim]
	if !ok || c.class != "workflow" {
		return Answer{Skipped: true}
	}
	w := m.Executions[c.name]
	switch {
	case w.Status == Running && w.Claim == op.Claim && op.Kind == Return:
		w.Activations--
		m.runnable(w)
	case w.Status == Running && w.Claim == op.Claim:
		w.Disputed = true
		m.runnable(w)
	case op.Kind == Return && w.Status == Waiting:
		m.runnable(w)
	}
	return Answer{}
}

func (m *Model) takeBackTask(op Op) Answer {
	c, ok := m.claims[op.Claim]
	if !ok || c.class != "task" {
		return Answer{Skipped: true}
	}
	t := m.Tasks[c.name]
	switch {
	case t.Status != Running || t.Claim != op.Claim:
	case op.Kind == ReclaimTask:
		m.attemptFailed(t, "the worker that ran the task fell silent")
	case m.ownerOver(t):
		t.Attempt--
		t.Status, t.Error = Cancelled, "the workflow ended"
	default:
		t.Attempt--
		m.taskRunnable(t)
	}
	return Answer{}
}

func (m *Model) ownerOver(t *Task) bool {
	return t.Workflow != "" && over(m.Executions[t.Workflow].Status)
}

func (m *Model) onExecution(op Op) Answer {
	w := m.find(op)
	if op.Kind == FireTimer {
		timer := Timer{op.On, "timer", op.Label}
		if w != nil && m.Timers[timer] {
			delete(m.Timers, timer)
			m.tell(w, "TIMER_FIRED", map[string]any{"timerId": op.Label})
		}
		return Answer{}
	}
	if w == nil {
		return failed(NotFound)
	}
	switch op.Kind {
	case Signal:
		if over(w.Status) && (w.Status != Completed || w.Aged) {
			return failed(Precondition)
		}
		if over(w.Status) { // late, but not too late
			w.add("SIGNAL_RECEIVED", signal(op))
		} else {
			m.tell(w, "SIGNAL_RECEIVED", signal(op))
		}
		return Answer{Seq: len(w.Events)}
	case Cancel:
		if over(w.Status) && w.Status != Cancelled {
			return failed(Precondition)
		}
		m.cancel(w, op.Text, "test")
	case Query:
		return Answer{State: w.State()}
	}
	return Answer{}
}

func (m *Model) onPromise(op Op) Answer {
	p := m.Promises[op.On]
	if p == nil || op.Foreign {
		if op.Kind == ExpirePromise {
			return Answer{}
		}
		return failed(NotFound)
	}
	names := map[string]any{"promiseId": p.Name, "promiseName": p.Label}
	switch op.Kind {
	case Resolve:
		names["value"] = orNull(op.Value)
		m.settlePromise(p, Resolved, "PROMISE_RESOLVED", names)
	case Reject:
		names["error"] = op.Text
		m.settlePromise(p, Rejected, "PROMISE_REJECTED", names)
	default:
		if !p.Timeout {
			return Answer{Skipped: true} // nothing is ever due
		}
		m.settlePromise(p, TimedOut, "PROMISE_TIMEOUT", names)
	}
	return Answer{}
}

func (m *Model) settlePromise(p *Promise, status, event string, data map[string]any) {
	if p.Status != Pending {
		return
	}
	p.Status = status
	delete(m.Timers, Timer{p.Workflow, "promise", p.Name})
	m.tell(m.Executions[p.Workflow], event, data)
}

func (m *Model) onTask(op Op) Answer {
	t := m.Tasks[op.On]
	if t == nil || op.Foreign {
		if op.Kind == ExpireTask {
			return Answer{}
		}
		return failed(NotFound)
	}
	switch op.Kind {
	case Complete:
		if t.Status == Running {
			if t.Workflow == "" {
				t.Output = orNull(op.Value)
			}
			m.endTask(t, Completed, "", Event{"TASK_COMPLETED", map[string]any{"taskExecutionId": t.Name, "output": orNull(op.Value)}})
		}
	case Fail:
		if t.Status == Running {
			m.attemptFailed(t, op.Text)
		}
	case CancelTask:
		return m.cancelTask(t, op.Text)
	case ExpireTask:
		if !t.Timeout {
			return Answer{Skipped: true} // nothing is ever due
		}
		if !over(t.Status) {
			m.endTask(t, Failed, "Task timed out after 1h0m0s", gaveUp(t, "Task timed out after 1h0m0s"))
		}
	case Heartbeat:
		if t.Status != Running {
			return failed(Precondition)
		}
	}
	return Answer{}
}

func (m *Model) cancelTask(t *Task, reason string) Answer {
	switch {
	case t.Status == Cancelled:
		return Answer{}
	case over(t.Status):
		return failed(Precondition)
	}
	text := "Task cancelled"
	if reason != "" {
		text += ": " + reason
	}
	withdrawn := Event{"TASK_CANCELLED", map[string]any{"taskExecutionId": t.Name, "taskType": t.Kind, "reason": reason}}
	m.endTask(t, Cancelled, text, withdrawn, gaveUp(t, text))
	return Answer{}
}

func gaveUp(t *Task, text string) Event {
	return Event{"TASK_FAILED", map[string]any{
		"taskExecutionId": t.Name, "error": text, "retryable": false, "executionCount": Number(t.Attempt),
	}}
}

func (m *Model) attemptFailed(t *Task, text string) {
	switch {
	case m.ownerOver(t):
		m.endTask(t, Cancelled, "the workflow ended")
	case t.Attempt > t.MaxRetries:
		m.endTask(t, Failed, text, gaveUp(t, text))
	default:
		t.Attempts = append(t.Attempts, fmt.Sprint(t.Attempt, " ", text))
		t.Error = text
		t.Status = Pending
	}
}

func (m *Model) endTask(t *Task, status, text string, events ...Event) {
	t.Status, t.Error = status, text
	delete(m.Timers, Timer{cmp.Or(t.Workflow, t.Name), "task", t.Name})
	w := m.Executions[t.Workflow]
	if w == nil || over(w.Status) {
		return
	}
	// All of them in one go: the execution is made runnable once.
	for _, e := range events[:len(events)-1] {
		w.add(e.Type, e.Data)
	}
	last := events[len(events)-1]
	m.tell(w, last.Type, last.Data)
}

func (m *Model) submitTask(op Op) Answer {
	key := Key{"task", op.Key}
	if op.Key != "" && m.Keys[key] != "" {
		return Answer{Name: m.Keys[key]}
	}
	t := &Task{
		Name: op.New, Kind: op.Work, Queue: cmp.Or(op.Queue, "default"), MaxRetries: cmp.Or(op.Retries, 3), Timeout: op.Timeout,
		Input: orNull(op.Value), place: m.next(0),
	}
	m.Tasks[t.Name] = t
	if op.Key != "" {
		m.Keys[key] = t.Name
	}
	if t.Timeout {
		m.Timers[Timer{t.Name, "task", t.Name}] = true
	}
	m.taskRunnable(t)
	return Answer{Name: t.Name, New: op.Key != ""}
}

func (m *Model) taskRunnable(t *Task) {
	t.Status = Pending
	at := line{"task", t.Queue}
	if p, ok := m.pollers[at]; ok && p.server == m.op.Server {
		delete(m.pollers, at)
		t.Status, t.Claim = Running, p.claim
		t.Attempt++
		m.claims[p.claim] = claim{"task", t.Name}
		m.served = append(m.served, Served{p.claim, t.Name})
	}
}

// Waiting returns the claims of the polls that wait.
func (m *Model) Waiting() (all []string) {
	for _, at := range m.lines() {
		all = append(all, m.pollers[at].claim)
	}
	return all
}

// String is the operation as it is written in a failed program.
func (op Op) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s @%d", op.Kind, op.Server)
	if op.Foreign {
		text.WriteString(" foreign")
	}
	for _, field := range []struct{ name, value string }{
		{"on", op.On},
		{"new", op.New},
		{"claim", op.Claim},
		{"queue", op.Queue},
		{"work", op.Work},
		{"key", op.Key},
		{"label", op.Label},
		{"text", op.Text},
		{"value", string(op.Value)},
		{"status", op.Status},
	} {
		if field.value != "" {
			fmt.Fprintf(&text, " %s=%s", field.name, field.value)
		}
	}
	if op.Priority != 0 || op.Retries != 0 || op.Timeout {
		fmt.Fprintf(&text, " priority=%d retries=%d timeout=%v", op.Priority, op.Retries, op.Timeout)
	}
	for _, c := range op.Commands {
		fmt.Fprintf(&text, "\n      %+v", c)
	}
	return text.String()
}
