package oracle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/engine"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/oracle"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/task"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// patience is how long anything may take that must happen.
const patience = 30 * time.Second

// rig is two servers on one database, which tell each other of their backlogs.
type rig struct {
	engines [2]*engine.Engine
	tasks   [2]*task.Tasks
	conn    *pgx.Conn // behind the engines' backs
}

func newRig(t *testing.T, dsn string) *rig {
	t.Helper()
	r := &rig{}
	log := slog.New(slog.DiscardHandler)
	for i := range r.engines {
		store, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, Logger: log, MaxConnections: 4})
		if err != nil {
			t.Fatal(err)
		}
		publish := func(class flovyn.Class, key wake.Key) {
			if other := r.engines[1-i]; other != nil {
				other.Wake(class, key)
			}
		}
		e := engine.New(engine.Config{Store: store, Logger: log, Publish: publish})
		r.engines[i], r.tasks[i] = e, task.New(store, e, log)
		t.Cleanup(func() {
			e.ClosePolls()
			e.Close()
			store.Close()
		})
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	r.conn = conn
	return r
}

// run is one program on the real engine, in an organization of its own.
type run struct {
	*rig
	ctx          context.Context //nolint:containedctx // of the test
	model        *oracle.Model
	org, foreign flovyn.OrgID
	ids          map[string]uuid.UUID
	names        map[uuid.UUID]string
	made         uint64
	activations  map[string]flovyn.Activation
	assignments  map[string]flovyn.Assignment
	polls        map[string]*waitingPoll
	// seen is how many events of each execution were compared, log all operations
	// so far.
	seen map[string]int
	log  []oracle.Op
}

type waitingPoll struct {
	leave context.CancelFunc
	got   chan any
}

func (r *rig) newRun(ctx context.Context) *run {
	return &run{
		rig: r, ctx: ctx, model: oracle.New(), org: flovyn.OrgID(uuid.New()), foreign: flovyn.OrgID(uuid.New()),
		ids: map[string]uuid.UUID{}, names: map[uuid.UUID]string{}, seen: map[string]int{}, polls: map[string]*waitingPoll{},
		activations: map[string]flovyn.Activation{}, assignments: map[string]flovyn.Assignment{},
	}
}

// close gives up the polls that still wait.
func (r *run) close() {
	for _, p := range r.polls {
		p.leave()
		<-p.got
	}
	r.quiet()
}

func (r *run) quiet() {
	for _, e := range r.engines {
		e.Close()
	}
}

// id returns the identifier that a name stands for, or one that nothing has.
func (r *run) id(name string) uuid.UUID {
	if id, ok := r.ids[name]; ok {
		return id
	}
	return uuid.New()
}

// fresh is id for what is about to be made: later ones are greater.
func (r *run) fresh(name string) uuid.UUID {
	id, ok := r.ids[name]
	if !ok {
		id = uuid.New()
		r.made++
		binary.BigEndian.PutUint64(id[:], 0x0190_0000_0000_0000+r.made)
		r.bind(name, id)
	}
	return id
}

func (r *run) bind(name string, id uuid.UUID) { r.ids[name], r.names[id] = id, name }

// named returns the name of what the engine made or found.
func (r *run) named(id uuid.UUID, fresh string) string {
	if r.names == nil {
		return id.String()
	}
	if name, ok := r.names[id]; ok {
		return name
	}
	if _, taken := r.ids[fresh]; !taken {
		r.bind(fresh, id)
		return fresh
	}
	return id.String()
}

func failureOf(err error) (string, error) {
	switch {
	case err == nil:
		return "", nil
	case fault.Is(err, fault.NotFound):
		return oracle.NotFound, nil
	case fault.Is(err, fault.Precondition):
		return oracle.Precondition, nil
	case fault.Is(err, fault.Invalid):
		return oracle.Invalid, nil
	}
	return "", err
}

