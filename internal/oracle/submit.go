package oracle

import (
	"cmp"
	"slices"
)

// submission is a worker's word on an execution, while it is being carried out.
type submission struct {
	*Model
	w *Execution
	// resent are what the worker repeats of what the history recorded without
	// identities, in order, as far as it has not come yet.
	operations, promises, changes []string
	// then is the workflow's state as far as the repeated changes made it.
	then map[string]bool
	// What is to be done after the events are written, in this order.
	tasks, timers, created, foreign, children, cancelled []Command
	// news tells that the worker caused something that it has not seen.
	news   bool
	ended  string
	ending end
}

// submit carries out what a worker decided, if any worker holds the execution.
// Otherwise the word comes too late, and one that waits is looked at again.
func (m *Model) submit(op Op) Answer {
	w := m.find(op)
	switch {
	case w == nil:
		return failed(NotFound)
	case w.Status == Waiting:
		m.runnable(w)
		return Answer{}
	case w.Status != Running:
		return Answer{}
	case slices.ContainsFunc(op.Commands, func(c Command) bool { return m.taken(w, c) }):
		return failed(Precondition)
	}
	s := &submission{Model: m, w: w}
	if s.repeats(op.Commands) {
		s.operations, s.promises, s.changes = w.list("operationName", "OPERATION_COMPLETED"), w.list("promiseName", "PROMISE_CREATED"), w.changes()
		s.then = map[string]bool{}
		s.news = slices.ContainsFunc(w.Events, isFact) // of which the worker has seen nothing
	}
	for _, c := range op.Commands {
		if s.command(c); s.ended != "" {
			break
		}
	}
	s.conclude(op.Status)
	s.carryOut()
	switch {
	case s.ended != "":
		m.finish(w, s.ended, s.ending)
		if s.ended == Cancelled {
			m.cancelChildren(w, "", "")
		}
	case op.Status == Running:
		w.News = w.News || s.news
	case w.News || s.news:
		w.News, w.Disputed = false, false
		m.runnable(w)
	default:
		w.News, w.Disputed, w.Status = false, false, Waiting
	}
	return Answer{}
}

// isFact reports whether a workflow's code may wait for an event.
func isFact(e Event) bool {
	switch e.Type {
	case "TASK_COMPLETED", "TASK_FAILED", "TIMER_FIRED", "PROMISE_RESOLVED", "PROMISE_REJECTED", "PROMISE_TIMEOUT",
		"CHILD_WORKFLOW_COMPLETED", "CHILD_WORKFLOW_FAILED", "SIGNAL_RECEIVED":
		return true
	}
	return false
}

// taken reports whether a command names something that is not the execution's own.
func (m *Model) taken(w *Execution, c Command) bool {
	switch c.Kind {
	case ScheduleTask:
		t := m.Tasks[c.ID]
		return t != nil && t.Workflow != w.Name
	case ScheduleChild:
		child := m.Executions[c.ID]
		return child != nil && child.Parent != w.Name
	}
	return false
}

// repeats reports whether the worker ran the workflow from its start without its
// history: it names something that the history has. Commands without identities
// can only be told by all of them coming again, and only while a promise is open
// is there a reason to.
func (s *submission) repeats(commands []Command) bool {
	identities := false
	for _, c := range commands {
		if c.Kind == ScheduleTask || c.Kind == ScheduleChild || c.Kind == StartTimer {
			if s.known(c) {
				return true
			}
			identities = true
		}
	}
	if identities || !s.openPromise() {
		return false
	}
	rest := map[string][]string{
		RecordOperation: s.w.list("operationName", "OPERATION_COMPLETED"),
		CreatePromise:   s.w.list("promiseName", "PROMISE_CREATED"),
		SetState:        s.w.changes(),
	}
	for _, c := range commands {
		what, text := c.Kind, c.Label
		switch c.Kind {
		case SetState:
			text = "SET " + c.Label
		case ClearState:
			what, text = SetState, "CLEAR "+c.Label
		}
		if left := rest[what]; len(left) > 0 && left[0] == text {
			rest[what] = left[1:]
		}
	}
	return len(rest[RecordOperation])+len(rest[CreatePromise])+len(rest[SetState]) == 0
}

