package flow

import (
	"cmp"
	"encoding/json"
	"fmt"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/client"
)

// past is a history in the shape that replay needs: what was asked for, in order
// within each kind, and how it was settled.
type past struct {
	length     int32
	tasks      []pastCall
	timers     []pastCall
	promises   []pastCall
	children   []pastCall
	operations []pastOperation
	state      []stateChange
	signals    map[string][]settlement
	settled    map[subject]settlement
}

// pastCall is something that the history says was asked for.
type pastCall struct{ name, id string }

type pastOperation struct {
	name   string
	result json.RawMessage
}

type stateChange struct {
	key     string
	cleared bool
}

// subject is what a settlement is about. Children are known by name, everything
// else by id.
type subject struct {
	kind futureKind
	id   string
}

// settlement is the end of something that was awaited.
type settlement struct {
	// seq orders settlements. It is zero for what the workflow cancelled, which
	// it did before it could ask.
	seq     int32
	value   json.RawMessage
	reason  Reason // empty: there is a value
	message string
}

func readHistory(events []*flovynv1.WorkflowEvent) (*past, error) {
	p := &past{signals: map[string][]settlement{}, settled: map[subject]settlement{}}
	for _, e := range events {
		event := client.Event{
			Seq: int(e.GetSequenceNumber()), Type: client.EventType(e.GetEventType()), Data: e.GetEventData(),
		}
		d, err := event.Decode()
		if err != nil {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
		p.length = e.GetSequenceNumber()
		p.add(event.Type, e.GetSequenceNumber(), d)
	}
	return p, nil
}

// add takes one event in. Types without a meaning for replay are passed over, as
// are ones that a later protocol may add.
func (p *past) add(t client.EventType, seq int32, d *client.EventData) {
	switch t {
	case client.TaskScheduled:
		p.tasks = append(p.tasks, pastCall{d.Kind, d.TaskExecutionID})
	case client.TimerStarted:
		p.timers = append(p.timers, pastCall{d.TimerID, d.TimerID})
	case client.PromiseCreated:
		p.promises = append(p.promises, pastCall{d.PromiseName, d.PromiseID})
	case client.ChildWorkflowInitiated:
		p.children = append(p.children, pastCall{d.ChildExecutionName, d.ChildExecutionID})
	case client.OperationCompleted:
		p.operations = append(p.operations, pastOperation{d.OperationName, d.Result})
	case client.StateSet, client.StateCleared:
		p.state = append(p.state, stateChange{d.Key, t == client.StateCleared})
	case client.SignalReceived:
		name := cmp.Or(d.SignalName, "__default__")
		p.signals[name] = append(p.signals[name], settlement{seq: seq, value: d.SignalValue})
	default:
		p.settle(t, seq, d)
	}
}

func (p *past) settle(t client.EventType, seq int32, d *client.EventData) {
	var about subject
	s := settlement{seq: seq}
	switch t {
	case client.TaskCompleted:
		about, s.value = subject{taskFuture, d.TaskExecutionID}, d.Output
	case client.TaskFailed:
		about, s.reason, s.message = subject{taskFuture, d.TaskExecutionID}, TaskFailed, d.Error
	case client.TaskCancelled:
		about, s.reason, s.message = subject{taskFuture, d.TaskExecutionID}, TaskCancelled, d.Reason
	case client.TimerFired:
		about = subject{timerFuture, d.TimerID}
	case client.TimerCancelled:
		about, s.reason = subject{timerFuture, d.TimerID}, Cancelled
	case client.PromiseResolved:
		about, s.value = subject{promiseFuture, d.PromiseID}, d.Value
	case client.PromiseRejected:
		about, s.reason, s.message = subject{promiseFuture, d.PromiseID}, PromiseRejected, d.Error
	case client.PromiseTimeout:
		about, s.reason = subject{promiseFuture, d.PromiseID}, PromiseTimedOut
	case client.ChildWorkflowCompleted:
		about, s.value = subject{childFuture, d.ChildExecutionName}, d.Output
	case client.ChildWorkflowFailed, client.ChildWorkflowCancelled:
		about, s.reason, s.message = subject{childFuture, d.ChildExecutionName}, ChildFailed, cmp.Or(d.Error, d.Reason)
	default:
		return
	}
	if _, again := p.settled[about]; !again { // the first one counts
		p.settled[about] = s
	}
}
