package history

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Scene is something that happened, as those who watch live are told of it: a
// name and a snapshot of what it happened to.
type Scene struct {
	// Seq is the place to go on from; scenes of one event share it. Zero is for a
	// change that is recorded nowhere and told only while it happens.
	Seq  flovyn.Seq
	Name string
	// Data is {"type":"Event","event":name,"data":snapshot,"timestampMs":n}.
	// Payloads stand in it as they came, byte for byte.
	Data []byte
	At   time.Time
	// Child is the execution that begins here.
	Child flovyn.ExecutionID
}

func scene(seq flovyn.Seq, name string, at time.Time, snapshot *object) Scene {
	data := snapshot.bytes()
	return Scene{Seq: seq, Name: name, At: at, Data: newObject(len(data)+64).
		text("type", "Event").text("event", name).raw("data", data).number("timestampMs", at.UnixMilli()).bytes()}
}

// The names of scenes that no event has.
const (
	sceneCreated   = "WORKFLOW_CREATED"
	sceneFailed    = "WORKFLOW_FAILED"
	sceneResumed   = "WORKFLOW_RESUMED"
	sceneTaskNew   = "TASK_CREATED"
	sceneTaskBegun = "TASK_STARTED"
)

// Narrator tells the scenes of one execution, or of one task that stands alone,
// each once. It is not safe for concurrent use.
type Narrator struct {
	seq    flovyn.Seq
	kinds  map[string]string // of tasks and children, by id
	status flovyn.WorkflowStatus
	begun  bool
}

// NewNarrator makes a narrator that has told nothing.
func NewNarrator() *Narrator { return &Narrator{kinds: map[string]string{}} }

// Told returns how far the narrator is.
func (n *Narrator) Told() flovyn.Seq { return n.seq }

// Workflow tells what the row and the whole history of an execution say beyond
// what was told before.
func (n *Narrator) Workflow(w *flovyn.WorkflowExecution, events []Event) (scenes []Scene) {
	first := n.seq == 0
	for _, e := range events {
		if e.Seq <= n.seq {
			continue
		}
		scenes = n.event(scenes, w, e)
		n.seq = e.Seq
		if e.Seq == 1 && !w.StartedAt.IsZero() {
			n.begun = true
			scenes = append(scenes, scene(1, string(WorkflowStarted), w.StartedAt, about(w, flovyn.WorkflowRunning)))
		}
	}
	return n.change(scenes, w, events, first)
}

// change tells what changed in the row and is no event.
func (n *Narrator) change(scenes []Scene, w *flovyn.WorkflowExecution, events []Event, first bool) []Scene {
	before := n.status
	n.status = w.Status
	if !n.begun && !w.StartedAt.IsZero() {
		n.begun = true
		return append(scenes, scene(0, string(WorkflowStarted), w.StartedAt, about(w, flovyn.WorkflowRunning)))
	}
	switch {
	case first, before == w.Status, w.Status.Terminal():
		return scenes
	case w.Status == flovyn.WorkflowWaiting:
		snapshot := about(w, w.Status)
		if state, err := Fold(w.ID, events); err == nil {
			snapshot.text("suspendType", state.Waiting())
		}
		return append(scenes, scene(0, string(WorkflowSuspended), w.UpdatedAt, snapshot))
	case before == flovyn.WorkflowWaiting:
		return append(scenes, scene(0, sceneResumed, w.UpdatedAt, about(w, w.Status)))
	}
	return scenes
}

// about is the snapshot of an execution.
func about(w *flovyn.WorkflowExecution, status flovyn.WorkflowStatus) *object {
	o := newObject(256).text("id", w.ID.String()).text("kind", w.Kind).text("status", string(status))
	if w.WorkerID != "" && status != flovyn.WorkflowPending {
		o.text("workerId", w.WorkerID)
	}
	if !w.Parent.IsZero() {
		o.text("parentWorkflowExecutionId", w.Parent.String())
	}
	return o
}

// sceneData holds the members of event data that scenes are made of.
type sceneData struct {
	TaskExecutionID  string          `json:"taskExecutionId"`
	Kind             string          `json:"kind"`
	ChildExecutionID string          `json:"childExecutionId"`
	ChildKind        string          `json:"childWorkflowKind"`
	TimerID          string          `json:"timerId"`
	DurationMs       int64           `json:"durationMs"`
	PromiseID        string          `json:"promiseId"`
	OperationName    string          `json:"operationName"`
	SignalName       string          `json:"signalName"`
	Key              string          `json:"key"`
	Error            string          `json:"error"`
	Reason           string          `json:"reason"`
	ExecutionCount   int64           `json:"executionCount"`
	Value            json.RawMessage `json:"value"`
	Result           json.RawMessage `json:"result"`
	SignalValue      json.RawMessage `json:"signalValue"`
}