func (s *submission) openPromise() bool {
	for _, id := range s.w.list("promiseId", "PROMISE_CREATED") {
		if s.w.last("promiseId", id, "PROMISE_RESOLVED", "PROMISE_REJECTED", "PROMISE_TIMEOUT") == "" {
			return true
		}
	}
	return false
}

func (s *submission) known(c Command) bool {
	switch c.Kind {
	case ScheduleTask:
		return s.w.last("taskExecutionId", c.ID, "TASK_SCHEDULED") != ""
	case ScheduleChild:
		return s.w.knows("CHILD_WORKFLOW_INITIATED", c.ID)
	default:
		return s.w.last("timerId", c.ID, "TIMER_STARTED") != ""
	}
}

// came drops the next repeated one if it is this.
func came(left *[]string, text string) bool {
	if len(*left) == 0 || (*left)[0] != text {
		return false
	}
	*left = (*left)[1:]
	return true
}

func (s *submission) command(c Command) {
	w := s.w
	switch c.Kind {
	case RecordOperation:
		if !came(&s.operations, c.Label) {
			w.add("OPERATION_COMPLETED", map[string]any{"operationName": c.Label, "result": orNull(c.Value)})
		}
	case SetState:
		if came(&s.changes, "SET "+c.Label) {
			s.then[c.Label] = true
		} else {
			w.add("STATE_SET", map[string]any{"key": c.Label, "value": orNull(c.Value)})
		}
	case ClearState:
		s.clear(c.Label)
	case ScheduleTask, ScheduleChild, StartTimer:
		if !s.known(c) {
			s.schedule(c)
		}
	case CreatePromise:
		s.createPromise(c)
	case ResolvePromise:
		s.resolve(c)
	case CancelTimer:
		if w.openTimer(c.ID) {
			w.add("TIMER_CANCELLED", map[string]any{"timerId": c.ID})
			s.timers = append(s.timers, c)
		}
	case CancelChild:
		if c.ID == "" {
			c.ID = s.newest(c.Label)
		}
		if w.openChild(c.ID) {
			s.cancelled = append(s.cancelled, c)
		}
	case SuspendSelf:
		w.add("WORKFLOW_SUSPENDED", map[string]any{"reason": c.Text})
	default:
		s.end(c)
	}
}

// clear drops the removal of what is not there.
func (s *submission) clear(key string) {
	if came(&s.changes, "CLEAR "+key) {
		s.then[key] = false
		return
	}
	_, present := s.w.State()[key]
	if len(s.changes) > 0 { // at this point of the code, not at the end of the history
		present = s.then[key]
	}
	if present {
		s.w.add("STATE_CLEARED", map[string]any{"key": key})
	}
}

func (s *submission) schedule(c Command) {
	switch c.Kind {
	case ScheduleTask:
		c.Queue = cmp.Or(c.Queue, s.w.Queue)
		s.w.add("TASK_SCHEDULED", map[string]any{
			"kind": c.Work, "taskType": c.Work, "taskExecutionId": c.ID, "input": orNull(c.Value), "queue": c.Queue,
		})
		s.tasks = append(s.tasks, c)
	case ScheduleChild:
		s.w.add("CHILD_WORKFLOW_INITIATED", childAsked(s.w, c))
		s.children = append(s.children, c)
	default:
		s.w.add("TIMER_STARTED", map[string]any{"timerId": c.ID, "durationMs": Number(hour)})
		s.timers = append(s.timers, c)
	}
}

const hour = 3_600_000

func (s *submission) createPromise(c Command) {
	if came(&s.promises, c.Label) {
		return
	}
	c.ID = promiseName(s.w.Name, len(s.w.list("promiseId", "PROMISE_CREATED")))
	data := map[string]any{"promiseId": c.ID, "promiseName": c.Label}
	if c.Timeout {
		data["timeoutMs"] = Number(hour)
	}
	if c.Key != "" {
		data["idempotencyKey"] = c.Key
	}
	s.w.add("PROMISE_CREATED", data)
	s.created = append(s.created, c)
	s.Promises[c.ID] = &Promise{Name: c.ID, Workflow: s.w.Name, Label: c.Label, Status: Pending, Timeout: c.Timeout}
}