// do asks the engine for an operation. want is what the model answered.
func (r *run) do(op oracle.Op, want oracle.Answer) (oracle.Answer, error) {
	if want.Skipped {
		return want, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	var got oracle.Answer
	err := r.ask(ctx, op, want, &got)
	failure, err := failureOf(err)
	if err != nil {
		return got, err
	}
	if failure != "" {
		got = oracle.Answer{Failure: failure}
	}
	r.quiet()
	for _, s := range want.Served {
		p := r.polls[s.Claim]
		select {
		case item := <-p.got:
			got.Served = append(got.Served, oracle.Served{Claim: s.Claim, Name: r.note(s.Claim, item)})
		case <-ctx.Done():
			return got, fmt.Errorf("poll %s waits in vain for %s", s.Claim, s.Name)
		}
		p.leave()
		delete(r.polls, s.Claim)
	}
	for claim, p := range r.polls {
		select {
		case item := <-p.got:
			return got, fmt.Errorf("poll %s was served %q and should wait", claim, r.note(claim, item))
		default:
		}
	}
	return got, nil
}

// askOnly asks for an operation whose answer depends on what else is asked. What
// the engine made is called by its identifier.
func (r *run) askOnly(op oracle.Op) (got oracle.Answer, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	alone := *r
	alone.names = nil // so that names are not given while others read them
	failure, err := failureOf(alone.ask(ctx, op, oracle.Answer{}, &got))
	if failure != "" {
		got = oracle.Answer{Failure: failure}
	}
	return got, err
}

func (r *run) ask(ctx context.Context, op oracle.Op, want oracle.Answer, got *oracle.Answer) error {
	e, tasks, org := r.engines[op.Server], r.tasks[op.Server], r.org
	if op.Foreign {
		org = r.foreign
	}
	execution, taskID := flovyn.ExecutionID(r.id(op.On)), flovyn.TaskID(r.id(op.On))
	switch op.Kind {
	case oracle.Start:
		result, err := e.Start(ctx, r.startRequest(op))
		if err == nil {
			*got = oracle.Answer{Name: r.named(result.ID.UUID(), op.New), New: result.KeyNew}
		}
		return err
	case oracle.SignalWithStart:
		result, err := e.SignalWithStart(ctx, engine.SignalWithStartRequest{
			StartRequest: r.startRequest(op), SignalName: op.Label, SignalValue: []byte(op.Value),
		})
		if err == nil {
			*got = oracle.Answer{Name: r.named(result.ID.UUID(), op.New), New: result.Created, Seq: int(result.Seq)}
		}
		return err
	case oracle.StartChild:
		id, err := e.StartChild(ctx, engine.ChildRequest{
			Org: org, Parent: execution, Name: op.Label, Kind: op.Work, Queue: op.Queue, Input: []byte(op.Value),
			Priority: time.Duration(op.Priority) * time.Hour,
		})
		if err == nil {
			got.Name = r.named(id.UUID(), op.New)
		}
		return err
	case oracle.Poll, oracle.PollTask:
		hold := time.Millisecond
		if want.Name != "" {
			hold = patience
		}
		got.Name = r.note(op.Claim, r.poll(ctx, op, hold))
		return nil
	case oracle.Wait, oracle.WaitTask:
		return r.wait(ctx, op)
	case oracle.Leave:
		p := r.polls[op.Claim]
		delete(r.polls, op.Claim)
		p.leave()
		if item := <-p.got; item != nil {
			return fmt.Errorf("the poll that was given up got %s", r.note(op.Claim, item))
		}
		return nil
	case oracle.Submit:
		return e.Submit(ctx, org, execution, r.commands(op), statuses[op.Status])
	case oracle.Return:
		e.Return(ctx, r.activations[op.Claim])
		return nil
	case oracle.Reclaim:
		a := r.activations[op.Claim].Execution
		return e.Reclaim(ctx, postgres.StaleExecution{Org: a.Org, ID: a.ID, ClaimedAt: a.ClaimedAt})
	case oracle.ReturnTask:
		tasks.Return(ctx, r.assignments[op.Claim])
		return nil
	case oracle.ReclaimTask:
		t := r.assignments[op.Claim].Task
		return tasks.Reclaim(ctx, postgres.StaleTask{Org: t.Org, ID: t.ID, WorkerID: t.WorkerID, ClaimedAt: t.ClaimedAt})
	case oracle.Signal:
		if err := r.pinEnds(ctx); err != nil {
			return err
		}
		seq, err := e.Signal(ctx, org, execution, op.Label, []byte(op.Value))
		got.Seq = int(seq)
		return err
	case oracle.Cancel:
		return e.Cancel(ctx, org, execution, op.Text, "test")
	case oracle.Resolve:
		return e.ResolvePromise(ctx, org, r.id(op.On).String(), []byte(op.Value))
	case oracle.Reject:
		return e.RejectPromise(ctx, org, r.id(op.On).String(), op.Text)
	case oracle.ExpirePromise:
		id := r.id(op.On)
		return e.ExpirePromise(ctx, r.timer(oracle.Timer{Owner: ownerOf(r.model, op.On), Kind: "promise", Name: op.On}, id.String()))
	case oracle.FireTimer:
		return e.FireTimer(ctx, r.timer(oracle.Timer{Owner: op.On, Kind: "timer"}, op.Label))
	case oracle.ExpireTask:
		owner := op.On
		if t := r.model.Tasks[op.On]; t != nil && t.Workflow != "" {
			owner = t.Workflow
		}
		return tasks.Expire(ctx, r.timer(oracle.Timer{Owner: owner, Kind: "task"}, taskID.String()))
	case oracle.Complete:
		return tasks.Complete(ctx, org, taskID, []byte(op.Value))
	case oracle.Fail:
		return tasks.Fail(ctx, org, taskID, op.Text)
	case oracle.CancelTask:
		return tasks.Cancel(ctx, org, taskID, op.Text)
	case oracle.Heartbeat:
		return tasks.Heartbeat(ctx, org, taskID)
	case oracle.SubmitTask:
		result, err := tasks.Submit(ctx, task.SubmitRequest{
			Org: org, Kind: op.Work, Queue: op.Queue, Input: []byte(op.Value), MaxRetries: int32(op.Retries),
			Timeout: timeout(op.Timeout), IdempotencyKey: op.Key,
		})
		if err == nil {
			*got = oracle.Answer{Name: r.named(result.ID.UUID(), op.New), New: result.KeyNew}
		}
		return err
	case oracle.Query:
		return r.query(ctx, e, org, execution, got)
	case oracle.ForgetKey: // time passes for this key
		_, err := r.conn.Exec(ctx, "UPDATE idempotency_key SET expires_at = clock_timestamp() - interval '1 second' WHERE org_id = $1 AND key = $2",
			r.org.UUID(), op.On)
		return err
	case oracle.Age: // and for the end of this execution
		_, err := r.conn.Exec(ctx, "UPDATE workflow_execution SET ended_at = clock_timestamp() - interval '1 hour' WHERE org_id = $1 AND id = $2 AND ended_at IS NOT NULL",
			r.org.UUID(), r.id(op.On))
		return err
	}
	return fmt.Errorf("nothing carries out %s", op.Kind)
}

// pinEnds keeps what ended recently from becoming old because the machine is slow.
func (r *run) pinEnds(ctx context.Context) error {
	var recent []uuid.UUID
	for name, w := range r.model.Executions {
		if w.Status == oracle.Completed && !w.Aged {
			recent = append(recent, r.id(name))
		}
	}
	if len(recent) == 0 {
		return nil
	}
	_, err := r.conn.Exec(ctx, "UPDATE workflow_execution SET ended_at = clock_timestamp() + interval '1 minute' WHERE id = ANY ($1) AND ended_at IS NOT NULL", recent)
	return err
}

func ownerOf(m *oracle.Model, promise string) string {
	if p := m.Promises[promise]; p != nil {
		return p.Workflow
	}
	return "nothing"
}

func (r *run) timer(t oracle.Timer, name string) flovyn.Timer {
	return flovyn.Timer{
		TimerKey: flovyn.TimerKey{Owner: r.id(t.Owner), Kind: flovyn.TimerKind(t.Kind), Name: name}, Org: r.org,
	}
}

func timeout(set bool) time.Duration {
	if set {
		return time.Hour
	}
	return 0
}

func (r *run) startRequest(op oracle.Op) engine.StartRequest {
	return engine.StartRequest{
		Org: r.org, Kind: op.Work, Queue: op.Queue, Input: []byte(op.Value), IdempotencyKey: op.Key,
		Priority: time.Duration(op.Priority) * time.Hour,
	}
}

// poll polls once and returns what came, nil for nothing.
func (r *run) poll(ctx context.Context, op oracle.Op, hold time.Duration) any {
	key, poller := wake.Key{Org: r.org, Queue: op.Queue}, wake.Poller{Worker: op.Claim}
	if op.Work != "" {
		poller.Kinds = []string{op.Work}
	}
	if op.Kind == oracle.PollTask || op.Kind == oracle.WaitTask {
		if a, err := r.tasks[op.Server].Poll(ctx, key, poller, hold); a != nil && err == nil {
			return a
		}
		return nil
	}
	if a, err := r.engines[op.Server].Poll(ctx, key, poller, hold); a != nil && err == nil {
		return a
	}
	return nil
}

// note keeps what a poll brought and returns its name, empty for nothing.
func (r *run) note(claim string, item any) string {
	switch a := item.(type) {
	case *flovyn.Activation:
		r.activations[claim] = *a
		return r.names[a.Execution.ID.UUID()]
	case *flovyn.Assignment:
		r.assignments[claim] = *a
		return r.names[a.Task.ID.UUID()]
	}
	return ""
}

// wait has a poll wait: the queue is looked through first, so that the server
// knows that it is empty.
func (r *run) wait(ctx context.Context, op oracle.Op) error {
	if item := r.poll(ctx, op, time.Millisecond); item != nil {
		return fmt.Errorf("an empty queue has %s", r.note(op.Claim, item))
	}
	r.quiet()
	e := r.engines[op.Server]
	before := e.Waiting()
	polling, leave := context.WithCancel(r.ctx)
	p := &waitingPoll{leave: leave, got: make(chan any, 1)}
	go func() { p.got <- r.poll(polling, op, time.Hour) }()
	r.polls[op.Claim] = p
	for e.Waiting() == before {
		if ctx.Err() != nil {
			return errors.New("the poll never began to wait")
		}
		runtime.Gosched()
	}
	return nil
}

var statuses = map[string]history.Status{
	oracle.Running: history.Running, oracle.Suspended: history.Suspended, oracle.Completed: history.Completed,
	oracle.Failed: history.Failed, oracle.Cancelled: history.Cancelled,
}

func (r *run) commands(op oracle.Op) (all []history.Command) {
	for _, c := range op.Commands {
		value := []byte(c.Value)
		switch c.Kind {
		case oracle.RecordOperation:
			all = append(all, history.RecordOperation{Name: c.Label, Result: value})
		case oracle.SetState:
			all = append(all, history.SetState{Key: c.Label, Value: value})
		case oracle.ClearState:
			all = append(all, history.ClearState{Key: c.Label})
		case oracle.ScheduleTask:
			all = append(all, history.ScheduleTask{
				ID: flovyn.TaskID(r.fresh(c.ID)), Kind: c.Work, Queue: c.Queue, Input: value, MaxRetries: int32(c.Retries),
				Timeout: timeout(c.Timeout), Key: c.Key,
			})
		case oracle.CompleteSelf:
			all = append(all, history.CompleteWorkflow{Output: value})
		case oracle.FailSelf:
			all = append(all, history.FailWorkflow{Error: c.Text, FailureType: "ERROR"})
		case oracle.SuspendSelf:
			all = append(all, history.SuspendWorkflow{Reason: c.Text})
		case oracle.CancelSelf:
			all = append(all, history.CancelWorkflow{Reason: c.Text})
		case oracle.CreatePromise:
			all = append(all, history.CreatePromise{Name: c.Label, Timeout: timeout(c.Timeout), HasTimeout: c.Timeout, Key: c.Key})
		case oracle.ResolvePromise:
			all = append(all, history.ResolvePromise{ID: flovyn.PromiseID(r.id(c.ID)), Value: value})
		case oracle.ScheduleChild:
			all = append(all, history.ScheduleChild{
				ID: flovyn.ExecutionID(r.fresh(c.ID)), Name: c.Label, Kind: c.Work, Queue: c.Queue, Input: value,
				Priority: time.Duration(c.Priority) * time.Hour,
			})
		case oracle.StartTimer:
			all = append(all, history.StartTimer{ID: c.ID, After: time.Hour})
		case oracle.CancelTimer:
			all = append(all, history.CancelTimer{ID: c.ID})
		case oracle.CancelChild:
			cancel := history.CancelChild{Name: c.Label, Reason: c.Text}
			if c.ID != "" {
				cancel.ID = flovyn.ExecutionID(r.id(c.ID))
			}
			all = append(all, cancel)
		}
	}
	return all
}

func (r *run) query(ctx context.Context, e *engine.Engine, org flovyn.OrgID, id flovyn.ExecutionID, got *oracle.Answer) error {
	text, errorText, err := e.Query(ctx, org, id, engine.AllState, nil)
	if err != nil {
		return err
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(text, &state); err != nil || errorText != "" {
		return fmt.Errorf("the state %s: %w, %s", text, err, errorText)
	}
	got.State = map[string]oracle.Raw{}
	for key, value := range state {
		got.State[key] = oracle.Raw(value)
	}
	return nil
}

// normal makes event data comparable: JSON decoded, identifiers named.
func (r *run) normal(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	for key, member := range value {
		if text, ok := member.(string); ok {
			value[key] = r.rename(text)
		}
	}
	return value, nil
}

func (r *run) rename(text string) string {
	prefix := ""
	if len(text) == len("workflow:")+36 {
		prefix, text = text[:len("workflow:")], text[len("workflow:"):]
	}
	if id, err := uuid.Parse(text); err == nil && r.names[id] != "" {
		text = r.names[id]
	}
	return prefix + text
}