func (n *Narrator) event(scenes []Scene, w *flovyn.WorkflowExecution, e Event) []Scene {
	var d sceneData
	_ = json.Unmarshal(e.Data, &d) // it was folded before
	name := string(e.Type)
	var o *object
	var child uuid.UUID
	switch e.Type {
	case WorkflowStarted:
		name, o = sceneCreated, about(w, flovyn.WorkflowPending)
	case WorkflowCompleted:
		o = about(w, flovyn.WorkflowCompleted)
	case WorkflowExecutionFailed:
		name, o = sceneFailed, about(w, flovyn.WorkflowFailed).text("error", d.Error)
	case WorkflowCancelled:
		o = about(w, flovyn.WorkflowCancelled).text("error", CancelledText(d.Reason))
	case WorkflowSuspended:
		o = about(w, flovyn.WorkflowWaiting)
	case CancellationRequested:
		o = newObject(64).text("workflowExecutionId", w.ID.String()).text("reason", d.Reason)
	case OperationCompleted:
		o = newObject(len(d.Result)+64).text("operationId", d.OperationName).raw("result", d.Result)
	case StateSet:
		o = newObject(len(d.Value)+64).text("key", d.Key).raw("value", d.Value)
	case StateCleared:
		o = newObject(64).text("key", d.Key)
	case TaskScheduled:
		n.kinds[d.TaskExecutionID] = d.Kind
		name, o = sceneTaskNew, n.task(d, flovyn.TaskPending)
	case TaskCompleted:
		o = n.task(d, flovyn.TaskCompleted)
	case TaskFailed:
		o = n.task(d, flovyn.TaskFailed).text("error", d.Error)
	case TaskCancelled:
		o = n.task(d, flovyn.TaskCancelled)
	case PromiseCreated:
		o = newObject(64).text("promiseId", d.PromiseID)
	case PromiseResolved:
		o = newObject(len(d.Value)+64).text("promiseId", d.PromiseID).raw("result", d.Value)
	case PromiseRejected:
		o = newObject(64).text("promiseId", d.PromiseID).text("error", d.Error)
	case PromiseTimeout:
		name = string(PromiseRejected)
		o = newObject(64).text("promiseId", d.PromiseID).text("error", "the promise timed out")
	case ChildWorkflowInitiated:
		n.kinds[d.ChildExecutionID] = d.ChildKind
		child, _ = uuid.Parse(d.ChildExecutionID) // it was folded before
		o = n.child(d, flovyn.WorkflowPending)
	case ChildWorkflowStarted:
		o = n.child(d, flovyn.WorkflowRunning)
	case ChildWorkflowCompleted:
		o = n.child(d, flovyn.WorkflowCompleted)
	case ChildWorkflowFailed:
		o = n.child(d, flovyn.WorkflowFailed).text("error", d.Error)
	case ChildWorkflowCancelled:
		o = n.child(d, flovyn.WorkflowCancelled)
	case TimerStarted:
		o = newObject(64).text("timerId", d.TimerID).number("fireAtMs", e.At.UnixMilli()+d.DurationMs)
	case TimerFired, TimerCancelled:
		o = newObject(64).text("timerId", d.TimerID)
	case SignalReceived:
		o = newObject(len(d.SignalValue)+64).text("signalName", d.SignalName).raw("signalValue", d.SignalValue)
	case RetryRequested:
		o = newObject(64).text("targetId", w.ID.String()).text("targetType", "workflow")
	default:
		return scenes
	}
	told := scene(e.Seq, name, e.At, o)
	told.Child = flovyn.ExecutionID(child)
	return append(scenes, told)
}

// task is the snapshot of a workflow's task, as far as the history knows it.
func (n *Narrator) task(d sceneData, status flovyn.TaskStatus) *object {
	o := newObject(160).text("id", d.TaskExecutionID).text("kind", n.kinds[d.TaskExecutionID]).text("status", string(status))
	if status == flovyn.TaskPending || d.ExecutionCount > 0 {
		o.number("executionCount", d.ExecutionCount)
	}
	return o
}

func (n *Narrator) child(d sceneData, status flovyn.WorkflowStatus) *object {
	return newObject(160).text("childWorkflowId", d.ChildExecutionID).text("kind", n.kinds[d.ChildExecutionID]).
		text("status", string(status))
}

// Task tells what the row and the recorded attempts of a task that stands alone
// say beyond what was told before. The task has no events; its scenes are numbered
// so that the same ones always have the same numbers: 1 for its creation, 2n and
// 2n+1 for the beginning and the end of attempt n.
func (n *Narrator) Task(t *flovyn.TaskExecution, attempts []flovyn.Attempt) (scenes []Scene) {
	add := func(seq int32, name string, at time.Time, o *object) {
		if flovyn.Seq(seq) > n.seq {
			scenes = append(scenes, scene(flovyn.Seq(seq), name, at, o))
		}
	}
	add(1, sceneTaskNew, t.CreatedAt, snapshotOf(t, flovyn.TaskPending, 0, ""))
	last := int32(0)
	for _, a := range attempts {
		add(2*a.Number, sceneTaskBegun, a.StartedAt, snapshotOf(t, flovyn.TaskRunning, a.Number, a.WorkerID))
		add(2*a.Number+1, string(TaskFailed), a.EndedAt, snapshotOf(t, flovyn.TaskPending, a.Number, a.WorkerID).text("error", a.Error))
		last = a.Number
	}
	ending := 2*last + 2 // of one that no worker had after that
	if t.Attempt > last && t.Status != flovyn.TaskPending {
		add(2*t.Attempt, sceneTaskBegun, t.ClaimedAt, snapshotOf(t, flovyn.TaskRunning, t.Attempt, t.WorkerID))
		ending = 2*t.Attempt + 1
	}
	if t.Status.Terminal() {
		o := snapshotOf(t, t.Status, t.Attempt, t.WorkerID)
		if t.Error != "" {
			o.text("error", t.Error)
		}
		add(ending, "TASK_"+string(t.Status), t.EndedAt, o)
	}
	if len(scenes) > 0 {
		n.seq = slices.MaxFunc(scenes, func(a, b Scene) int { return int(a.Seq - b.Seq) }).Seq
	}
	return scenes
}

func snapshotOf(t *flovyn.TaskExecution, status flovyn.TaskStatus, attempt int32, worker string) *object {
	o := newObject(200).text("id", t.ID.String()).text("kind", t.Kind).text("status", string(status)).
		number("executionCount", int64(attempt)).number("maxRetries", int64(t.MaxRetries))
	if worker != "" {
		o.text("workerId", worker)
	}
	return o
}