// resolve settles one of the execution's own promises at once; another's is left
// for later.
func (s *submission) resolve(c Command) {
	if ownerOf(c.ID) != s.w.Name {
		s.foreign = append(s.foreign, c)
		return
	}
	p := s.Promises[c.ID]
	fresh := slices.ContainsFunc(s.created, func(other Command) bool { return other.ID == c.ID })
	if p == nil || p.Status != Pending || fresh { // of a fresh one nobody can know the id yet
		return
	}
	p.Status = Resolved
	s.news = true
	s.w.add("PROMISE_RESOLVED", map[string]any{"promiseId": p.Name, "promiseName": p.Label, "value": orNull(c.Value)})
}

func (s *submission) newest(label string) (id string) {
	for _, e := range s.w.Events {
		if e.Type == "CHILD_WORKFLOW_INITIATED" && e.Data["childExecutionName"] == label {
			id, _ = e.Data["childExecutionId"].(string)
		}
	}
	return id
}

func (s *submission) end(c Command) {
	switch c.Kind {
	case CompleteSelf:
		s.ended, s.ending = Completed, end{output: c.Value}
		s.w.add("WORKFLOW_COMPLETED", map[string]any{"output": orNull(c.Value)})
	case FailSelf:
		s.ended, s.ending = Failed, end{text: c.Text}
		s.w.add("WORKFLOW_EXECUTION_FAILED", map[string]any{"error": c.Text, "stackTrace": "", "failureType": "ERROR"})
	case CancelSelf:
		s.ended, s.ending = Cancelled, end{text: cancelledText(c.Text)}
		s.w.add("CANCELLATION_REQUESTED", map[string]any{"reason": c.Text, "requestedBy": "workflow"})
		s.w.add("WORKFLOW_CANCELLED", map[string]any{"reason": c.Text})
	}
}

// conclude makes the end that a status announces without a command.
func (s *submission) conclude(status string) {
	if s.ended != "" {
		return
	}
	switch status {
	case Completed:
		s.end(Command{Kind: CompleteSelf})
	case Failed:
		s.end(Command{Kind: FailSelf, Text: "the worker reported a failure without saying why"})
	case Cancelled:
		s.end(Command{Kind: CancelSelf})
	}
}

// carryOut does what the commands ask for beside events. What an execution that
// ends asked for is made all the same, and withdrawn with the rest; its children
// live.
func (s *submission) carryOut() {
	w := s.w
	if s.ended != "" {
		w.Status = s.ended // what happens from here on is not told to it
	}
	for _, c := range s.tasks {
		t := &Task{
			Name: c.ID, Workflow: w.Name, Kind: c.Work, Queue: c.Queue, Status: Pending, MaxRetries: c.Retries, Timeout: c.Timeout,
			Input: orNull(c.Value), place: s.next(0),
		}
		s.Tasks[t.Name] = t
		if s.ended != "" {
			continue
		}
		if t.Timeout {
			s.Timers[Timer{w.Name, "task", t.Name}] = true
		}
		s.register(Key{"task", c.Key}, t.Name)
		s.taskRunnable(t)
	}
	for _, c := range s.timers {
		if c.Kind == StartTimer && s.ended == "" {
			s.Timers[Timer{w.Name, "timer", c.ID}] = true
		} else {
			delete(s.Timers, Timer{w.Name, "timer", c.ID})
		}
	}
	for _, c := range s.created {
		if c.Timeout && s.Promises[c.ID].Status == Pending && s.ended == "" {
			s.Timers[Timer{w.Name, "promise", c.ID}] = true
		}
		s.register(Key{"promise", c.Key}, c.ID)
	}
	for id, p := range s.Promises {
		if p.Workflow == w.Name && p.Status != Pending {
			delete(s.Timers, Timer{w.Name, "promise", id})
		}
	}
	for _, c := range s.foreign {
		if p := s.Promises[c.ID]; p != nil {
			data := map[string]any{"promiseId": p.Name, "promiseName": p.Label, "value": orNull(c.Value)}
			s.settlePromise(p, Resolved, "PROMISE_RESOLVED", data)
		}
	}
	for _, c := range s.children {
		s.createChild(w, c)
	}
	for _, c := range s.cancelled {
		if child := s.Executions[c.ID]; child != nil {
			s.cancel(child, c.Text, "workflow:"+w.Name)
		}
	}
}

// register lets a key stand for something, unless it stands for something else.
func (s *submission) register(key Key, name string) {
	if _, taken := s.Keys[key]; key.Name != "" && !taken {
		s.Keys[key] = name
	}
}
